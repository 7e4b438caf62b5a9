"""Pictures of digits, features and masks: one grid, and what it cannot show.

Images have shape `(height, width)`, uint8 or floats from 0 to 1; masks are floats from 0 to 1.
"""

import textwrap
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from ..data import INK
from .style import DIGIT_MAP, FAINT, MASK, PAPER, VALUE_MAP, WIDTH, style, subplots

TIMES = "\N{MULTIPLICATION SIGN}"
_GAP = 0.07  # between images, which are 1 wide
_LINE = 0.16  # inches that a line of captions takes


@style()
def image_grid(
    images: Mapping[str, Sequence[np.ndarray]] | Sequence[np.ndarray],
    captions: Sequence[str] = (),
    *,
    title: str = "",
    masks: Collection[str] = (),
    ink: Sequence[np.ndarray] | None = None,
    columns: int = 10,
    cell: float = 1.6,
) -> Figure:
    """Images in rows and columns: digits white on black, masks on one scale from 0 to 1.

    Args:
        images: Name of a row -> its images. Or images alone, which are wrapped into rows.
        captions: What stands above each column; above each image if they are wrapped.
        masks: Names of the rows that are masks. They get the colour bar.
        ink: The clean digit of each column, whose outline is drawn on the masks.
        columns: Images in a row where they are wrapped.
        cell: Largest side of an image in inches; as large as the width allows below that.
    """
    wrapped = not isinstance(images, Mapping)
    if wrapped:
        rows = [("", images[i : i + columns]) for i in range(0, len(images), columns)]
    else:
        rows = [row for row in images.items() if len(row[1])]
        columns = max((len(row) for _, row in rows), default=1)
    # The size of everything is known, so it is placed exactly: cells are then alike in all grids.
    left = 0.2 + 0.062 * max(map(len, "\n".join(name for name, _ in rows).split("\n")))
    right = 0.6 if masks else 0.05
    wide = columns + _GAP * (columns - 1)
    cell = min(cell, (WIDTH - left - right) / wide)
    above = _LINE * max((1 + text.count("\n") for text in captions), default=0) / cell
    pitch = 1 + _GAP + (above if wrapped else 0)
    tall = pitch * max(len(rows), 1) + (0 if wrapped else above)
    lines = textwrap.wrap(title, 92)
    height = cell * tall + 0.22 * len(lines) + 0.12
    figure = Figure(figsize=(WIDTH, height))
    figure.text(0.01, 1 - 0.05 / height, "\n".join(lines), va="top", weight="bold", size=11)
    axis = figure.add_axes((left / WIDTH, 0.04 / height, cell * wide / WIDTH, cell * tall / height))
    axis.set(xlim=(0, wide), ylim=(tall, 0))
    axis.axis("off")
    if not rows:
        axis.text(wide / 2, tall / 2, "nothing to show yet", ha="center", color=FAINT)
    shown = None
    for number, (name, row) in enumerate(rows):
        top = above + pitch * number
        axis.text(-0.08 / cell, top + 0.5, name, ha="right", va="center", size=8.5)
        brightest = max((_top(image) for image in row), default=1)
        for column, image in enumerate(row):
            where = (column * (1 + _GAP), top)
            if name in masks:
                shown = _put(axis, image, where, VALUE_MAP, 1)
                if ink is not None:
                    _outline(axis, ink[column], where)
            else:
                _put(axis, image, where, DIGIT_MAP, brightest)
    for index, caption in enumerate(captions[: columns * len(rows)]):
        row, column = divmod(index, columns)
        place = (column * (1 + _GAP) + 0.5, above + pitch * row - 0.04 / cell)
        axis.text(*place, caption, ha="center", va="bottom", size=8, linespacing=1.1)
    if shown is not None:
        bar = (left + cell * wide + 0.08) / WIDTH
        size = min(1.6, 0.8 * cell * tall)
        low = 0.04 + (cell * (tall - above) - size) / 2
        beside = figure.add_axes((bar, low / height, 0.09 / WIDTH, size / height))
        figure.colorbar(shown, cax=beside, ticks=(0, 0.5, 1))
        beside.tick_params(labelsize=8)
        beside.set_title("mask", size=8)
    return figure


def _top(image: np.ndarray) -> float:
    """The value that is shown white: 1 for images, more for features."""
    return 255 if image.dtype == np.uint8 else max(1.0, float(image.max()))


