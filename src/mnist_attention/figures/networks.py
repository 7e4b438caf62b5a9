"""The systems of Table 1: what they cost, what they reach, and whether they overfit."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence import costs
from ..evidence import runs as evidence
from ..evidence.costs import System
from ..evidence.runs import Runs
from . import COLOURS, style, subplots
from .training import accuracy_axis, epoch_axis, error

_COLOUR_OF = {"": COLOURS["blue"], "another depth": COLOURS["blue"]}
"""Colour of the rows under a heading of `evidence.BEYOND`; vermillion for others."""


@style()
def accuracy_over_cost(systems: Sequence[System]) -> Figure:
    """What the networks reach over what an image costs them.

    Args:
        systems: As `costs.systems` gives them. Those without runs are left out.

    Returns:
        Across, multiply-accumulates per image; up, test accuracy, stretched towards 100 %, with
        the 95 % interval of the mean where there are at least two seeds. Hollow: fewer epochs
        than asked. Thick: not trained as the paper says. A classical method, which has no such
        cost, is a dotted line.
    """
    figure, axes = subplots(width=9, height=4.2)
    axis = axes[0, 0]
    drawn = [system for system in systems if system.runs.records]
    for system in drawn:
        if system.multiply_accumulates is not None:
            _draw_point(axis, system)
    _draw_levels(axis, [system for system in drawn if system.multiply_accumulates is None])
    axis.set_xscale("log")
    accuracy_axis(axis)
    axis.margins(x=0.1, y=0.1)
    axis.set(xlabel="multiply-accumulates per image", ylabel="test accuracy, %")
    if drawn:
        figure.legend(loc="outside right upper")
    return figure


_MARKERS = "os^DvPX*"


def _draw_point(axis: Axes, system: System) -> None:
    ours, runs = evidence.sample(system.runs), system.runs
    colour = _COLOUR_OF.get(system.heading, COLOURS["vermillion"])
    # A network keeps its marker where it is trained otherwise.
    sizes = sorted(set(costs.MULTIPLY_ACCUMULATES.values()))
    look = {"color": colour, "capsize": 3, "linestyle": "none", "markersize": 8}
    look["markeredgewidth"] = 1 if colour == COLOURS["blue"] else 2
    look["marker"] = _MARKERS[sizes.index(system.multiply_accumulates)]
    if runs.done < runs.asked:
        look["markerfacecolor"] = "none"
    # The interval of few runs may go beyond 100 %, where there is nothing to show.
    reach = [[min(ours.margin, 0.9 * (100 - ours.mean))], [ours.margin]]
    cut = f" ({runs.done} of {runs.asked} epochs)" if runs.done < runs.asked else ""
    axis.errorbar(
        [system.multiply_accumulates],
        [100 - ours.mean],
        reach if ours.n > 1 else None,
        label=f"{system.name}{cut}",
        **look,
    )


def _draw_levels(axis: Axes, systems: Sequence[System]) -> None:
    """Dotted lines, named together in the legend: they lie too close to be labelled apart."""
    accuracies = {system.name: evidence.sample(system.runs).mean for system in systems}
    names = sorted(accuracies, key=accuracies.get, reverse=True)
    for name in names:
        label = "no network, from the top:\n" + "\n".join(names) if name == names[0] else None
        style = {"color": COLOURS["green"], "linestyle": ":", "linewidth": 1, "label": label}
        axis.axhline(100 - accuracies[name], **style)


@style()
def training_and_test(runs: dict[str, Runs], columns: int = 3) -> Figure:
    """Training and test accuracy side by side over the epochs, one panel a network.

    Args:
        runs: Network -> its runs; one without runs is left out. The first seed is drawn.
        columns: Panels in a row.

    Returns:
        Solid: test accuracy, clean images, at each epoch's end. Dashed: training accuracy while
        the epoch runs, on mirrored and shifted images. Diamond: training accuracy on the clean
        images at the end. A network overfits if the diamond is far above the solid line.
    """
    runs = {name: found for name, found in runs.items() if found.records}
    rows = max(1, math.ceil(len(runs) / columns))
    shared = {"sharey": True, "width": 9, "height": 2.8 * rows}
    figure, axes = subplots(rows, columns, **shared)
    for axis in axes.flat[len(runs) :]:
        axis.set_visible(False)
    for axis, (name, found) in zip(axes.flat, runs.items(), strict=False):
        _draw_history(axis, found.records[0])
        cut = f", {found.done} of {found.asked} epochs" if found.done < found.asked else ""
        axis.set_title(f"{name}{cut}")
        epoch_axis(axis)
        accuracy_axis(axis)
    # Sharing the axis turns it over once for each panel.
    axes[0, 0].yaxis.set_inverted(True)
    for row in axes:
        row[0].set_ylabel("accuracy, %")
    if runs:
        lines, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=3)
    return figure


def _draw_history(axis: Axes, record: dict) -> None:
    history, result = record["history"], record["result"]
    epochs = np.arange(1, 1 + len(history["test_accuracy"]))
    # A run of one epoch is a point, which a line would not show.
    marker = {"marker": "o", "markersize": 3} if len(epochs) < 10 else {}
    look = {"color": COLOURS["blue"], "linewidth": 1.2, **marker}
    axis.plot(epochs, error(history["test_accuracy"]), label="test", **look)
    look |= {"color": COLOURS["vermillion"], "linestyle": "--"}
    axis.plot(epochs, error(history["accuracy"]), label="training, augmented", **look)
    look = {"color": COLOURS["vermillion"], "marker": "D", "linestyle": "none"}
    end = [error(result["train_accuracy"])]
    axis.plot(epochs[-1:], end, label="training, clean, at the end", **look)
