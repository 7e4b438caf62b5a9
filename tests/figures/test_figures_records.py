"""Figures of records: each draws empty and full, and draws what evidence says."""

import numpy as np
import pytest

from mnist_attention import figures
from mnist_attention.evidence import attention
from mnist_attention.noise import (
    BACKGROUND_CONDITIONS,
    CLEAN,
    CORRUPTION_CONDITIONS,
    TRAINING_CONDITIONS,
)
from synthetic import make_record, make_runs

FUNCTIONS = (
    "hero",
    "learning_curves",
    "accuracy_over_steps",
    "interventions",
    "controls",
    "reinitialised",
    "accuracy_over_strength",
    "decibels_and_accuracy",
)
PAIRS = {"lenet5": [0.984, 0.985, 0.983], "lenet5_attention": [0.983, 0.986, 0.984]}
MAPS = ("brightness", "sobel", "centre", "random")


def measure(record: dict) -> dict:
    """The record with a made-up measurement."""
    generator = np.random.default_rng(record["protocol"]["seed"])
    found = {}
    for condition in (CLEAN, *BACKGROUND_CONDITIONS, *CORRUPTION_CONDITIONS):
        scores = {"ink_auroc": generator.uniform(), "snr_gain_db": generator.normal()}
        maps = {f"c{i}_attention": scores for i in (1, 3)}
        found[str(condition)] = {
            "accuracy": generator.uniform(),
            "masks": maps,
            "untrained": maps,
            "trivial": {name: {"ink_auroc": 0.9} for name in MAPS},
        }
    kept = {f"c{i}_attention": [*generator.uniform(-1, 1, 5)] for i in (1, 3)}
    measured = {
        "conditions": found,
        "interventions": {name: generator.uniform() for name in (*attention.MOVED, "ones")},
        "reinitialised_draws": dict.fromkeys(attention.FROM_THE_TOP, kept),
    }
    return {**record, "measured": measured}


def runs(**changes) -> list[dict]:
    """Three measured runs of LeNet with and without the mask in a setting."""
    return [
        measure(record)
        for model, accuracies in PAIRS.items()
        for record in make_runs(accuracies, **{"model": model, **changes})
    ]


@pytest.fixture(scope="module")
def records() -> list[dict]:
    found = runs() + runs(epochs=20) + make_runs([0.99] * 3, batch_size=48)
    for model in attention.CONTROLS:
        found += make_runs([0.96, 0.961, 0.962], epochs=20, model=model)
    for condition in TRAINING_CONDITIONS:
        found += runs(epochs=20, **condition.fields)
    return found


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_figure_says_so_without_runs_and_draws_them_with(name, records):
    draw = getattr(figures, name)
    empty, full = draw([]), draw(records, title="A message")
    assert "no runs yet" in texts(empty)
    assert "no runs yet" not in texts(full)
    assert full.get_suptitle() == "A message"
    full.draw_without_rendering()
    empty.draw_without_rendering()


def test_the_hero_is_titled_by_the_two_means(records):
    title = figures.hero(records).get_suptitle()
    assert "from 97.7 to 99.3 %" in title
    assert "from 98.40 to 98.43 %" in title


def test_the_hero_leaves_out_seeds_without_a_partner(records):
    alone = make_record(0.5, seed=7, model="lenet5")
    title = figures.hero(records).get_suptitle()
    assert figures.hero([*records, alone]).get_suptitle() == title


def test_the_hero_draws_no_unfinished_runs():
    cut = [make_record(0.9, model=model, epochs_done=3) for model in PAIRS]
    assert "no runs yet" in texts(figures.hero(cut))


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_tables_draw_without_runs(number):
    figure = figures.paper_table([], number)
    assert texts(figure) == ["no runs yet"]
    assert "not finished" in figure.axes[0].get_xlabel()


def test_a_table_draws_finished_runs_and_names_the_others(records):
    cut = make_record(0.7, model="alexnet", epochs_done=4)
    axis = figures.paper_table([*records, cut], 1).axes[0]
    assert labels(axis) == ["LeNet", "LeNet+Attention"]
    assert "AlexNet (4 of 100 epochs)" in axis.get_xlabel()
    written = [text.get_text() for text in axis.texts]
    assert written == ["98.40", "paper 97.7", "98.43", "paper 99.3"]


def test_steps_are_epochs_times_batches(records):
    axes = figures.accuracy_over_steps(records).axes
    ends = [max(line.get_xdata()[-1] for line in axis.lines) for axis in axes]
    assert ends == [100, 125]  # thousands: 60,000 / 48 batches in each of 100 epochs


def test_controls_are_drawn_with_their_seeds(records):
    axis = figures.controls(records).axes[0]
    assert labels(axis) == ["LeNet", *attention.BLOCK_NAMES.values()]
    drawn = [[*map(float, np.round(line.get_xdata(), 6))] for line in axis.lines]
    assert [96.0, 96.1, 96.2] in drawn


def test_several_draws_a_seed_are_several_lines(records, monkeypatch):
    draws = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    found = {"c1_attention": dict.fromkeys(attention.FROM_THE_TOP, draws)}
    monkeypatch.setattr(attention, "reinitialised", lambda changes, records: found)
    drawn = figures.reinitialised(records).axes[0].lines
    starts = sorted(float(line.get_ydata()[0]) for line in drawn)
    np.testing.assert_allclose(starts, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])  # no mean of unlike signs


def test_options_beyond_the_axes_are_named_below(records):
    stuck = make_runs([0.1135] * 3, epochs=20, activation="sigmoid")
    figure = figures.ablation_forest([*records, *stuck])
    assert "sigmoid" in figure.get_supxlabel()
    assert not any("sigmoid" in label for label in labels(figure.axes[0]))
    assert figures.ablation_forest(records).get_supxlabel() == ""
