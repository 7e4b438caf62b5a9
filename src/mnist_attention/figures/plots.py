"""Numbers as pictures: curves, means with intervals, tables, pairs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..evidence.statistics import MARGIN, Difference, Sample
from .style import FAINT, MASK, PAPER, PLAIN, WIDTH, colours_of, style, subplots, write_empty

Limits = tuple[float, float]
Estimate = Difference | Sample
_MINUS = "\N{MINUS SIGN}"


class Curve(NamedTuple):
    """One or more lines over the same places."""

    x: Sequence[float]  # shape (points,)
    y: np.ndarray  # (points,) or (lines, points); NaN where a line has ended
    mean: bool = True  # whether to draw the mean of the lines, and name it


@style()
def curves(
    panels: Mapping[str, Mapping[str, Curve]],
    *,
    title: str = "",
    x: str = "epoch",
    y: str = "test accuracy, %",
    levels: Mapping[str, float] | None = None,
    limits: list[Limits | None] | Limits | None = None,
    ticks: Mapping[float, str] | None = None,
    colours: Mapping[str, str] | None = None,
    height: float = 3.2,
) -> Figure:
    """Curves on linear axes, each named at its end.

    Args:
        panels: Title of a panel -> name of a curve -> curve. One panel: `{"": {...}}`.
        x: What the axis shows, and so `y`.
        levels: Text -> value of a dashed line in the colour of the paper, in every panel.
        limits: Ends of the y axis, which panels share; or a list, of each.
        ticks: Place on the x axis -> what is written there, where these are not numbers.
        colours: Name of a curve -> colour, where it has none of its own.
    """
    panels = panels or {"": {}}
    each = isinstance(limits, list)
    spans = limits if each else [limits] * len(panels)
    figure, axes = subplots(1, len(panels), height=height, title=title, sharey=not each)
    axes[0, 0].set_ylabel(y)
    names = dict.fromkeys(name for named in panels.values() for name in named)
    known = colours_of(names, colours or {})
    for axis, (name, named), span in zip(axes[0], panels.items(), spans, strict=True):
        axis.set_title(name)
        if not any(np.isfinite(curve.y).any() for curve in named.values()):
            write_empty(axis)
            continue
        ends = {}
        for label, curve in named.items():
            if len(drawn := _draw_curve(axis, curve, known[label])):
                ends[label] = (drawn[-1], known[label])
        if span:
            axis.set_ylim(span)
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=not ticks))
        if not axis.dataLim.width:  # a run of one epoch
            axis.set_xlim(axis.dataLim.x0 - 1, axis.dataLim.x0 + 1)
        if ticks:
            axis.set_xticks([*ticks], [*ticks.values()])
        for text, value in (levels or {}).items():
            axis.axhline(value, color=PAPER, linestyle="--", linewidth=1.2)
            ends[text] = (value, PAPER)
        axis.set_xlabel(x)
        if axis is axes[0, -1]:
            _name_ends(axis, ends)
    return figure


def _draw_curve(axis: Axes, curve: Curve, colour: str) -> np.ndarray:
    """Draw the lines of one curve and return their mean, if it is drawn."""
    lines = np.atleast_2d(np.asarray(curve.y, float))
    places = np.asarray(curve.x, float)
    if len(lines) > 1:
        axis.plot(places, lines.T, color=colour, linewidth=0.6, alpha=0.45)
    if not curve.mean:
        return np.array([])
    known = np.isfinite(lines).any(axis=0)
    mean = np.nanmean(lines[:, known], axis=0)
    every = 1 if known.sum() < 12 else [-1]  # a dot ends a long curve
    axis.plot(places[known], mean, "o-", color=colour, linewidth=2, markersize=4, markevery=every)
    return mean


def _name_ends(axis: Axes, ends: Mapping[str, tuple[float, str]]) -> None:
    """Write names right of the axes at the heights given, apart where these are too close."""
    low, high = axis.get_ylim()
    step = (
        0.18
        * (1 + max((name.count("\n") for name in ends), default=0))
        / (axis.figure.get_figheight() - 1)
    )
    last = 0.0
    for index, name in enumerate(sorted(ends, key=lambda name: ends[name][0])):
        value, colour = ends[name]
        room = 1 - step * (len(ends) - 1 - index)  # below the names that are still to come
        last = min(max((value - low) / (high - low), last + step * bool(index)), room)
        look = {"color": colour, "va": "center", "size": 8.5, "weight": "bold"}
        _beside(axis, name, (1, last), 5, xycoords="axes fraction", **look)


def _beside(axis: Axes, text: str, place: tuple[float, float], points: float, **look):
    return axis.annotate(text, place, (points, 0), textcoords="offset points", **look)


@style()
def forest(
    panels: Mapping[str, Mapping[str, Estimate | Sequence[float]]],
    *,
    title: str = "",
    label: str = "points of test accuracy",
    paper: Mapping[str, Mapping[str, float]] | None = None,
    form: str = "+.2f",
    equal: float | None = MARGIN,
    join: bool = False,
    limits: Limits | None = None,
    missing: str = "no runs yet",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Rows of means with their 95 % intervals; panels side by side share the rows of the first.

    Args:
        panels: Title of a panel -> name of a row -> what is known: an estimate, drawn as a point
            with its interval, or one number a seed, drawn as pale points with their mean. One
            panel: `{"": {...}}`.
        label: What the x axes show.
        paper: Title of a panel -> name of a row -> the paper's number, an orange diamond.
        form: How means are written at the right.
        equal: Differences below this count as none and are shaded; `None` where the rows are no
            differences.
        join: Join the points of each seed from row to row, where all rows have all seeds.
        limits: Of the x axes; what lies beyond is cut off, its number stands beside the row.
        missing: Written beside a row without an estimate.
        colours: Name of a row -> colour; else the mask's, or grey for LeNet.
    """
    panels = panels or {"": {}}
    height = 0.27 * max(1, *map(len, panels.values())) + 0.9
    figure, axes = subplots(1, len(panels), height=height, title=title)
    for axis, (name, rows) in zip(axes[0], panels.items(), strict=True):
        axis.set(title=name, xlabel=label)
        said = (paper or {}).get(name, {})
        if not rows:
            write_empty(axis)
            continue
        if equal is not None:
            axis.axvspan(-equal, equal, color="0.92", linewidth=0, zorder=0)
            axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
        if join and len({*map(len, rows.values())}) == 1:  # every row has every seed
            for seed in zip(*rows.values(), strict=True):
                axis.plot(seed, range(len(rows)), color="0.8", linewidth=0.9, zorder=1)
        for row, (key, found) in enumerate(rows.items()):
            colour = (colours or {}).get(key, PLAIN if key == "LeNet" else MASK)
            text = _draw_row(axis, row, found, colour, form)
            if key in said:
                axis.plot(said[key], row, "D", color=PAPER, markersize=6, zorder=4)
            black = "black" if text else FAINT
            at = {"xycoords": axis.get_yaxis_transform(), "va": "center", "size": 8.5}
            mean = _beside(axis, text or missing, (1, row), 6, color=black, **at)
            if key in said:
                at["xycoords"] = mean
                _beside(axis, f"paper {said[key]:g}", (1, 0.5), 6, color=PAPER, **at)
        axis.set_yticks(range(len(rows)), rows if axis is axes[0, 0] else [])
        axis.tick_params(axis="y", length=0)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(limits)
        axis.grid(axis="y", color="0.93", zorder=0)
        axis.set_axisbelow(True)
        axis.spines["left"].set_visible(False)
    return figure