def _put(
    axis: Axes, image: np.ndarray, corner: tuple[float, float], colours: str, top: float
) -> AxesImage:
    left, above = corner
    extent = (left, left + 1, above + 1, above)
    look = {"vmin": 0, "vmax": top, "interpolation": "nearest"}
    return axis.imshow(image, colours, extent=extent, aspect="auto", zorder=2, **look)


def _outline(axis: Axes, image: np.ndarray, corner: tuple[float, float], size: float = 1) -> None:
    """The border of the ink of an image that is drawn with its upper left at `corner`."""
    brightness = image / _top(image)
    if brightness.max() <= INK:
        return
    steps = (np.arange(len(image)) + 0.5) / len(image) * size
    look = {"levels": [INK], "colors": "white", "linewidths": 0.7, "zorder": 3}
    lines = axis.contour(corner[0] + steps, corner[1] + steps, brightness, **look)
    # White is lost on the bright end of the colour map, so it gets a dark seam.
    lines.set_path_effects([patheffects.withStroke(linewidth=1.4, foreground="black")])


def _panel(axis: Axes, image: np.ndarray, title: str = "", mask: bool = False) -> AxesImage:
    """One image that fills its axes, in pixels."""
    top = 1 if mask else _top(image)
    shown = axis.imshow(image, VALUE_MAP if mask else DIGIT_MAP, vmin=0, vmax=top)
    axis.set(title=title, xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    return shown


def _frame(axis: Axes, row: int, column: int, size: int) -> None:
    look = {"fill": False, "linewidth": 1.8, "edgecolor": PAPER, "zorder": 4}
    axis.add_patch(Rectangle((column - 0.5, row - 0.5), size, size, **look))


def _write_numbers(axis: Axes, numbers: np.ndarray, shade: np.ndarray, size: float) -> None:
    """Write a number on each pixel that is as bright as `shade`; NaN is left out."""
    for (row, column), number in np.ndenumerate(numbers):
        if not np.isnan(number):
            look = {"color": "black" if shade[row, column] > 110 else "white", "size": size}
            axis.text(column, row, f"{number:.0f}", ha="center", va="center", **look)


@style()
def digit_as_numbers(
    image: np.ndarray, corner: tuple[int, int] = (4, 8), size: int = 12, *, title: str = ""
) -> Figure:
    """A digit beside a part of its pixels as numbers (paper, Figure 4, below).

    Args:
        image: Shape `(28, 28)`, uint8.
        corner: Row and column of the first pixel that is written out.
        size: Rows and columns that are written out; the part is framed in the digit.
    """
    figure, axes = subplots(1, 2, height=4.1, title=title)
    row, column = corner
    _panel(axes[0, 0], image, "the picture")
    _frame(axes[0, 0], row, column, size)
    part = image[row : row + size, column : column + size]
    _panel(axes[0, 1], part, "the framed part as numbers, 0 to 255")
    _write_numbers(axes[0, 1], part, part, 8)
    return figure


@style()
def local_binary_pattern(
    image: np.ndarray, codes: np.ndarray, centre: tuple[int, int], weights: np.ndarray, *, title=""
) -> Figure:
    """A local binary pattern step by step (paper, Figure 1), and the code of every pixel.

    Args:
        image: Shape `(28, 28)`, uint8.
        codes: Code of each pixel, shape `(28, 28)`, 0 to 255.
        centre: Row and column of the pixel whose code is worked out. It is framed.
        weights: The power of two that each neighbour stands for, 0 at the centre, `(3, 3)`.

    Raises:
        ValueError: if the code worked out from the patch is not that in `codes`.
    """
    row, column = centre
    patch = image[row - 1 : row + 2, column - 1 : column + 2]
    bits = (patch >= patch[1, 1]) & (weights > 0)
    code = int((bits * weights).sum())
    if code != codes[centre]:
        expected = f"Expected codes made with these weights, {code} at pixel {centre}"
        raise ValueError(f"{expected}. Received: {codes[centre]} there")
    figure, axes = subplots(1, 5, height=2.15, title=title)
    _panel(axes[0, 0], image, "1. a digit")
    _panel(axes[0, 4], codes.astype(np.uint8), "5. every pixel's code")
    for axis in (axes[0, 0], axes[0, 4]):
        _frame(axis, row - 1, column - 1, 3)
    around = np.where(weights, 1, np.nan)  # the centre has no bit
    tables = {
        "2. the framed patch": (patch, patch),
        f"3. at least {patch[1, 1]}?": (bits * around, 150 * bits),
        "4. weights of the ones": (weights * around, 150 * bits),
    }
    for axis, (name, (numbers, shade)) in zip(axes[0, 1:4], tables.items(), strict=True):
        _panel(axis, np.asarray(shade, np.uint8), name)
        _write_numbers(axis, numbers, shade, 11)
        axis.set(xticks=(0.5, 1.5), yticks=(0.5, 1.5), xticklabels=[], yticklabels=[])
        axis.grid(color="0.5", linewidth=0.7)
        axis.tick_params(length=0)
    terms = " + ".join(map(str, np.sort(weights[bits])))
    figure.supxlabel(f"{terms} = {code}, in binary {code:08b}", size=10)
    return figure


def product(features: np.ndarray, scores: np.ndarray, *, title: str = "") -> Figure:
    """Feature maps times a mask, a column a map: what the layer does with one digit (Figure 3).

    Args:
        features: Shape `(height, width, channels)`, not negative. A map and its product share a
            scale.
        scores: The mask, shape `(height, width, 1)` or `(height, width, channels)`.
    """
    top = _brightest(features)
    rows = {
        "features": _channels(features / top),
        f"{TIMES} mask": _channels(np.broadcast_to(scores, features.shape)),
        "= product": _channels(features * scores / top),
    }
    captions = [f"feature {number}" for number in range(features.shape[2])]
    return image_grid(rows, captions, title=title, masks=[f"{TIMES} mask"])


def _channels(maps: np.ndarray) -> list[np.ndarray]:
    return [*np.moveaxis(maps, -1, 0)]


def _brightest(features: np.ndarray) -> np.ndarray:
    """The highest value of each map, shape `(1, 1, channels)`."""
    return np.maximum(features.max(axis=(0, 1), keepdims=True), 1e-9)


def _size(shape: tuple[int, ...]) -> str:
    return TIMES.join(map(str, shape))


@style()
def mask_along_row(image: np.ndarray, scores: np.ndarray, row: int, *, title: str = "") -> Figure:
    """Pixels of an image and its C1 mask, both `(28, 28)`, along one row, which is marked."""
    figure, axes = subplots(1, 3, height=2.4, title=title, width_ratios=(1, 1, 2.2))
    _panel(axes[0, 0], image, "digit")
    _panel(axes[0, 1], scores, "mask", mask=True)
    for axis in axes[0, :2]:
        axis.axhline(row, color=PAPER, linewidth=1.5)
    panel, places = axes[0, 2], np.arange(image.shape[1])
    lines = {"ink": (image[row] / _top(image), FAINT), "mask": (scores[row], MASK)}
    for name, (values, colour) in lines.items():
        panel.step(places, values, color=colour, where="mid", linewidth=1.8)
        look = {"color": colour, "va": "center", "weight": "bold", "textcoords": "offset points"}
        panel.annotate(name, (places[-1] + 0.5, values[-1]), (4, 0), **look)
    panel.set(ylim=(-0.03, 1.05), xlabel="column", title=f"along row {row}", yticks=(0, 0.5, 1))
    return figure


@style()
def enlargement(
    image: np.ndarray, scores: np.ndarray, enlarged: np.ndarray, centres: np.ndarray, *, title=""
) -> Figure:
    """A small mask, `(side, side)`, where its places look, and the mask on the image, `(28, 28)`.

    `centres`: pixels in whose middle its places look, along one axis, shape `(side,)`.
    """
    figure, axes = subplots(1, 3, height=2.7, title=title)
    _panel(axes[0, 0], image, "where its places look")
    axes[0, 0].plot(*np.meshgrid(centres, centres), ".", color=PAPER, markersize=4)
    _panel(axes[0, 1], scores, f"the mask, {_size(scores.shape)}", mask=True)
    shown = _panel(axes[0, 2], enlarged, "laid over the image", mask=True)
    _outline(axes[0, 2], image, (-0.5, -0.5), len(image))
    figure.colorbar(shown, ax=axes[0], ticks=(0, 0.5, 1))
    return figure
