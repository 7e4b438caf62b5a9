"""Masks on noisy digits, and what noise does to networks with a mask and without."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evidence.claims import CLAIMED, WORTH
from ..evidence.report import SCORE_NAMES
from ..evidence.runs import plural
from ..evidence.statistics import Difference, Sample
from ..noise import BACKGROUND_CONDITIONS, CLEAN, CORRUPTION_CONDITIONS, Condition
from . import COLOURS, style, subplots
from .attention import draw_mask, draw_outline
from .controls import draw_squares
from .digits import draw_digit

FAMILIES = tuple(dict.fromkeys((c.name, c.gamma) for c in BACKGROUND_CONDITIONS))
"""Name and gamma of the backgrounds that networks are measured on, each at several strengths."""

NETWORKS = {
    "plain": ("without the mask", COLOURS["blue"], "o"),
    "masked": ("with the mask", COLOURS["vermillion"], "s"),
}
"""Column of `attention.robustness` -> what it is called, its colour and its marker."""

NIL = {"ink_auroc": 0.5, "snr_gain_db": 0.0}
"""Score -> what a map has that says nothing."""

LAYERS = ("C1", "C3")

_SERIES = {
    "{} untrained": ("mask, untrained", COLOURS["sky"], "v", "--"),
    "{}": ("mask, trained", COLOURS["vermillion"], "s", "-"),
    "brightness": ("brightness of the image", COLOURS["black"], ".", "-"),
    "centre": ("a Gaussian in the middle", "0.6", ".", "-"),
}
"""Name of a map in `attention.map_scores` -> what it is called, colour, marker, line."""

_GAIN = "with minus without:\naccuracy, points"
_PARTS = {
    "gain": _GAIN,
    "focus": "AUROC: C1 mask\nminus brightness",
    "snr": "signal to noise:\ngain of C1 mask, dB",
}
assert _PARTS.keys() == {**CLAIMED, **WORTH}.keys()

_GREY = "0.45"


# Pictures


@style()
def masks(
    digits: np.ndarray,
    seen: Mapping[str, np.ndarray],
    maps: Mapping[str, Mapping[str, np.ndarray]],
) -> Figure:
    """Digits before backgrounds and their masks, a row a background, all masks on one scale.

    Args:
        digits: The clean digits, whose ink is outlined on the masks, shape `(n, 28, 28)`.
        seen: Name of a background -> what the network sees, likewise.
        maps: Title of a column -> name of a background -> masks on the image, likewise.
    """
    columns = 1 + len(maps)
    width, count = 9, columns * len(digits)
    figure, axes = subplots(
        len(seen), count, width=width, height=0.6 + len(seen) * width / (count + 1.8)
    )
    for line, (name, images) in zip(axes, seen.items(), strict=True):
        line[0].set_ylabel(name.replace(" at ", "\nat "), rotation=0, ha="right", va="center")
        for index, (image, digit) in enumerate(zip(images, digits, strict=True)):
            panels = line[columns * index : columns * (index + 1)]
            draw_digit(panels[0], image)
            for panel, found in zip(panels[1:], maps.values(), strict=True):
                shown = draw_mask(panel, found[name][index])
                draw_outline(panel, digit)
    for panel, title in zip(axes[0], ["image", *maps] * len(digits), strict=True):
        panel.set_title(title.replace(" ", "\n"), size=8)
    figure.colorbar(shown, ax=axes, label="mask value", shrink=0.5, aspect=30, pad=0.01)
    return figure


# Over the strength of a background


@style()
def accuracy_over_strength(table: pd.DataFrame) -> Figure:
    """Accuracy behind each background, with the mask and without, and their paired difference.

    Args:
        table: What `attention.robustness` gives; rows of corruptions are not used.

    Returns:
        A column a background. Above: mean test accuracy over the seeds, with chance dotted.
        Below: with minus without the mask and the 95 % interval, where there is one.
    """
    figure, axes = subplots(
        2, len(FAMILIES), width=9, height=4.8, sharex=True, sharey="row", height_ratios=(1.2, 1)
    )
    for (above, below), family in zip(axes.T, FAMILIES, strict=True):
        rows = _rows_of(
            table,
            [c for c in (CLEAN, *BACKGROUND_CONDITIONS) if c == CLEAN or _family(c) == family],
        )
        above.axhline(10, color="0.6", linestyle=":", linewidth=1)
        for column, (label, colour, marker) in NETWORKS.items():
            look = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
            above.plot(rows.strength, rows[column], label=label, **look)
        below.axhline(0, color="0.3", linewidth=0.8)
        _draw_intervals(below, rows.strength, _differences(rows), color="black", marker="o")
        above.set_title(_title(family))
        if rows.empty:
            _write(above, "missing")
            _write(below, "missing")
    axes[0, 0].set(ylabel="test accuracy, %", ylim=(0, 102))
    axes[1, 0].set_ylabel("with minus without\nthe mask, points")
    if table.empty:
        axes[1, 0].set(ylim=(-1, 1), yticks=[0])
    _strength_axis(axes, table.n.max() if len(table) else 0)
    lines, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    return figure


@style()
def quality_over_strength(
    scores: Mapping[Condition, Mapping[str, Mapping[str, Sample]]], score: str
) -> Figure:
    """What the masks cover behind each background, beside maps that learned nothing.

    Args:
        scores: Condition -> what `attention.map_scores` gives for it. Those of one background at
            several strengths, and the clean digits, make up a panel.
        score: A key of `NIL`.

    Returns:
        A column a background, a row a layer. Means over the seeds and their 95 % intervals; an
        AUROC stays between 0 and 1, and so does the interval drawn. Dotted: a map that says
        nothing. A map that does not have this score is not drawn.
    """
    limits = (0, 1) if score == "ink_auroc" else (-np.inf, np.inf)
    figure, axes = subplots(len(LAYERS), len(FAMILIES), width=9, height=5, sharex=True, sharey=True)
    for layer, line in zip(LAYERS, axes, strict=True):
        line[0].set_ylabel(f"{layer}: {SCORE_NAMES[score]}")
        for panel, family in zip(line, FAMILIES, strict=True):
            panel.axhline(NIL[score], color="0.6", linestyle=":", linewidth=1)
            of_family = {
                c.strength: maps for c, maps in scores.items() if c == CLEAN or _family(c) == family
            }
            drawn = [
                _draw_map(panel, of_family, name.format(layer), score, look, limits)
                for name, look in _SERIES.items()
            ]
            if not any(drawn):
                _write(panel, "missing")
    for panel, family in zip(axes[0], FAMILIES, strict=True):
        panel.set_title(_title(family))
    if score == "ink_auroc":
        axes[0, 0].set_ylim(-0.03, 1.03)
    counts = [maps["C1"][score].n for maps in scores.values() if score in maps.get("C1", {})]
    _strength_axis(axes, max(counts, default=0), "seed")
    lines, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=max(1, len(names)))
    return figure


def _draw_map(
    axis: Axes,
    by_strength: Mapping[float, Mapping[str, Mapping[str, Sample]]],
    name: str,
    score: str,
    look: tuple[str, str, str, str],
    limits: tuple[float, float],
) -> bool:
    """One map over the strengths. Returns whether there was anything to draw."""
    found = {
        strength: maps[name][score]
        for strength, maps in by_strength.items()
        if score in maps.get(name, {})
    }
    label, colour, marker, line = look
    options = {"color": colour, "marker": marker, "linestyle": line, "label": label}
    if found:
        _draw_intervals(axis, [*found], [*found.values()], limits, **options)
    return bool(found)


def _draw_intervals(
    axis: Axes,
    places: Sequence[float],
    found: Sequence[Sample | Difference],
    limits: tuple[float, float] = (-np.inf, np.inf),
    across: bool = False,
    **look,
) -> None:
    """Means and their intervals, within the limits; `across` if values are on the x axis."""
    means = np.array([one.mean for one in found])
    ends = np.array([(one.low, one.high) for one in found]).reshape(-1, 2).clip(*limits)
    reach = np.abs(ends.T - means)
    if np.isnan(reach).all():  # there is no interval of a single run
        reach = None
    look = {"markersize": 4, "linewidth": 1.2, "capsize": 2, "elinewidth": 0.9, **look}
    if across:
        axis.errorbar(means, places, xerr=reach, **look)
    else:
        axis.errorbar(places, means, yerr=reach, **look)


def _strength_axis(axes: np.ndarray, count: int, unit: str = "paired seed") -> None:
    for panel in axes[-1]:
        panel.set(xlim=(-0.06, 1.06), xticks=(0, 0.5, 1), xticklabels=("0", "0.5", "1"))
    middle = axes[-1, axes.shape[1] // 2]
    seeds = f"; means over {plural(int(count), unit)}" if count else ""
    middle.set_xlabel(f"strength of the background{seeds}")


def _family(condition: Condition) -> tuple[str, float]:
    return condition.name, condition.gamma


def _title(family: tuple[str, float]) -> str:
    name, gamma = family
    return f"{name}, $\\gamma$ = {gamma:g}" if name == "gaussian" else name


# One row a condition


@style()
def corruptions(table: pd.DataFrame) -> Figure:
    """Accuracy on corrupted digits, with the mask and without, and their paired difference.

    Args:
        table: What `attention.robustness` gives; rows of backgrounds are not used.
    """
    rows = _rows_of(table, CORRUPTION_CONDITIONS)
    found = {str(condition): (np.nan, np.nan, Difference(0)) for condition in CORRUPTION_CONDITIONS}
    for row, paired in zip(rows.itertuples(), _differences(rows), strict=True):
        name = str(Condition(row.name, row.strength, row.gamma))
        found[name] = (row.plain, row.masked, paired)
    plain, masked, gains = zip(*found.values(), strict=True)
    names = [name.replace("_", " ") for name in found]
    return _forest(names, {"plain": plain, "masked": masked}, {_GAIN: gains})


@style()
def trained_on_noise(entries: Sequence[Mapping]) -> Figure:
    """Networks trained and tested on backgrounds: accuracy, and the parts of the paper's claim.

    Args:
        entries: What `attention.trained_on_noise` gives.

    Returns:
        A row a background. From the left: mean test accuracy with and without the mask; and, with
        95 % intervals, what the mask adds to accuracy, ranks ink better than brightness does, and
        adds to the signal-to-noise ratio. What was not run or measured is named missing.
    """
    accuracies = {name: [entry[name].mean for entry in entries] for name in NETWORKS}
    parts = {title: [entry[part] for entry in entries] for part, title in _PARTS.items()}
    return _forest([str(entry["condition"]) for entry in entries], accuracies, parts)


@style()
def gains(found: Mapping[str, Mapping[Condition, Difference]], trained_on: str = "") -> Figure:
    """What networks gain over LeNet-5 alone on test digits with backgrounds.

    Args:
        found: Name of a row -> what `attention.gains_behind` gives for it, the same conditions in
            every row.
        trained_on: What the rows are, as a label.

    Returns:
        A square for each row and condition: the mean over the seeds in points, framed where it is
        shown to differ from nil, empty where nothing was measured. The colours are linear up to one
        point and logarithmic beyond.
    """
    conditions = [*next(iter(found.values()))]
    table = pd.DataFrame(
        [[row[condition].mean for condition in conditions] for row in found.values()],
        index=[*found],
        columns=[str(condition) for condition in conditions],
    )
    figure, axes = subplots(width=9, height=1.5 + 0.3 * len(table))
    axis = axes[0, 0]
    scale = SymLogNorm(linthresh=1, vmin=-100, vmax=100)
    shown = draw_squares(axis, table, scale, "+z.1f")
    for row, gained in enumerate(found.values()):
        for column, condition in enumerate(conditions):
            if gained[condition].direction:
                corner = (column - 0.47, row - 0.45)
                axis.add_patch(Rectangle(corner, 0.94, 0.9, fill=False, linewidth=1.5))
    if table.isna().all(axis=None):
        _write(axis, "missing")
    axis.set_ylabel(trained_on)
    ticks = [-100, -10, -1, 0, 1, 10, 100]
    bar = figure.colorbar(shown, ax=axis, label="points over LeNet-5 alone", ticks=ticks)
    bar.ax.set_yticklabels([f"{tick:+d}" if tick else "0" for tick in ticks])
    return figure


def _forest(
    names: Sequence[str],
    accuracies: Mapping[str, Sequence[float]],
    parts: Mapping[str, Sequence[Difference]],
) -> Figure:
    figure, axes = subplots(1, 1 + len(parts), width=9, height=1.3 + 0.27 * len(names), sharey=True)
    first, *others = axes[0]
    for network, values in accuracies.items():
        label, colour, marker = NETWORKS[network]
        look = {"linestyle": "none", "marker": marker, "color": colour, "markersize": 5}
        first.plot(values, range(len(names)), label=label, **look)
    _name_missing(first, np.isnan([*accuracies.values()]).all(axis=0))
    first.set_title("test accuracy, %")
    for panel, (title, found) in zip(others, parts.items(), strict=True):
        panel.axvline(0, color="0.3", linewidth=0.8)
        some = [row for row, paired in enumerate(found) if paired.n]
        look = {"linestyle": "none", "marker": "o", "color": "black"}
        _draw_intervals(panel, some, [found[row] for row in some], across=True, **look)
        _name_missing(panel, [not paired.n for paired in found])
        panel.set_title(title)
    first.set_yticks(range(len(names)), names)
    first.set_ylim(len(names) - 0.4, -0.6)
    for panel in axes[0]:
        panel.grid(axis="y", color="0.92")
        panel.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(NETWORKS))
    return figure


def _name_missing(axis: Axes, missing: Sequence[bool]) -> None:
    """Write so in the rows where nothing is drawn."""
    for row in np.flatnonzero(missing):
        place = {"transform": axis.get_yaxis_transform(), "ha": "center", "va": "center"}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axis.text(0.5, row, "missing", color=_GREY, fontsize=8, bbox=paper, **place)
    if np.all(missing):
        axis.set_xticks([])


def _write(axis: Axes, text: str) -> None:
    look = {"ha": "center", "va": "center", "color": _GREY, "fontsize": 8}
    axis.text(0.5, 0.6, text, transform=axis.transAxes, **look)


# Out of the table


_COLUMNS = ("name", "strength", "gamma", *NETWORKS, "n", "gain", "gain_low", "gain_high")


def _rows_of(table: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """The rows of some conditions; of a table without rows there are no columns either."""
    table = table.reindex(columns=_COLUMNS)
    mine = [
        Condition(row.name, row.strength, row.gamma) in conditions
        for row in table[["name", "strength", "gamma"]].itertuples(index=False)
    ]
    return table[np.array(mine, bool)]


def _differences(rows: pd.DataFrame) -> list[Difference]:
    return [Difference(r.n, r.gain, low=r.gain_low, high=r.gain_high) for r in rows.itertuples()]
