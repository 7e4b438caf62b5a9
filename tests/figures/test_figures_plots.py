"""Curves, forests, tables and pairs: the rows that are drawn, full and empty."""

import numpy as np

from mnist_attention import figures
from mnist_attention.evidence.statistics import Difference, Sample
from mnist_attention.figures import Curve


def texts(figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


def lines(axis) -> list[list[float]]:
    return [[*map(float, line.get_xdata())] for line in axis.lines]


def test_curves_are_thin_lines_with_their_mean_named_at_the_end():
    found = np.array([[1.0, 2, 3], [3.0, 4, np.nan]])
    figure = figures.curves(
        {"left": {}, "right": {"LeNet": Curve([1, 2, 3], found)}}, levels={"the paper": 5}
    )
    drawn = [line.get_ydata() for line in figure.axes[1].lines]
    np.testing.assert_array_equal(drawn[:2], found)
    np.testing.assert_array_equal(drawn[2], [2, 3, 3])
    assert texts(figure) == ["no runs yet", "LeNet", "the paper"]


def test_names_of_curves_that_end_alike_do_not_overlap():
    for end in (0, 50, 100):
        series = {name: Curve([1, 2], [0.0, end + i / 100]) for i, name in enumerate("abcde")}
        figure = figures.curves({"": series}, limits=(0, 100))
        heights = [text.xy[1] for text in figure.axes[0].texts]
        assert np.diff(heights).min() > 0.05
        assert min(heights) >= 0
        assert max(heights) <= 1


def test_curves_without_values_say_so():
    for nothing in ({}, {"": {}}, {"": {"one": Curve([], np.empty((0, 0)))}}):
        assert texts(figures.curves(nothing)) == ["no runs yet"]


def test_forest_draws_estimates_with_intervals_and_seeds_with_their_mean():
    rows = {
        "estimate": Difference(5, -0.5, low=-1, high=0.25),
        "seeds": [1.0, 2.0, 6.0],
        "none": Sample(0),
        "unfinished": Difference(0),
    }
    figure = figures.forest({"": rows})
    drawn = lines(figure.axes[0])
    assert labels(figure.axes[0]) == [*rows]
    assert [-1, 0.25] in drawn
    assert [1, 2, 6] in drawn
    assert [3] in drawn
    assert texts(figure) == ["\N{MINUS SIGN}0.50", "+3.00", "no runs yet", "no runs yet"]


def test_forest_puts_the_papers_number_beside_ours():
    rows = {"LeNet": Sample(3, 98.4, 0.1, 98.3, 98.5)}
    options = {"paper": {"test": {"LeNet": 97.7}}, "form": ".2f", "equal": None}
    figure = figures.forest({"test": rows}, **options)
    assert texts(figure) == ["98.40", "paper 97.7"]
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    colours = {float(line.get_xdata()[0]): line.get_color() for line in points}
    assert colours == {98.4: figures.PLAIN, 97.7: figures.PAPER}


def test_forest_joins_the_seeds_only_where_all_rows_have_them():
    rows = {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]}
    joined = lines(figures.forest({"": rows}, join=True).axes[0])
    assert [1, 3, 5] in joined
    assert [2, 4, 6] in joined
    apart = lines(figures.forest({"": {**rows, "c": [5.0]}}, join=True).axes[0])
    assert max(map(len, apart)) == 2


def test_panels_share_the_rows_of_the_first():
    panels = {"one": {"a": [1.0]}, "two": {"a": [2.0]}}
    assert [labels(axis) for axis in figures.forest(panels).axes] == [["a"], [""]]


def test_an_empty_forest_says_so():
    assert texts(figures.forest({})) == ["no runs yet"]


def test_heat_map_writes_every_correlation():
    table = np.array([[1.0, 0.02], [-0.96, 0.12]])
    assert texts(figures.heat_map({"a": table}, "xy")) == ["+1.0", "+0.0", "-1.0", "+0.1"]
    assert len(figures.heat_map({"a": table, "b": table}, "xy", label="seed").axes) == 2
    table[0, 1] = np.nan
    assert "nan" not in "".join(texts(figures.heat_map({"a": table}, "xy")))
    assert texts(figures.heat_map({}, "xy")) == ["nothing to show yet"]


def test_pairs_are_lines_from_without_to_with():
    figure = figures.pairs([98.4, 98.5], [98.3, 98.6], (97.7, 99.3))
    drawn = [[*map(float, line.get_ydata())] for line in figure.axes[0].lines]
    assert drawn[:3] == [[97.7, 99.3], [98.4, 98.3], [98.5, 98.6]]
    assert texts(figure)[2:] == ["ours 98.45\nmean of 2"] * 2
    assert "no runs yet" in texts(figures.pairs([], [], (97.7, 99.3)))
