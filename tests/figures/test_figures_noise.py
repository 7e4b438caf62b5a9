"""Masks on noise, and what noise does to networks: what is drawn is what `attention` says."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from mnist_attention.evidence import attention
from mnist_attention.evidence.statistics import Difference, Sample, paired_difference, summarise
from mnist_attention.figures import noise, save
from mnist_attention.noise import (
    BACKGROUND_CONDITIONS,
    CLEAN,
    CORRUPTION_CONDITIONS,
    TRAINING_CONDITIONS,
    Condition,
)
from synthetic import make_runs

CONDITIONS = (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS)
SEEDS = 4


def scores_of(generator) -> dict[str, float]:
    return {"ink_auroc": generator.uniform(0.6, 0.99), "snr_gain_db": generator.normal()}


def measure(record: dict, seed: int) -> dict:
    """The record with a made-up measurement, another one for each seed and model."""
    masked = record["protocol"]["model"] == "lenet5_attention"
    generator = np.random.default_rng([seed, masked])
    conditions = {}
    for condition in CONDITIONS:
        found = conditions[str(condition)] = {"accuracy": generator.uniform(0.2, 1)}
        if masked and condition not in CORRUPTION_CONDITIONS:
            for kind in ("masks", "untrained"):
                found[kind] = {f"c{i}_attention": scores_of(generator) for i in (1, 3)}
            found["trivial"] = {"brightness": {"ink_auroc": 0.98}, "centre": {"ink_auroc": 0.86}}
    return {**record, "measured": {"conditions": conditions}}


def measured_pairs(seeds: int = SEEDS, **changes) -> list[dict]:
    accuracies = [0.98 + 0.001 * seed for seed in range(seeds)]
    return [
        measure(record, seed)
        for model in ("lenet5", "lenet5_attention")
        for seed, record in enumerate(make_runs(accuracies, model=model, **changes))
    ]


@pytest.fixture(scope="module")
def records() -> list[dict]:
    return measured_pairs()


@pytest.fixture(scope="module")
def table(records) -> pd.DataFrame:
    """With intervals that are wider above the mean than below it, as bootstrap's may be."""
    table = attention.robustness({}, records)
    return table.assign(gain_low=table.gain - 1, gain_high=table.gain + 3)


def of_family(table: pd.DataFrame, name: str, gamma: float) -> pd.DataFrame:
    rows = table[(table["name"] == name) & (table.gamma == gamma)]
    return pd.concat([table[table["name"] == "none"], rows])


def marked(axis: Axes, marker: str) -> list[np.ndarray]:
    """Values of the lines with a marker; those at the ends of intervals have other ones."""
    return [line.get_ydata() for line in axis.lines if line.get_marker() == marker]


def intervals(axis: Axes) -> list[np.ndarray]:
    """Ends of the intervals, shape (n, 2) for each series, along the axis that they lie on."""
    found = []
    for bars in axis.collections:
        segments = np.array(bars.get_segments())
        (along,) = np.flatnonzero(np.ptp(segments, axis=1).sum(axis=0) > 0)
        found.append(segments[..., along])
    return found


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


# Pictures


def test_masks_stand_in_the_row_of_their_background_and_beside_their_digit():
    digits = np.zeros((2, 28, 28), np.uint8)
    digits[:, 10:18, 12:16] = 255
    rows, columns = ("clean", "uniform at 1", "clutter at 1"), ("C1", "C3 untrained")
    values = iter(np.linspace(0.01, 0.99, 18))
    seen = {row: np.full((2, 28, 28), 255 * next(values), np.uint8) for row in rows}
    maps = {
        column: {row: np.stack([np.full((28, 28), next(values)) for _ in range(2)]) for row in rows}
        for column in columns
    }
    figure = noise.masks(digits, seen, maps)
    *panels, bar = figure.axes
    assert len(panels) == 3 * 2 * 3
    assert bar.get_ylabel() == "mask value"
    for line, row in zip(np.reshape(panels, (3, 6)), rows, strict=True):
        assert line[0].get_ylabel().replace("\n", " ") == row
        for index in range(2):
            image, *masks = line[3 * index : 3 * index + 3]
            assert (image.images[0].get_array() == seen[row][index]).all()
            for panel, column in zip(masks, columns, strict=True):
                assert (panel.images[0].get_array() == maps[column][row][index]).all()
                assert panel.images[0].get_clim() == (0, 1)
    titles = [panel.get_title().replace("\n", " ") for panel in panels[:6]]
    assert titles == ["image", *columns] * 2


# Over the strength of a background


