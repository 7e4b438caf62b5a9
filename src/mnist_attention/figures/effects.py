"""What a choice is worth, in points of accuracy, and which protocol comes nearest to the paper."""

import dataclasses
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..evidence import ablations
from ..evidence import runs as evidence
from ..evidence.runs import Runs
from ..evidence.statistics import MARGIN, Difference, with_interval
from . import COLOURS, style, subplots
from .training import SERIES_COLOURS, accuracy_axis, error

PAIR = ("LeNet+Attention", "LeNet")
"""Rows of Table 1 whose difference is the paper's main claim."""

FARTHEST = 3.0
"""Points beyond which a pair is an arrow at the edge: a run that collapsed is tens away."""

_GREY = "0.45"
_SMALL = 8
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1}
_LABELS = 185
"""Points (of type) that the labels of the ledger take at the left of the plot."""
_COLUMNS = ((8, "left"), (130, "right"), (170, "right"))
"""Where the columns at the right of a plot stand, in points (of type), and their flush side."""


# Pairs


@style()
def forest_of_pairs(records: list[dict]) -> Figure:
    """Test accuracy with the mask minus without it, seed by seed.

    Args:
        records: Any records; those of other digits than MNIST are not used.

    Returns:
        One row a seed, in points. Below them the mean with its 95 % interval, or what is lacking
        before there is one. Shaded: differences that count as nil, `inference.MARGIN`. Dashed:
        the paper's gain. An arrow at the edge stands for a difference beyond `FARTHEST`. The
        numbers are at the right.
    """
    masked, plain = (evidence.runs_of(evidence.setting_of(row), records) for row in PAIR)
    seeds = _differences(masked, plain)
    figure, axes = subplots(width=8, height=1.7 + 0.23 * len(seeds))
    axis = axes[0, 0]
    draw_equal(axis)
    _draw_papers_gain(axis)
    for row, value in enumerate(seeds.values()):
        draw_effect(axis, row, Difference(1, value), COLOURS["blue"], FARTHEST)
        write_beside(axis, row, in_points(Difference(1, value)))
    below = len(seeds) + 0.5  # set apart from the seeds
    mean = _draw_mean(axis, below, masked, plain)
    axis.set_yticks([*range(len(seeds)), below], [*(f"seed {seed}" for seed in seeds), mean])
    axis.set(ylim=(below + 0.8, -0.8), xlabel=f"{PAIR[0]} minus {PAIR[1]}, points of test accuracy")
    low, high = axis.get_xlim()  # an interval may go on beyond the edge
    axis.set_xlim(max(low, -1.05 * FARTHEST), min(high, 1.05 * FARTHEST))
    axis.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(signed))
    return figure


def _differences(first: Runs, second: Runs) -> dict[int, float]:
    """Seed -> first minus second in points, for each seed that is a pair."""
    alone = {
        evidence.protocol_of(record)["seed"]: dataclasses.replace(first, records=(record,))
        for record in first.records
    }
    found = {seed: evidence.difference(run, second) for seed, run in alone.items()}
    return {seed: paired.mean for seed, paired in found.items() if paired.n}


def _draw_papers_gain(axis: Axes) -> None:
    gain = evidence.reported_gain()
    axis.axvline(gain, color=COLOURS["vermillion"], linestyle="--", linewidth=1.2)
    _write_above(axis, gain, f"the paper: {gain:+g}", COLOURS["vermillion"])


def _draw_mean(axis: Axes, row: float, masked: Runs, plain: Runs) -> str:
    """Draw the mean and its interval, or write what is lacking. Returns the row's label."""
    paired = evidence.difference(masked, plain)
    found = dict(zip(PAIR, (masked, plain), strict=True))
    if lack := evidence.lacks(found) or evidence.lack_of_pairs(paired):
        _write_in_row(axis, row, f"no interval yet. {lack}")
        return "mean"
    draw_effect(axis, row, paired, COLOURS["black"], FARTHEST)
    write_beside(axis, row, in_points(paired))
    return f"mean of {paired.n},\n95 % {paired.method}"


# The ledger


