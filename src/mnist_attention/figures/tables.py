"""The paper's tables as pictures: our accuracies with their intervals, the paper's beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evidence import runs as evidence
from ..evidence.statistics import Sample
from . import style, subplots
from .training import SERIES_COLOURS, accuracy_axis

_APART = 0.12
"""How far the points of a row stand apart, where a row is 1 wide."""


class Point(NamedTuple):
    """One number of a table, the paper's and ours, in percent.

    Attributes:
        row: Label of the row: a network, a rate, ...
        metric: What was measured.
        paper: The paper's number.
        ours: Our runs of full length; `n` is 0 where there are none.
        lack: Why there are none.
    """

    row: str
    metric: str
    paper: float
    ours: Sample
    lack: str


def points(records: list[dict], number: int) -> list[Point]:
    """The numbers of a table of the paper, row by row.

    Args:
        records: Any records. Runs that were cut short, and runs on other digits than MNIST, are
            not used.
        number: 1 to 4.
    """
    found = []
    reported = evidence.reported()
    for row in reported[reported.table == number].itertuples():
        runs = evidence.runs_of(evidence.setting_of(row.row), records)
        lack = runs.lack(seeds=1)
        ours = Sample(0) if lack else evidence.sample(runs, row.metric)
        metric = row.metric.replace("_", " ").replace("train ", "training ")
        found.append(Point(row.row.rpartition("=")[2], metric, row.value_percent, ours, lack))
    return found


@style()
def table(points: Sequence[Point], label: str = "") -> Figure:
    """One table of the paper as a picture.

    Args:
        points: Its numbers, row by row.
        label: What the rows are, e.g. "learning rate".

    Returns:
        Filled: our mean with its 95 % interval. Hollow: the paper. Rows without runs of ours say
        so. The axis of accuracies is stretched towards 100 %.
    """
    rows = [*dict.fromkeys(point.row for point in points)]
    metrics = [*dict.fromkeys(point.metric for point in points)]
    figure, axes = subplots(width=8, height=3.4)
    axis = axes[0, 0]
    for index, metric in enumerate(metrics):
        middle = _APART * (2 * index - len(metrics) + 1)
        mine = [
            (rows.index(point.row) + middle, point) for point in points if point.metric == metric
        ]
        _draw_metric(axis, mine, metric, SERIES_COLOURS[index])
    accuracy_axis(axis)
    axis.set(xlim=(-0.5, len(rows) - 0.5), xlabel=label, ylabel="accuracy, %")
    axis.set_xticks(range(len(rows)), [_label(row, points) for row in rows])
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_metric(
    axis: Axes, placed: Sequence[tuple[float, Point]], metric: str, colour: str
) -> None:
    # Small: the interval of ten seeds would hide behind a larger point.
    look = {"linestyle": "none", "marker": "o", "markersize": 4, "color": colour}
    places = [place - _APART / 2 for place, _ in placed]
    said = [100 - point.paper for _, point in placed]
    axis.plot(places, said, markerfacecolor="none", label=f"{metric}, paper", **look)
    done = [(place + _APART / 2, point.ours) for place, point in placed if point.ours.n]
    if done:
        places, ours = zip(*done, strict=True)
        mean = [100 - sample.mean for sample in ours]
        axis.errorbar(places, mean, _reach(ours), capsize=3, label=f"{metric}, ours", **look)


def _reach(samples: Sequence[Sample]) -> np.ndarray:
    """How far the intervals reach on an axis of errors: downwards, upwards; shape `(2, n)`."""
    reach = [
        # The interval of few runs may go beyond 100 %, where there is nothing to show.
        (min(sample.high - sample.mean, 0.9 * (100 - sample.mean)), sample.mean - sample.low)
        for sample in samples
    ]
    return np.nan_to_num(np.transpose(reach))  # of one run there is no interval


def _label(row: str, points: Sequence[Point]) -> str:
    point = next(point for point in points if point.row == row)
    return f"{row}\nours: {point.lack or f'n = {point.ours.n}'}"
