"""How runs went and what the trained networks get wrong."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from . import COLOURS, INK_MAP, style, subplots

PANELS = {
    "loss": "loss while training\n(augmented images)",
    "accuracy": "accuracy while training, %\n(augmented images)",
    "test_accuracy": "test accuracy, %\n(clean images)",
}
"""Metric of a history -> title of its panel."""

SERIES_COLOURS = [COLOURS[name] for name in ("blue", "vermillion", "green", "purple", "black")]
"""Colours of lines and points: those of the palette that are dark enough on white."""


@style()
def learning_curves(
    histories: Mapping[str, Sequence[Mapping[str, Sequence[float | None]]]],
    reported: Mapping[str, float] | None = None,
) -> Figure:
    """Loss and accuracies over the epochs.

    Args:
        histories: What was trained -> the `history` of each of its records, one a seed. Where
            there are several, the line is their mean and the band their range, from the least to
            the most; the legend says so.
        reported: Some of the same names -> final test accuracy in the paper, a fraction.

    Returns:
        Loss and error are on logarithmic axes, the latter labelled as accuracy, 100 % - error:
        so one sees the beginning as well as the end, where curves differ by tenths of a percent.
    """
    figure, axes = subplots(1, len(PANELS), width=9, height=3.4)
    colours = dict(zip(histories, cycle(SERIES_COLOURS), strict=False))
    for axis, (metric, title) in zip(axes[0], PANELS.items(), strict=True):
        for name, runs in histories.items():
            values = _stack([history[metric] for history in runs])
            _draw_band(axis, values if metric == "loss" else error(values), name, colours[name])
        axis.set_title(title)
        epoch_axis(axis)
        (_loss_axis if metric == "loss" else accuracy_axis)(axis)
    for name, accuracy in (reported or {}).items():
        look = {"color": colours[name], "linestyle": ":", "linewidth": 1.2}
        axes[0, -1].axhline(error(accuracy), label=f"{name}, paper", **look)
    lines, names = axes[0, -1].get_legend_handles_labels()
    several = any(len(runs) > 1 for runs in histories.values())
    title = "line: mean over the seeds; band: from the least to the most" if several else None
    figure.legend(lines, names, title=title, loc="outside lower center", ncols=len(names))
    return figure


def error(accuracy):
    """Error in percent of an accuracy between 0 and 1, to be drawn on an `accuracy_axis`."""
    return 100 * (1 - np.asarray(accuracy, dtype=float))


def epoch_axis(axis: Axes) -> None:
    """Make the x axis, on which the curves are already drawn, one of whole epochs."""
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    first, last = axis.dataLim.intervalx
    if first == last:  # one epoch only: a whole number either side, not a twentieth
        axis.set_xlim(first - 1, last + 1)
        axis.set_xticks([first])


def accuracy_axis(axis: Axes, across: bool = False) -> None:
    """Make the y axis, which shows errors in percent, a logarithmic axis of accuracies.

    Errors of 0 cannot be drawn on it and leave a gap.

    Args:
        axis: Where the errors are drawn.
        across: Whether they are on the x axis instead.
    """
    along = axis.xaxis if across else axis.yaxis
    _log_axis(axis, along, lambda value, _: f"{100 - value:g}")
    along.set_inverted(True)


def _loss_axis(axis: Axes) -> None:
    _log_axis(axis, axis.yaxis, lambda value, _: f"{value:g}")


def _log_axis(axis: Axes, along: Axis, text: Callable[[float, int], str]) -> None:
    set_scale = axis.set_xscale if along is axis.xaxis else axis.set_yscale
    set_scale("log", nonpositive="mask")
    along.set_major_locator(LogLocator(subs=(1, 2, 5)))
    along.set_major_formatter(FuncFormatter(text))
    along.set_minor_formatter(NullFormatter())


def _stack(curves: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Curves as rows; a run that stopped early, or diverged, ends in NaN."""
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = [np.nan if value is None else value for value in curve]
    return values


def _draw_band(axis: Axes, values: np.ndarray, name: str, colour: str) -> None:
    some = np.isfinite(values).any(axis=0)
    epochs, values = 1 + np.flatnonzero(some), values[:, some]
    label = name if len(values) == 1 else f"{name} ({len(values)} seeds)"
    # A run of one epoch is a point, which a line would not show.
    marker = "o" if len(epochs) < 10 else None
    mean = np.nanmean(values, axis=0)
    axis.plot(epochs, mean, label=label, color=colour, linewidth=1.2, marker=marker, markersize=3)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axis.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)


@style()
def confusion(labels: np.ndarray, predictions: Mapping[str, np.ndarray]) -> Figure:
    """Which digit is taken for which.

    Args:
        labels: The true digits, shape `(n,)`.
        predictions: Network -> what it says, shape `(n,)`.

    Returns:
        One matrix of counts a network. The colours, one scale for all, count mistakes only.
    """
    counts = {name: _count_pairs(labels, predicted) for name, predicted in predictions.items()}
    most = max(1, *(_mistakes_only(count).max() for count in counts.values()))
    figure, axes = subplots(1, len(counts), width=4 * len(counts) + 1, height=4.4)
    for axis, (name, count) in zip(axes[0], counts.items(), strict=True):
        mistakes = _mistakes_only(count)
        drawn = axis.imshow(np.ma.masked_equal(mistakes, 0), "Blues", vmin=0, vmax=most)
        for true, predicted in np.argwhere(count):
            look = {"ha": "center", "va": "center", "fontsize": 7}
            dark = mistakes[true, predicted] > most / 2
            value = count[true, predicted]
            axis.text(predicted, true, value, color="white" if dark else "black", **look)
        axis.set(xticks=range(10), yticks=range(10), xlabel="predicted", ylabel="true")
        axis.set_title(f"{name}: {mistakes.sum():,} mistakes in {len(labels):,}")
    figure.colorbar(drawn, ax=[*axes[0]], label="mistakes", shrink=0.9)
    return figure


def _count_pairs(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How often each true digit (row) is taken for each digit (column), shape `(10, 10)`."""
    return np.bincount(10 * labels.astype(int) + predicted, minlength=100).reshape(10, 10)


def _mistakes_only(count: np.ndarray) -> np.ndarray:
    return count * ~np.eye(10, dtype=bool)


@style()
def mistakes(
    images: np.ndarray, labels: np.ndarray, predictions: Mapping[str, np.ndarray], limit: int = 40
) -> Figure:
    """The first images that at least one network gets wrong.

    Args:
        images: Shape `(n, height, width)`.
        labels: The true digits, shape `(n,)`.
        predictions: Network -> what it says, shape `(n,)`.
        limit: How many to show.

    Returns:
        Ten images a row; above each the true digit and what each network says.
    """
    table = np.stack([*predictions.values()])
    wrong = np.flatnonzero((table != labels).any(axis=0))[:limit]
    rows = max(1, -(-len(wrong) // 10))
    figure, axes = subplots(rows, 10, width=8, height=1.05 * rows + 0.4)
    figure.suptitle(f"true digit: what {', '.join(predictions)} said", fontsize=10)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong, strict=False):
        axis.imshow(images[index], INK_MAP)
        said = ", ".join(map(str, table[:, index]))
        axis.set_title(f"{labels[index]}: {said}", fontsize=9, pad=2)
    return figure