def test_accuracies_and_their_difference_are_those_of_the_table(table):
    axes = np.reshape(noise.accuracy_over_strength(table).axes, (2, -1))
    for above, below, family in zip(*axes, noise.FAMILIES, strict=True):
        rows = of_family(table, *family)
        assert [*rows.strength] == [0, 0.25, 0.5, 0.75, 1]
        assert marked(above, "o")[0] == pytest.approx(rows.plain.to_numpy())
        assert marked(above, "s")[0] == pytest.approx(rows.masked.to_numpy())
        assert marked(below, "o")[0] == pytest.approx(rows.gain.to_numpy())
        (drawn,) = intervals(below)
        assert drawn == pytest.approx(rows[["gain_low", "gain_high"]].to_numpy())
    assert f"{SEEDS} paired seeds" in axes[1, 2].get_xlabel()
    assert [axis.get_title().partition(",")[0] for axis in axes[0]] == [
        name for name, _ in noise.FAMILIES
    ]


def test_the_difference_of_one_pair_has_no_interval():
    table = attention.robustness({}, measured_pairs(1))
    axes = np.reshape(noise.accuracy_over_strength(table).axes, (2, -1))
    assert [len(axis.collections) for axis in axes[1]] == [0] * 5
    assert "1 paired seed" in axes[1, 2].get_xlabel()


@pytest.mark.parametrize("score", [*noise.NIL])
def test_map_scores_are_drawn_with_their_intervals(records, score):
    scores = {c: attention.map_scores({}, records, c) for c in (CLEAN, *BACKGROUND_CONDITIONS)}
    axes = np.reshape(noise.quality_over_strength(scores, score).axes, (2, -1))
    for layer, line in zip(("C1", "C3"), axes, strict=True):
        assert line[0].get_ylabel().startswith(layer)
        for panel, (name, gamma) in zip(line, noise.FAMILIES, strict=True):
            conditions = [
                CLEAN, *(Condition(name, strength, gamma) for strength in (0.25, 0.5, 0.75, 1))
            ]  # fmt: skip
            untrained, trained = (
                [scores[c][f"{layer}{kind}"][score] for c in conditions]
                for kind in (" untrained", "")
            )
            assert marked(panel, "v")[0] == pytest.approx([one.mean for one in untrained])
            assert marked(panel, "s")[0] == pytest.approx([one.mean for one in trained])
            ends = np.array(
                [[(one.low, one.high) for one in kind] for kind in (untrained, trained)]
            )
            if score == "ink_auroc":
                assert ends.max() > 1  # made up so that there is something to be cut
                ends = ends.clip(0, 1)
            assert np.array(intervals(panel)) == pytest.approx(ends)
            trivial = [[*line] for line in marked(panel, ".")]
            assert trivial == ([[0.98] * 5, [0.86] * 5] if score == "ink_auroc" else [])
    assert f"{SEEDS} seeds" in axes[1, 2].get_xlabel()


def test_a_score_that_is_no_number_is_left_out_and_the_rest_is_drawn(records):
    scores = {c: attention.map_scores({}, records, c) for c in (CLEAN, *BACKGROUND_CONDITIONS)}
    del scores[CLEAN]["C1"]["snr_gain_db"]
    axes = np.reshape(noise.quality_over_strength(scores, "snr_gain_db").axes, (2, -1))
    assert [len(marked(line[0], "s")[0]) for line in axes] == [4, 5]
    for maps in scores.values():
        for layer in ("C1", "C3"):
            maps[layer].pop("snr_gain_db", None)
    noise.quality_over_strength(scores, "snr_gain_db")


# One row a condition


def test_corruptions_have_a_row_each(table):
    accuracy, gain = noise.corruptions(table).axes
    rows = table[~table["name"].isin(["none", *(c.name for c in BACKGROUND_CONDITIONS)])]
    labels = [label.get_text() for label in accuracy.get_yticklabels()]
    assert labels == [str(condition).replace("_", " ") for condition in CORRUPTION_CONDITIONS]
    plain, masked = (line.get_xdata() for line in accuracy.lines)
    assert plain == pytest.approx(rows.plain.to_numpy())
    assert masked == pytest.approx(rows.masked.to_numpy())
    (gains,) = [line for line in gain.lines if line.get_marker() == "o"]
    assert gains.get_xdata() == pytest.approx(rows.gain.to_numpy())
    assert [*gains.get_ydata()] == [*range(len(CORRUPTION_CONDITIONS))]
    assert intervals(gain)[0] == pytest.approx(rows[["gain_low", "gain_high"]].to_numpy())
    assert gain.yaxis.get_inverted()  # the first row is at the top


def entry(condition: Condition, seed: int) -> dict:
    generator = np.random.default_rng(seed)
    return {
        "condition": condition,
        "plain": summarise(generator.normal(90, 1, 5)),
        "masked": summarise(generator.normal(90, 1, 5)),
        **{part: paired_difference(generator.normal(size=5)) for part in ("gain", "focus", "snr")},
    }


