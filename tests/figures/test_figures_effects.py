"""Forest plots and nearest protocols: what is drawn is what `evidence` says."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnist_attention.evidence import ablations
from mnist_attention.evidence import runs as evidence
from mnist_attention.evidence.statistics import MARGIN
from mnist_attention.figures import effects, save
from synthetic import make_record, make_runs

PLAIN = [0.9890, 0.9885, 0.9893, 0.9888, 0.9891, 0.9887, 0.9894, 0.9886]
MASKED = [0.9893, 0.9884, 0.9899, 0.9889, 0.9896, 0.9883, 0.9899, 0.9890]
GAINS = [0.03, -0.01, 0.06, 0.01, 0.05, -0.04, 0.05, 0.04]


def pairs(plain=PLAIN, masked=MASKED, **changes) -> list[dict]:
    return make_runs(plain, model="lenet5", **changes) + make_runs(masked, **changes)


def points(axis: Axes) -> list[Line2D]:
    return [line for line in axis.lines if line.get_marker() in ("o", "<", ">")]


def intervals(axis: Axes) -> list[tuple[float, ...]]:
    drawn = [line.get_xdata() for line in axis.lines if line.get_marker() == "|"]
    return [tuple(ends) for ends in drawn if np.isfinite(ends).all()]


def upright(axis: Axes) -> list[float]:
    """Where lines from the bottom to the top stand."""
    drawn = [line.get_xdata() for line in axis.lines if line.get_marker() == "None"]
    return [x for x, other in drawn if x == other]


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


# Pairs


def test_pairs_are_one_point_a_seed_and_the_mean_with_its_interval():
    records = pairs()
    axis = effects.forest_of_pairs(records).axes[0]
    *seeds, mean = points(axis)
    assert [line.get_xdata()[0] for line in seeds] == pytest.approx(GAINS)
    assert [line.get_ydata()[0] for line in seeds] == [*range(8)]
    rows = (evidence.runs_of(evidence.setting_of(row), records) for row in effects.PAIR)
    paired = evidence.difference(*rows)
    assert paired.method == "BCa bootstrap"
    assert mean.get_xdata() == pytest.approx([np.mean(GAINS)])
    assert intervals(axis) == [(paired.low, paired.high)]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == [*(f"seed {seed}" for seed in range(8)), "mean of 8,\n95 % BCa bootstrap"]
    # The lower end is a little below nil, which takes a third digit to be seen.
    assert -0.005 < paired.low < -0.0005
    assert f"{paired.mean:+.3f} [{paired.low:.3f}, {paired.high:.3f}]" in texts(axis)
    assert axis.yaxis.get_inverted()  # seed 0 is at the top


def test_pairs_stand_beside_nil_its_margin_and_the_papers_gain():
    axis = effects.forest_of_pairs(pairs()).axes[0]
    gain = evidence.reported_value("LeNet+Attention") - evidence.reported_value("LeNet")
    assert upright(axis) == pytest.approx([0, gain])
    assert "the paper: +1.6" in texts(axis)
    (band,) = axis.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((-MARGIN, 2 * MARGIN))


def test_seeds_without_partner_are_no_pairs():
    records = make_runs(PLAIN[:4], model="lenet5")[1:] + make_runs(MASKED[:4])
    axis = effects.forest_of_pairs(records).axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[:-1] == ["seed 1", "seed 2", "seed 3"]
    assert [line.get_xdata()[0] for line in points(axis)[:3]] == pytest.approx(GAINS[1:4])


@pytest.mark.parametrize(
    ("records", "seeds", "said"),
    [
        ([], 0, "LeNet+Attention: missing; LeNet: missing"),
        (
            pairs(PLAIN[:2], MASKED[:2]),
            2,
            "LeNet+Attention: 2 of at least 3 seeds; LeNet: 2 of at least 3 seeds",
        ),
        (
            pairs(epochs_done=7),
            8,
            "LeNet+Attention: 7 of 100 epochs; LeNet: 7 of 100 epochs",
        ),
        (
            make_runs(PLAIN[:4], model="lenet5")[:3] + make_runs(MASKED[:4])[1:],
            2,
            "2 of at least 3 paired seeds",
        ),
    ],
)
def test_what_is_missing_stands_where_the_interval_would_be(records, seeds, said):
    axis = effects.forest_of_pairs(records).axes[0]
    assert f"no interval yet. {said}" in texts(axis)
    assert len(points(axis)) == seeds
    assert intervals(axis) == []


def test_a_seed_that_collapsed_is_an_arrow_and_leaves_the_others_readable():
    records = pairs([*PLAIN, 0.99], [*MASKED, 0.1135])
    axis = effects.forest_of_pairs(records).axes[0]
    *others, collapsed, mean = points(axis)
    assert {line.get_marker() for line in others} == {"o"}
    for arrow in (collapsed, mean):
        assert (arrow.get_marker(), *arrow.get_xdata()) == ("<", -effects.FARTHEST)
    assert "-87.65" in texts(axis)
    low, high = axis.get_xlim()
    assert -4 < low < high < 4


# The ledger


@pytest.fixture
def ledger_records() -> list[dict]:
    """Two options of 30 epochs, one of which collapses, and one option at two lengths."""
    return [
        *make_runs([0.985, 0.986, 0.9855], epochs=30),
        *make_runs([0.984, 0.9852, 0.985], epochs=30, activation="tanh"),
        *make_runs([0.1135, 0.0980, 0.1028], epochs=30, activation="sigmoid"),
        *make_runs([0.989, 0.9895, 0.9892]),
        *make_runs([0.9913, 0.9921, 0.9918], momentum=0.9),
        *make_runs([0.9903, 0.9911, 0.9908], momentum=0.9, epochs=30),
    ]


def test_ledger_draws_each_effect_with_its_interval(ledger_records):
    axis = effects.forest_of_ledger(ledger_records).axes[0]
    table = ablations.ledger(ledger_records)
    measured = table[table.n > 0]
    # tanh, sigmoid, momentum twice, running accuracy, best seed
    assert len(measured) == 6
    assert [line.get_xdata()[0] for line in points(axis)] == [*measured.effect]
    known = measured.dropna(subset=["low"])
    assert intervals(axis) == [*zip(known.low, known.high, strict=True)]
    said = texts(axis)
    for row in measured.itertuples():
        place = next(
            text.xy[1] for text in axis.texts if text.get_text().startswith(f"{row.effect:+.2f}")
        )
        beside = {text.get_text() for text in axis.texts if getattr(text, "xy", 0)[1] == place}
        guess = " (3 guess)" if row.option == "sigmoid" else ""
        assert {row.option + guess, str(row.n), str(row.epochs)} <= beside
    assert {*table.choice} <= {*said}
    assert {f"ours: {ours}" for ours in table.ours} <= {*said}


def test_an_effect_stands_in_the_row_of_its_option(ledger_records):
    axis = effects.forest_of_ledger(ledger_records).axes[0]
    height = {text.get_text(): text.xy[1] for text in axis.texts}
    table = ablations.ledger(ledger_records)
    drawn = {line.get_xdata()[0]: line.get_ydata()[0] for line in points(axis)}
    for option in ("tanh", "augmented, over the last epoch", "the best of n"):
        (effect,) = table[(table.option == option) & (table.n > 0)].effect
        assert drawn[effect] == height[option]
    rows = sorted({*drawn.values()} | {height[choice] for choice in table.choice})
    assert min(np.diff(rows)) >= 1  # none is written over another


def test_a_collapse_is_drawn_in_full_and_squashes_nothing(ledger_records):
    axis = effects.forest_of_ledger(ledger_records).axes[0]
    low, high = axis.get_xlim()
    table = ablations.ledger(ledger_records)
    assert low < table.low.min() < -80
    assert high >= 1
    to_axes = axis.transData + axis.transAxes.inverted()
    nil, tenth = to_axes.transform([(0, 0), (0.1, 0)])[:, 0]
    assert tenth - nil > 0.05  # of the width: to be seen beside tens of points


def test_options_without_enough_runs_are_grey_and_say_what_they_lack(ledger_records):
    few = make_runs([0.9, 0.91], epochs=30, mask_activation="softmax")
    for records in ([], ledger_records, ledger_records + few):
        lacks = [lack for lack in ablations.ledger(records).lack if lack]
        said = texts(effects.forest_of_ledger(records).axes[0])
        assert [lack for lack in said if lack in {*lacks}] == lacks
    assert "2 of at least 3 seeds" in said
    axis = effects.forest_of_ledger(ledger_records).axes[0]
    grey = next(text for text in axis.texts if text.get_text() == "behind C1 only")
    black = next(text for text in axis.texts if text.get_text() == "tanh")
    assert (grey.get_color(), black.get_color()) == (effects._GREY, "black")


# Nearest protocols


@pytest.fixture
def explaining() -> list[dict]:
    """Two readings with all that is to be explained, one with a part of it."""
    near, far = {"activation": "tanh", "epochs": 20}, {"activation": "sigmoid", "epochs": 20}
    return [
        *make_runs([0.90, 0.91, 0.905], model="lenet5", **far),
        *make_runs([0.89, 0.88, 0.89], **far),
        *make_runs([0.95] * 3, learning_rate=0.1, **far),
        *make_runs([0.1135] * 3, learning_rate=0.001, **far),
        *make_runs([0.975, 0.977, 0.978], model="lenet5", **near),
        *make_runs([0.978, 0.980, 0.979], **near),
        *make_runs([0.81, 0.82, 0.81], learning_rate=0.1, **near),
        *make_runs([0.83, 0.85, 0.84], learning_rate=0.001, **near),
        *make_runs([0.97] * 3, model="lenet5", pooling="average"),
    ]


def test_nearest_protocol_is_at_the_top_with_its_distance(explaining):
    axis = effects.nearest_protocols(explaining).axes[0]
    table = ablations.nearest(explaining)
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == [*table.setting] == ["activation=tanh", "activation=sigmoid"]
    for row, protocol in enumerate(table.itertuples()):
        rows = [text for text in axis.texts if text.get_va() == "center"]
        beside = [text.get_text() for text in rows if text.xy == (1, row)]
        assert beside == [f"{protocol.factor:.2f}", str(protocol.n), "20"]
    assert axis.yaxis.get_inverted()


def test_dots_are_ours_and_lines_the_papers(explaining):
    axis = effects.nearest_protocols(explaining).axes[0]
    table = ablations.nearest(explaining)
    dots = {
        line.get_label(): line
        for line in axis.lines
        if line.get_marker() in tuple(effects._MARKERS)
    }
    assert [*dots] == [*ablations.EXPLAINED]
    paper = [100 - evidence.reported_value(name) for name in ablations.EXPLAINED]
    assert upright(axis) == pytest.approx(paper)
    for name, said, misses in zip(ablations.EXPLAINED, paper, axis.collections, strict=True):
        assert dots[name].get_xdata() == pytest.approx(100 - table[name].to_numpy())
        assert dots[name].get_ydata().round() == pytest.approx([0, 1])
        for segment, ours in zip(misses.get_segments(), table[name], strict=True):
            assert sorted(segment[:, 0]) == pytest.approx(sorted([said, 100 - ours]))
    # Errors, written as accuracies; better is to the right.
    assert axis.xaxis.get_inverted()
    assert axis.xaxis.get_major_formatter()(2, 0) == "98"
    assert axis.get_xscale() == "log"


def test_nearest_shows_as_many_protocols_as_asked_for(explaining):
    axis = effects.nearest_protocols(explaining, rows=1).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["activation=tanh"]


def test_nearest_says_which_runs_are_missing():
    axis = effects.nearest_protocols([]).axes[0]
    assert any("missing" in said and "learning_rate=0.001" in said for said in texts(axis))


# All


@pytest.mark.parametrize(
    "draw", [effects.forest_of_pairs, effects.forest_of_ledger, effects.nearest_protocols]
)
@pytest.mark.parametrize("digest", ["of other digits", None])
def test_nothing_that_can_be_used_gives_a_figure_all_the_same(draw, digest, tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_attention.storage.paths.FIGURES", tmp_path)
    records = [make_record(digest=digest)] if digest else []
    one, two = (save(draw(records), name).read_bytes() for name in ("one", "two"))
    assert one == two


def test_no_tensorflow_is_loaded():
    code = (
        "import sys; from mnist_attention.figures import effects; effects.forest_of_pairs([]); "
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
