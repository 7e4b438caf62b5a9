"""The network and the mask module, drawn from what the code builds (paper, Figures 2 and 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from . import COLOURS, INK_MAP, VALUE_MAP, style, subplots

KIND_COLOURS = {
    "Conv2D": COLOURS["blue"],
    "MaxPooling2D": COLOURS["green"],
    "AveragePooling2D": COLOURS["green"],
    "Dense": COLOURS["purple"],
    "AttentionMask1x1": COLOURS["orange"],
}
"""Kind of layer -> its colour. Kinds without parameters of their own to show stay grey."""

TIMES = "\N{MULTIPLICATION SIGN}"

UNITS_PER_PIXEL = 8
"""Units of a vector that are drawn as high as one pixel of a map."""

_SHEET_STEP = 0.7
"""How far each map of a stack stands behind the one before, in pixels of the maps."""

_SLOT = 27
"""Least room for a layer and its label, in pixels of the maps."""

_LEVELS = 32
"""Few enough that the last bits of a sum, which processors differ in, do not show."""


class LayerRow(NamedTuple):
    """One layer of a network.

    Attributes:
        name: Its name in the code.
        kind: Its class.
        shape: Shape of its output for one image: `(height, width, channels)` or `(units,)`.
        parameters: How many it has.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


def layer_rows(model) -> list[LayerRow]:
    """Read the layers off a Keras model, in order."""
    return [
        LayerRow(layer.name, type(layer).__name__, layer.output.shape[1:], layer.count_params())
        for layer in model.layers
    ]


@style()
def network(rows: Sequence[LayerRow]) -> Figure:
    """A network as stacks of feature maps (paper, Figure 2), drawn to scale.

    Args:
        rows: Its layers in order, see `layer_rows`.

    Returns:
        One stack a layer: each map has its height and width, there are as many as channels. A
        vector is a bar; `UNITS_PER_PIXEL` of its units are as high as one pixel.
    """
    tallest = max(_extent(row.shape)[1] for row in rows)
    slots = [max(_extent(row.shape)[0], _SLOT) + 4 for row in rows]
    room = (sum(slots), tallest + 26)
    figure, axes = subplots(width=12, height=12 * room[1] / room[0])
    axis = axes[0, 0]
    for row, slot, end in zip(rows, slots, np.cumsum(slots), strict=True):
        width, height = _extent(row.shape)
        _draw_layer(axis, row, end - (slot + width) / 2, -height / 2)
        _label_layer(axis, row, end - slot / 2, -tallest / 2 - 3)
    axis.set(xlim=(0, room[0]), ylim=(1 + tallest / 2 - room[1], 1 + tallest / 2), aspect="equal")
    axis.axis("off")
    return figure


def _extent(shape: tuple[int, ...]) -> tuple[float, float]:
    """Width and height of a layer's drawing."""
    if len(shape) == 1:
        return 2.0, shape[0] / UNITS_PER_PIXEL
    height, width, channels = shape
    depth = _SHEET_STEP * (channels - 1)
    return width + depth, height + depth


def _draw_layer(axis: Axes, row: LayerRow, left: float, bottom: float) -> None:
    width, height = (2.0, _extent(row.shape)[1]) if len(row.shape) == 1 else row.shape[1::-1]
    count = 1 if len(row.shape) == 1 else row.shape[2]
    for behind in reversed(range(count)):
        corner = (left + behind * _SHEET_STEP, bottom + behind * _SHEET_STEP)
        look = {"facecolor": KIND_COLOURS.get(row.kind, "0.8"), "edgecolor": "white"}
        axis.add_patch(Rectangle(corner, width, height, linewidth=0.5, **look))


def _label_layer(axis: Axes, row: LayerRow, centre: float, top: float) -> None:
    details = [row.kind, _size(row.shape)]
    if row.parameters:
        details += [f"{row.parameters:,}", "parameters"]
    place = {"ha": "center", "va": "top"}
    axis.text(centre, top, row.name, weight="bold", fontsize=8, **place)
    axis.text(centre, top - 5, "\n".join(details), fontsize=7, linespacing=1.4, **place)


@style()
def mask_module(
    features: np.ndarray, scores: np.ndarray, outputs: np.ndarray, operation: str
) -> Figure:
    """The attention module (paper, Figure 3) with the maps of one image in it.

    Args:
        features: What goes in, shape `(height, width, channels)`, not negative.
        scores: The mask, shape `(height, width, 1)` or `(height, width, channels)`, in [0, 1].
        outputs: Their product, shape of `features`.
        operation: What the arrow from the features to the mask says.

    Returns:
        Features and outputs share one scale of greys; the mask has the colour bar.
    """
    figure, axes = subplots(width=8, height=2.9)
    axis, brightest = axes[0, 0], max(features.max(), outputs.max())
    _draw_stack(axis, features, (0, 0), INK_MAP, brightest)
    mask = _draw_stack(axis, scores, (2.6, 0.9), VALUE_MAP, 1)
    _draw_stack(axis, outputs, (4.3, 0), INK_MAP, brightest)
    axis.text(3.1, 0.35, TIMES, ha="center", va="center", fontsize=16, bbox=_CIRCLE)
    for start, end in (((1.6, 1.3), (2.5, 1.3)), ((3.1, 0.85), (3.1, 0.52))):
        _arrow(axis, start, end)
    for start, end in (((1.6, 0.35), (2.92, 0.35)), ((3.28, 0.35), (4.2, 0.35))):
        _arrow(axis, start, end)
    axis.text(2.05, 1.36, operation, ha="center", va="bottom", fontsize=8)
    for name, maps, left in (("features", features, 0), ("outputs", outputs, 4.3)):
        axis.text(left, -0.06, f"{name} {_size(maps.shape)}", va="top")
    axis.text(2.6, 1.96 + _depth(scores), f"mask {_size(scores.shape)}", va="bottom")
    axis.set(xlim=(-0.05, 5.9), ylim=(-0.25, 2.2 + _depth(scores)), aspect="equal")
    axis.axis("off")
    beside_mask = axis.inset_axes((3.7 + _depth(scores), 0.9, 0.08, 1), transform=axis.transData)
    figure.colorbar(mask, cax=beside_mask, label="score")
    return figure


_CIRCLE = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": "black"}


def _depth(maps: np.ndarray) -> float:
    """How far the last map of a stack stands behind the first; a map is 1 wide."""
    return 0.5 if maps.shape[2] > 1 else 0.0


def _draw_stack(
    axis: Axes, maps: np.ndarray, corner: tuple[float, float], colours: str, top: float
) -> AxesImage:
    """Draw maps one behind another, the first in front, and return that one."""
    levels = np.round(maps / top * (_LEVELS - 1)) / (_LEVELS - 1) * top
    steps = np.linspace(0, _depth(maps), maps.shape[2])
    for step, level in reversed([*zip(steps, np.moveaxis(levels, 2, 0), strict=True)]):
        left, bottom = corner[0] + step, corner[1] + step
        extent = (left, left + 1, bottom, bottom + 1)
        sheet = axis.imshow(level, colours, vmin=0, vmax=top, extent=extent, zorder=2)
        axis.add_patch(Rectangle((left, bottom), 1, 1, fill=False, linewidth=0.6, zorder=2))
    return sheet


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "black"}, zorder=3)


def _size(shape: tuple[int, ...]) -> str:
    return TIMES.join(map(str, shape))