@style()
def forest_of_ledger(records: list[dict]) -> Figure:
    """What each choice that the paper leaves open is worth.

    Args:
        records: Any records; those of other digits than MNIST are not used.

    Returns:
        The rows of `assumptions.ledger`, under the choice that they belong to and our reading:
        option minus ours in points, with the 95 % interval where there is one. The axis is linear
        within `inference.MARGIN` of nil (shaded) and logarithmic beyond, so that hundredths and
        tens of points are both to be seen. Options without enough runs are grey, with what they
        lack; "guess" counts the runs of an option that have not begun to learn.
    """
    table = ablations.ledger(records)
    choices = table.groupby(["choice", "ours"], sort=False)
    figure, axes = subplots(width=9, height=0.9 + 0.2 * (len(table) + 1.3 * len(choices)))
    axis = axes[0, 0]
    axis.set_xscale("symlog", linthresh=MARGIN, linscale=0.6)
    axis.xaxis.set_major_formatter(FuncFormatter(signed))
    draw_equal(axis)
    row = 0.0
    for (choice, ours), options in choices:
        _write_choice(axis, row, choice, ours)
        for option in options.itertuples():
            row += 1
            _draw_option(axis, row, option)
        row += 1.3
    write_beside(axis, None, "effect [95 %]", "n", "epochs", color=_GREY)
    label = "option minus ours, points of accuracy\n(linear where shaded, logarithmic beyond)"
    axis.set(ylim=(row - 0.3, -0.7), yticks=[], xlabel=label)
    axis.spines["left"].set_visible(False)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -1), max(high, 1))
    return figure


def _draw_option(axis: Axes, row: float, option) -> None:
    if option.lack:
        _write_left(axis, row, option.option, indent=10, color=_GREY)
        write_beside(axis, row, option.lack, color=_GREY)
        return
    paired = Difference(option.n, option.effect, low=option.low, high=option.high)
    guess = f" ({option.guessing} guess)" if option.guessing else ""
    _write_left(axis, row, option.option + guess, indent=10)
    draw_effect(axis, row, paired, COLOURS["blue"])
    write_beside(axis, row, in_points(paired), str(option.n), str(option.epochs))


def _write_choice(axis: Axes, row: float, choice: str, ours: str) -> None:
    """The heading of a choice. No effect is in its row, so it may run into the plot."""
    name = _write_left(axis, row, choice, weight="bold")
    look = {"textcoords": "offset points", "color": _GREY, "fontsize": _SMALL, "bbox": _PAPER}
    axis.annotate(f"ours: {ours}", (1, 0.5), (5, 0), xycoords=name, va="center", **look)


# Nearest protocols


_MARKERS = "osD^v"
_ASIDE = (-0.3, -0.15, 0, 0.15, 0.3)
"""Where the points of a protocol stand in its row, which is 1 high."""


@style()
def nearest_protocols(records: list[dict], rows: int = 10) -> Figure:
    """Which protocols come nearest to the paper's odd numbers, and how near.

    Args:
        records: Any records; those of other digits than MNIST are not used.
        rows: How many protocols to show.

    Returns:
        One row a protocol of `assumptions.nearest`, the nearest at the top: dots are the means of
        ours, vertical lines the paper's numbers, thin lines how far the ones are from the others
        of the same colour. At the right the factor by which our errors are off, the number of seeds
        and of epochs. The axis of accuracies is stretched towards 100 %.
    """
    table = ablations.nearest(records).head(rows)
    figure, axes = subplots(width=9, height=1.5 + 0.34 * max(1, len(table)))
    axis = axes[0, 0]
    colours = SERIES_COLOURS[: len(ablations.EXPLAINED)]
    looks = zip(ablations.EXPLAINED, colours, _MARKERS, _ASIDE, strict=True)
    for name, colour, marker, aside in looks:
        _draw_nearness(axis, table[name], aside, colour, marker)
    for row, protocol in enumerate(table.itertuples()):
        write_beside(axis, row, f"{protocol.factor:.2f}", str(protocol.n), str(protocol.epochs))
    write_beside(axis, None, "errors off by", "n", "epochs", color=_GREY)
    if table.empty:
        needed = ", ".join(ablations.EXPLAINED)
        _write_in_row(axis, 0, f"missing: no protocol with three seeds of {needed}")
    names = [textwrap.fill(setting, 45) for setting in table.setting]
    axis.set_yticks(range(len(table)), names, fontsize=_SMALL)
    axis.set(ylim=(max(1, len(table)) - 0.4, -0.6), xlabel="test accuracy, %")
    accuracy_axis(axis, across=True)
    figure.legend(loc="outside lower center", ncols=len(ablations.EXPLAINED))
    return figure


