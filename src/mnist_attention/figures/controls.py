"""What could stand in the mask's place, what moving it costs, and what its maps are worth."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from ..evidence import attention
from ..evidence.runs import ENOUGH_SEEDS, plural
from ..evidence.statistics import MARGIN, Difference, paired_difference
from ..probes.scores import short_name
from . import COLOURS, effects, style, subplots
from .training import SERIES_COLOURS

_GREY = "0.45"


# Differences


def forest_of_controls(records: list[dict]) -> Figure:
    """Test accuracy of the mask and of each control minus LeNet-5 alone.

    Args:
        records: Any records; those of other digits than MNIST are not used.

    Returns:
        See `forest`.
    """
    gains = {
        row.network: Difference(row.n, row.gain, low=row.gain_low, high=row.gain_high)
        for row in attention.controls(records).itertuples()
    }
    return forest(gains, "over LeNet-5 alone, points of test accuracy")


def forest_of_interventions(records: list[dict]) -> Figure:
    """What replacing the trained masks changes in the accuracy of LeNet+Attention.

    Args:
        records: With their measurements.

    Returns:
        See `forest`.
    """
    seeds = attention.changed_by_seed({}, records)
    changes = {n: paired_difference(seeds.get(n, ())) for n in (*attention.MOVED, "ones")}
    return forest(changes, "with the mask replaced, points of test accuracy", seeds=seeds)


def forest_of_rivals(records: list[dict]) -> Figure:
    """The mask minus everything that it must beat if it attends.

    Args:
        records: With their measurements.

    Returns:
        See `forest`; at the right also what each lead shows, `attention.standings`.
    """
    leads = attention.rivals(records)
    label = "the mask minus this, points of test accuracy"
    return forest(leads, label, attention.standings(leads))


@style()
def forest(
    differences: Mapping[str, Difference],
    label: str,
    remarks: Mapping[str, str] | None = None,
    seeds: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Differences with their intervals, one under the other.

    Args:
        differences: Name of a row -> what is to be seen there, in points.
        label: What the differences are.
        remarks: Name of a row -> what is written at its right.
        seeds: Name of a row -> the difference of each seed, drawn as pale dots.

    Returns:
        Points are means, lines their 95 % intervals, drawn from three seeds on. Shaded:
        differences that count as nil, `inference.MARGIN`; the axis is linear there and
        logarithmic beyond. Rows without seeds are grey.
    """
    figure, axes = subplots(width=9, height=1.1 + 0.27 * len(differences))
    axis = axes[0, 0]
    axis.set_xscale("symlog", linthresh=MARGIN, linscale=0.6)
    axis.xaxis.set_major_formatter(FuncFormatter(effects.signed))
    effects.draw_equal(axis)
    for row, (name, paired) in enumerate(differences.items()):
        if paired.n < ENOUGH_SEEDS:  # two seeds would give an interval wider than the figure
            paired = Difference(paired.n, paired.mean)
        values = (seeds or {}).get(name, ())
        axis.plot(values, [row + 0.25] * len(values), "o", color=COLOURS["sky"], markersize=3)
        if paired.n:
            effects.draw_effect(axis, row, paired, COLOURS["blue"])
        words = effects.in_points(paired) if paired.n else "missing"
        colour = "black" if paired.n else _GREY
        remark = (remarks or {}).get(name, "")
        effects.write_beside(axis, row, words, str(paired.n), color=colour)
        effects.write_beside(axis, row, "", "", remark if paired.n else "", color=colour)
    effects.write_beside(axis, None, "points [95 %]", "n", "shown" if remarks else "", color=_GREY)
    axis.set_yticks(range(len(differences)), [*differences])
    axis.set(ylim=(len(differences) - 0.4, -0.6))
    axis.set_xlabel(f"{label}\n(linear where shaded, logarithmic beyond)")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -1), max(high, 1))
    return figure


# Maps


@style()
def cascade(records: list[dict]) -> Figure:
    """How far the masks of LeNet+Attention survive while its weights are drawn anew from the top.

    Args:
        records: With their measurements.

    Returns:
        Rank correlation of the masks with those of the trained network, by the layer down to which
        the weights are new: a thin line for each seed, a thick one for their mean.
    """
    found = attention.reinitialised({}, records)
    figure, axes = subplots(height=3)
    axis = axes[0, 0]
    places = np.arange(len(attention.FROM_THE_TOP))
    looks = zip(found.items(), SERIES_COLOURS, "os", strict=False)
    for (mask, drawn), colour, marker in looks:
        seeds = np.array([*drawn.values()])
        name = f"{short_name(mask)} mask, {plural(seeds.shape[1], 'seed')}"
        axis.plot(places, seeds, color=colour, linewidth=0.7, alpha=0.6)
        look = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 2}
        axis.plot(places, seeds.mean(axis=1), label=name, **look)
    if found:
        axis.legend(loc="lower left")
    else:
        axis.text(0.5, 0.6, "missing", transform=axis.transAxes, ha="center", color=_GREY)
    axis.axhline(0, color="0.3", linewidth=0.8, zorder=0)
    axis.set_xticks(places, [name.replace("_", "\n") for name in attention.FROM_THE_TOP])
    axis.set_xlabel("weights drawn anew from the output down to this layer")
    axis.set_ylabel("rank correlation\nwith the trained map")
    axis.set(xlim=(-0.3, places[-1] + 0.3), ylim=(-1.1, 1.1))
    return figure


@style()
def agreements(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How well maps agree, as squares with the number in each.

    Args:
        tables: Title of a panel -> rank correlations from -1 to 1, by row and column.
    """
    rows, _ = next(iter(tables.values())).shape
    figure, axes = subplots(1, len(tables), width=9, height=max(1.9, 1.2 + 0.35 * rows))
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        shown = draw_squares(axis, table, Normalize(-1, 1), "z.2f")
        axis.set_title(title)
    figure.colorbar(shown, ax=axes[0], label="rank correlation")
    return figure


def draw_squares(axis: Axes, table: pd.DataFrame, scale: Normalize, form: str) -> AxesImage:
    """A table as coloured squares with the number in each; 0 is white, NaN is left empty.

    Args:
        axis: Where to draw.
        table: Numbers; index and columns name them.
        scale: From numbers to colours, the same on either side of 0.
        form: How a number is written, e.g. "+z.1f"; "z" makes "-0.0" "0.0".
    """
    shown = axis.imshow(table, cmap="PuOr", norm=scale, aspect="auto")
    axis.set_xticks(range(table.shape[1]), table.columns, rotation=30, ha="right")
    axis.set_yticks(range(table.shape[0]), table.index)
    axis.spines[:].set_visible(False)
    size = min(9, 78 / table.shape[1])  # so that the numbers of ten seeds fit their squares
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        if not np.isnan(value):
            dark = abs(scale(value) - 0.5) > 0.25
            look = {"color": "white" if dark else "black", "fontsize": size}
            axis.text(column, row, f"{value:{form}}", ha="center", va="center", **look)
    return shown