def test_training_on_noise_has_a_panel_for_each_part_of_the_claim():
    entries = [entry(condition, seed) for seed, condition in enumerate(TRAINING_CONDITIONS)]
    entries[2] |= {"plain": Sample(0), "masked": Sample(0), "gain": Difference(0)}
    accuracy, *parts = noise.trained_on_noise(entries).axes
    labels = [label.get_text() for label in accuracy.get_yticklabels()]
    assert labels == [str(condition) for condition in TRAINING_CONDITIONS]
    for line, network in zip(accuracy.lines, ("plain", "masked"), strict=True):
        means = [e[network].mean for e in entries]
        assert line.get_xdata() == pytest.approx(means, nan_ok=True)
    for panel, part in zip(parts, ("gain", "focus", "snr"), strict=True):
        there = [row for row, e in enumerate(entries) if e[part].n]
        assert len(there) == (6 if part == "gain" else 7)
        (means,) = [line for line in panel.lines if line.get_marker() == "o"]
        assert [*means.get_ydata()] == there
        assert means.get_xdata() == pytest.approx([entries[row][part].mean for row in there])
        ends = [(entries[row][part].low, entries[row][part].high) for row in there]
        assert intervals(panel)[0] == pytest.approx(np.array(ends))
    assert [texts(axis) for axis in (accuracy, *parts)] == [["missing"], ["missing"], [], []]
    assert accuracy.texts[0].get_position()[1] == 2


def test_training_on_noise_is_drawn_from_records():
    condition = TRAINING_CONDITIONS[1]
    records = measured_pairs(3, epochs=20, **condition.fields)
    entries = attention.trained_on_noise(records)
    accuracy, gain, focus, snr = noise.trained_on_noise(entries).axes
    for panel in (accuracy, gain, focus, snr):
        assert texts(panel) == ["missing"] * (len(TRAINING_CONDITIONS) - 1)
    assert accuracy.lines[0].get_xdata()[1] == pytest.approx(98.1)
    (means,) = [line for line in snr.lines if line.get_marker() == "o"]
    found = [
        record["measured"]["conditions"][str(condition)]["masks"]["c1_attention"]["snr_gain_db"]
        for record in records[3:]
    ]
    assert means.get_xdata() == pytest.approx([np.mean(found)])


# One square a condition


def test_gains_are_written_on_their_squares_and_framed_where_they_are_shown():
    shown, open_ = paired_difference([3.0, 3.1, 2.9]), paired_difference([-5.0, 5.0, -1.0])
    rows = {
        "one": {CLEAN: shown, BACKGROUND_CONDITIONS[0]: open_},
        "two": {CLEAN: open_, BACKGROUND_CONDITIONS[0]: shown},
    }
    axis, bar = noise.gains(rows, "trained on").axes
    assert [text.get_text() for text in axis.texts] == ["+3.0", "-0.3", "-0.3", "+3.0"]
    centres = np.array([patch.get_center() for patch in axis.patches])
    assert centres == pytest.approx(np.array([(0, 0), (1, 1)]))
    assert [text.get_text() for text in axis.get_yticklabels()] == ["one", "two"]
    assert [text.get_text() for text in axis.get_xticklabels()] == [
        "clean",
        str(BACKGROUND_CONDITIONS[0]),
    ]
    assert (axis.get_ylabel(), bar.get_ylabel()) == ("trained on", "points over LeNet-5 alone")


def test_gains_that_were_not_measured_leave_their_square_empty():
    nothing = Difference(0)
    found = {"one": {CLEAN: paired_difference([-0.1, 0.08]), BACKGROUND_CONDITIONS[0]: nothing}}
    assert [text.get_text() for text in noise.gains(found).axes[0].texts] == ["+0.0"]
    assert "missing" in texts(noise.gains({"one": {CLEAN: nothing}}).axes[0])


# All


NOTHING = {
    "accuracy_over_strength": lambda: noise.accuracy_over_strength(attention.robustness({}, [])),
    "quality_over_strength": lambda: noise.quality_over_strength(
        {c: attention.map_scores({}, [], c) for c in (CLEAN, *BACKGROUND_CONDITIONS)}, "ink_auroc"
    ),
    "corruptions": lambda: noise.corruptions(attention.robustness({}, [])),
    "trained_on_noise": lambda: noise.trained_on_noise(attention.trained_on_noise([])),
}


@pytest.mark.parametrize("name", [*NOTHING])
def test_without_measurements_every_panel_says_so(name, tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_attention.storage.paths.FIGURES", tmp_path)
    figure = NOTHING[name]()
    assert all("missing" in texts(axis) for axis in figure.axes)
    one, two = (save(NOTHING[name](), file).read_bytes() for file in ("one", "two"))
    assert one == two


def test_no_tensorflow_is_loaded():
    code = (
        "import sys; from mnist_attention.figures import noise; noise.trained_on_noise([]); "
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