def _draw_row(
    axis: Axes, row: int, found: Estimate | Sequence[float], colour: str, form: str
) -> str:
    """Draw one row and return its mean as text; empty where nothing is known."""
    if isinstance(found, Estimate):
        mean, ends, n = found.mean, (found.low, found.high), found.n
    else:
        values = np.asarray(found, float)
        n, ends = len(values), (np.nan, np.nan)
        mean = float(values.mean()) if n else np.nan
        axis.plot(values, [row] * n, "o", color=colour, markersize=4, alpha=0.35, zorder=2)
    if not n or np.isnan(mean):
        return ""
    axis.plot(ends, [row, row], color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
    axis.plot([mean], [row], "o", color=colour, markersize=6.5, zorder=3)
    return f"{mean:{form}}".replace("-", _MINUS)


@style()
def heat_map(
    panels: Mapping[str, np.ndarray], names: Sequence[object], *, title: str = "", label: str = ""
) -> Figure:
    """Tables of correlations, from -1 to 1, as coloured squares with the number in each.

    `panels`: title -> numbers of shape `(n, n)`; NaN is left empty. `names` are those of the rows
    and of the columns, which are `label`.
    """
    count = max(1, len(panels))
    height = min(3.9, 0.9 + WIDTH / count * 0.86)
    figure, axes = subplots(1, count, height=height, title=title, sharey=True)
    if not panels:
        write_empty(axes[0, 0], "nothing to show yet")
    for axis, (name, table) in zip(axes[0], panels.items(), strict=False):
        axis.imshow(table, "PuOr", vmin=-1, vmax=1)
        for (row, column), value in np.ndenumerate(table):
            look = {"color": "white" if abs((value + 1) / 2 - 0.5) > 0.3 else "black", "size": 8}
            number = "" if np.isnan(value) else f"{value:+.1f}"
            axis.text(column, row, number, ha="center", va="center", **look)
        axis.set_xticks(range(len(names)), names)
        axis.set_yticks(range(len(names)), names)
        axis.set(title=name, xlabel=label)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    axes[0, 0].set_ylabel(label)
    return figure


@style()
def pairs(
    plain: Sequence[float], masked: Sequence[float], paper: tuple[float, float], *, title: str = ""
) -> Figure:
    """Test accuracy in percent without and with the mask: a line a seed, the paper's in orange."""
    figure, axes = subplots(height=3.9, title=title)
    axis = axes[0, 0]
    axis.plot([0, 1], paper, "o-", color=PAPER, linewidth=3, markersize=8, zorder=4)
    sides = (("right", -9, PLAIN), ("left", 9, MASK))
    bold = {"weight": "bold", "va": "center", "size": 10}
    for place, (side, step, _) in enumerate(sides):
        text = f"the paper {paper[place]:.1f}"
        _beside(axis, text, (place, paper[place]), step, color=PAPER, ha=side, **bold)
    if len(plain):
        ours = np.array([plain, masked], float)
        axis.plot([0, 1], ours, color=FAINT, linewidth=0.9, zorder=2)
        for place, (values, (side, step, colour)) in enumerate(zip(ours, sides, strict=True)):
            axis.plot([place] * len(values), values, "o", color=colour, markersize=4, zorder=3)
            text = f"ours {values.mean():.2f}\nmean of {len(values)}"
            _beside(axis, text, (place, values.mean()), step, color=colour, ha=side, **bold)
    else:
        axis.text(0.5, np.mean(paper) - 0.6, "no runs yet", ha="center", color=FAINT)
    axis.set_xticks([0, 1], ["LeNet", "LeNet with the mask"], fontsize=10)
    axis.set(xlim=(-0.45, 1.45), ylabel="test accuracy, %")
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.05, high + 0.05)
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    return figure
