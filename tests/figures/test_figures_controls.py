"""Figures of controls, interventions and maps: what is drawn is what `attention` says."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mnist_attention.evidence import attention
from mnist_attention.evidence.attention import FROM_THE_TOP, MASKED, PLAIN, SHORT_RUNS
from mnist_attention.evidence.statistics import Difference, paired_difference
from mnist_attention.figures import controls, save
from synthetic import make_runs

CLEAN = 0.98


@pytest.fixture
def records() -> list[dict]:
    """Three measured networks; LeNet-5, the mask and one control for the controls."""
    measured = make_runs([0.98] * 3)
    for seed, record in enumerate(measured):
        drawn = {
            name: {"c1_attention": 1 - 0.2 * seed, "c3_attention": 0.3} for name in FROM_THE_TOP
        }
        changed = {"mean": 0.97, "another image": 0.95, "shuffled": 0.96, "ones": 0.975}
        record["measured"] = {
            "conditions": {"clean": {"accuracy": CLEAN}},
            "interventions": {name: value - 0.001 * seed for name, value in changed.items()},
            "randomised": dict(sorted(drawn.items())),
        }
    return [
        *measured,
        *make_runs([0.970, 0.972, 0.974], model=PLAIN, **SHORT_RUNS),
        *make_runs([0.973, 0.974, 0.978], model=MASKED, **SHORT_RUNS),
        *make_runs([0.960, 0.963, 0.961], model="lenet5_swish", **SHORT_RUNS),
    ]


def means(axis: Axes) -> dict[str, Line2D]:
    """Label of a row -> the point in it."""
    labels = [label.get_text() for label in axis.get_yticklabels()]
    drawn = [line for line in axis.lines if line.get_marker() in ("o", "<", ">")]
    drawn = [line for line in drawn if line.get_linestyle() != "None"]
    return {labels[round(line.get_ydata()[0])]: line for line in drawn}


def intervals(axis: Axes) -> list[tuple[float, ...]]:
    drawn = [line.get_xdata() for line in axis.lines if line.get_marker() == "|"]
    return [tuple(ends) for ends in drawn if np.isfinite(ends).all()]


def beside(axis: Axes, name: str) -> list[str]:
    """What is written in the row of this label, from the left."""
    labels = [label.get_text() for label in axis.get_yticklabels()]
    row = labels.index(name)
    found = [text for text in axis.texts if getattr(text, "xy", None) == (1, row)]
    return [text.get_text() for text in found if text.get_text()]


def test_controls_are_drawn_where_they_are_and_named_where_they_are_missing(records):
    axis = controls.forest_of_controls(records).axes[0]
    table = attention.controls(records).set_index("network")
    drawn = means(axis)
    assert {*drawn} == {"the mask", attention.CONTROLS["lenet5_swish"]}
    for name, point in drawn.items():
        assert point.get_xdata() == pytest.approx([table.gain[name]])
    assert intervals(axis) == [
        (table.gain_low[name], table.gain_high[name]) for name in table.index if name in drawn
    ]
    assert beside(axis, "the mask")[1] == "3"
    assert beside(axis, attention.CONTROLS["lenet5_cbam"]) == ["missing", "0"]
    assert axis.yaxis.get_inverted()


def test_interventions_show_every_seed(records):
    axis = controls.forest_of_interventions(records).axes[0]
    changed = attention.changed_by_seed({}, records)
    found = {name: paired_difference(points) for name, points in changed.items()}
    assert {n: line.get_xdata()[0] for n, line in means(axis).items()} == pytest.approx(
        {name: paired.mean for name, paired in found.items()}
    )
    dots = [line for line in axis.lines if line.get_linestyle() == "None"]
    order = [label.get_text() for label in axis.get_yticklabels()]
    assert order == [*attention.MOVED, "ones"]
    for name, line in zip(order, dots, strict=True):
        assert list(line.get_xdata()) == attention.changed_by_seed({}, records)[name]


def test_rivals_say_what_is_shown(records):
    axis = controls.forest_of_rivals(records).axes[0]
    assert beside(axis, attention.MOVED["mean"])[-1] == "beaten"
    assert beside(axis, attention.PLACELESS["lenet5_swish"])[-1] == "beaten"
    assert beside(axis, attention.PLACELESS["lenet5_frozen"]) == ["missing", "0"]
    leads = attention.rivals(records)
    swish = attention.PLACELESS["lenet5_swish"]
    assert means(axis)[swish].get_xdata() == pytest.approx([leads[swish].mean])


def test_forest_draws_no_interval_of_two_seeds():
    two = paired_difference([1.0, 1.2])
    assert not math.isnan(two.low)
    axis = controls.forest({"two": two, "three": paired_difference([1, 1.2, 1.1])}, "points").axes[
        0
    ]
    assert len(intervals(axis)) == 1
    assert beside(axis, "two") == ["+1.10", "2"]


def test_a_collapse_squashes_nothing():
    axis = controls.forest({"one": Difference(1, -80.0), "other": Difference(1, 0.05)}, "").axes[0]
    to_axes = axis.transData + axis.transAxes.inverted()
    nil, tenth = to_axes.transform([(0, 0), (0.1, 0)])[:, 0]
    assert axis.get_xlim()[0] < -80
    assert tenth - nil > 0.05


def test_cascade_has_a_line_for_each_seed_and_one_for_the_mean(records):
    axis = controls.cascade(records).axes[0]
    labels = [label.get_text().replace("\n", "_") for label in axis.get_xticklabels()]
    assert labels == [*FROM_THE_TOP]
    thick = {line.get_label(): line for line in axis.lines if line.get_marker() != "None"}
    assert [*thick] == ["C1 mask, 3 seeds", "C3 mask, 3 seeds"]
    assert thick["C1 mask, 3 seeds"].get_ydata() == pytest.approx([0.8] * 7)
    thin = [line.get_ydata()[0] for line in axis.lines if line.get_linewidth() == 0.7]
    assert thin == pytest.approx([1, 0.8, 0.6, 0.3, 0.3, 0.3])


def test_cascade_says_that_it_is_missing():
    axis = controls.cascade([]).axes[0]
    assert [text.get_text() for text in axis.texts] == ["missing"]


def test_agreements_write_each_number_on_its_square():
    table = pd.DataFrame([[1.0, -0.6], [0.2, 0.49]], ["seed 0", "seed 1"], ["seed 0", "brightness"])
    one, other = controls.agreements({"C1": table, "C3": -table}).axes[:2]
    assert (one.get_title(), other.get_title()) == ("C1", "C3")
    written = {text.get_position(): text for text in one.texts}
    assert {place: text.get_text() for place, text in written.items()} == {
        (0, 0): "1.00",
        (1, 0): "-0.60",
        (0, 1): "0.20",
        (1, 1): "0.49",
    }
    # To be read: white on dark squares, black on light ones.
    assert [text.get_color() for text in written.values()] == ["white", "white", "black", "black"]
    assert [label.get_text() for label in one.get_xticklabels()] == [*table.columns]
    assert [label.get_text() for label in one.get_yticklabels()] == [*table.index]
    assert one.images[0].get_clim() == other.images[0].get_clim() == (-1, 1)
    np.testing.assert_array_equal(other.images[0].get_array(), -table)


@pytest.mark.parametrize(
    "draw",
    [
        controls.forest_of_controls,
        controls.forest_of_interventions,
        controls.forest_of_rivals,
        controls.cascade,
    ],
)
def test_nothing_on_record_gives_a_figure_all_the_same(draw, tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_attention.storage.paths.FIGURES", tmp_path)
    one, two = (save(draw([]), name).read_bytes() for name in ("one", "two"))
    assert one == two


def test_no_tensorflow_is_loaded():
    code = (
        "import sys; from mnist_attention.figures import controls; controls.cascade([]); "
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
