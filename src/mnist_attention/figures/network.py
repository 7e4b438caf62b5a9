"""The network with its masks, drawn around what it computes from one digit (paper, Figure 2)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .images import TIMES, _brightest, _channels, _put, _size, _top
from .style import DIGIT_MAP, MASK, PLAIN, VALUE_MAP, style, subplots

_ROOM = 0.62  # from one drawing to the next; a map is 1 wide
_DEPTH = 0.45  # from the first map of a stack to the last
_LEVELS = 32  # few enough that the last bits of a sum, which processors differ in, do not show


@style()
def network(
    image: np.ndarray,
    layers: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    *,
    title: str = "",
) -> Figure:
    """A network from left to right: maps as stacks, vectors as columns, masks as side branches.

    Args:
        image: The digit, shape `(height, width)`.
        layers: Layer -> its output for that digit, in order: `(height, width, channels)`, not
            negative, or `(units,)`.
        masks: Layer whose output a mask is multiplied into -> the mask, `(height, width, 1)`.
    """
    figure, axes = subplots(height=2.2, title=title)
    axis = axes[0, 0]
    _put(axis, image, (0, 0), DIGIT_MAP, _top(image))
    _label(axis, 0.5, "digit", image.shape)
    end = 1.0
    for name, output in layers.items():
        left = end + _ROOM
        _arrow(axis, (end + 0.08, 0.5), (left - 0.06, 0.5))
        end = left + _draw(axis, output, left)
        _label(axis, (left + end) / 2, name.upper(), output.shape)
        if name in masks:
            end = _branch(axis, masks[name], left + 0.4, end)
    axis.set(xlim=(-0.1, end + 0.15), ylim=(1.75, -1.85), aspect="equal")
    axis.axis("off")
    return figure


def _draw(axis: Axes, output: np.ndarray, left: float) -> float:
    """Draw one layer and return how wide it is."""
    top = _brightest(output) if output.ndim == 3 else max(1e-9, output.max())
    levels = np.round(np.clip(output / top, 0, 1) * (_LEVELS - 1))
    if output.ndim == 1:
        extent = (left, left + 0.22, 1, -0.45)
        shade = {"vmin": 0, "vmax": _LEVELS - 1, "interpolation": "nearest", "aspect": "auto"}
        axis.imshow(levels[:, None], DIGIT_MAP, extent=extent, zorder=2, **shade)
        return 0.22
    # The map with most in it stands in front.
    maps = sorted(_channels(levels), key=np.sum)
    for step, level in zip(np.linspace(_DEPTH, 0, len(maps)), maps, strict=True):
        corner = (left + step, -step)
        _put(axis, level, corner, DIGIT_MAP, _LEVELS - 1)
        look = {"fill": False, "linewidth": 0.5, "edgecolor": "0.6", "zorder": 2}
        axis.add_patch(Rectangle(corner, 1, 1, **look))
    return 1 + _DEPTH


def _branch(axis: Axes, mask: np.ndarray, start: float, end: float) -> float:
    """Draw a mask above its layer, and return where the product ends."""
    sign, top = end + 0.55, -1.75
    _put(axis, mask[..., 0], (sign - 0.5, top), VALUE_MAP, 1)
    blue = {"color": MASK, "zorder": 3}
    axis.plot([start, start], [-0.5, top + 0.5], linewidth=1.2, **blue)
    _arrow(axis, (start, top + 0.5), (sign - 0.52, top + 0.5), MASK)
    _arrow(axis, (sign, top + 1.02), (sign, 0.32), MASK)
    look = {"va": "center", "size": 8, "color": MASK}
    axis.text(start - 0.08, top + 0.5, f"1{TIMES}1 convolution,\nsigmoid", ha="right", **look)
    axis.text(sign + 0.56, top + 0.5, "mask", weight="bold", **look)
    axis.plot([end + 0.06, sign - 0.2], [0.5, 0.5], linewidth=1.2, color=PLAIN)
    circle = {"boxstyle": "circle,pad=0.1", "facecolor": "white", "edgecolor": MASK}
    axis.text(sign, 0.5, TIMES, ha="center", va="center", size=13, color=MASK, bbox=circle)
    return sign + 0.16


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour=PLAIN) -> None:
    look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops=look, zorder=3)


def _label(axis: Axes, centre: float, name: str, shape: tuple[int, ...]) -> None:
    look = {"ha": "center", "va": "top", "size": 8, "linespacing": 1.3}
    axis.text(centre, 1.08, f"{name}\n{_size(shape)}", **look)