def _draw_nearness(axis: Axes, ours: pd.Series, aside: float, colour: str, marker: str) -> None:
    paper = evidence.reported_value(ours.name)
    axis.axvline(error(paper / 100), color=colour, linestyle="--", linewidth=1)
    _write_above(axis, error(paper / 100), f"{paper:g}", colour, _side(paper))
    rows, errors = np.arange(len(ours)) + aside, error(ours / 100)
    axis.hlines(rows, errors, error(paper / 100), color=colour, linewidth=1)
    look = {"linestyle": "none", "marker": marker, "color": colour, "markersize": 5}
    axis.plot(errors, rows, label=ours.name, **look)


def _side(paper: float) -> str:
    """Where the label of a line is flush: those of two lines side by side must not overlap."""
    errors = [100 - evidence.reported_value(name) for name in ablations.EXPLAINED]
    beside = [error for error in errors if 0.8 < error / (100 - paper) < 1.25]
    if len(beside) == 1:
        return "center"
    return "left" if 100 - paper == min(beside) else "right"


# What the figures share


def draw_equal(axis: Axes) -> None:
    """Nil, and the band that counts as nil."""
    axis.axvspan(-MARGIN, MARGIN, color="0.92", linewidth=0, zorder=0)
    axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
    _write_above(axis, 0, f"equal within {MARGIN:g}", _GREY)


def draw_effect(
    axis: Axes, row: float, paired: Difference, colour: str, farthest: float = np.inf
) -> None:
    """A point and its interval; an arrow at the edge where the point is beyond it."""
    value = np.clip(paired.mean, -farthest, farthest)
    marker = "o" if value == paired.mean else "<" if value < 0 else ">"
    ends = [paired.low, paired.high]  # NaN, and so not drawn, where there is no interval
    axis.plot(ends, [row, row], color=colour, marker="|", markersize=7)
    axis.plot([value], [row], color=colour, marker=marker, markersize=5)


def in_points(paired: Difference) -> str:
    """A difference with its interval: "+0.04 [-0.02, 0.11]"."""
    return with_interval(paired.mean, paired.low, paired.high)


def signed(value: float, _=None) -> str:
    """A tick: "+0.5", "0", "-10"."""
    value = round(value, 9)
    return f"{value:+g}" if value else "0"


def _write_left(axis: Axes, row: float, text: str, indent: float = 0, **look) -> Annotation:
    place = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points"}
    look = {"va": "center", "fontsize": _SMALL, "bbox": _PAPER, **place, **look}
    return axis.annotate(text, (0, row), (indent - _LABELS, 0), **look)


def write_beside(axis: Axes, row: float | None, *columns: str, color: str = "black") -> None:
    """Write at the right of a row; without row, the headings of what is written there."""
    look = {"va": "center", "fontsize": _SMALL, "color": color, "textcoords": "offset points"}
    place, up = {"xy": (1, row), "xycoords": axis.get_yaxis_transform()}, 0
    if row is None:
        place, up, look["va"] = {"xy": (1, 1), "xycoords": "axes fraction"}, 3, "bottom"
    for text, (offset, side) in zip(columns, _COLUMNS, strict=False):
        axis.annotate(text, xytext=(offset, up), ha=side, **place, **look)


def _write_above(axis: Axes, value: float, text: str, colour: str, side: str = "center") -> None:
    place = {"xycoords": axis.get_xaxis_transform(), "textcoords": "offset points"}
    look = {"ha": side, "va": "bottom", "fontsize": _SMALL, "color": colour, **place}
    axis.annotate(text, (value, 1), (0, 3), **look)


def _write_in_row(axis: Axes, row: float, text: str) -> None:
    look = {"ha": "center", "va": "center", "fontsize": _SMALL, "bbox": _PAPER}
    axis.text(0.5, row, text, transform=axis.get_yaxis_transform(), **look)
