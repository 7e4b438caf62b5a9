"""Pictures of attention maps: one colour scale for all maps of a figure, and the ink outlined."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ..data import INK
from . import COLOURS, VALUE_MAP, style, subplots
from .digits import draw_digit


def draw_outline(axes: Axes, image: np.ndarray) -> None:
    """The border between ink and background, over whatever `axes` show.

    Args:
        axes: Axes in pixels of the image.
        image: Shape `(28, 28)`, uint8 or floats to 1.
    """
    brightness = image / 255 if image.dtype == np.uint8 else image
    lines = axes.contour(brightness, levels=[INK], colors="white", linewidths=0.6)
    # White is lost on the bright end of the colour map, so it gets a dark seam.
    lines.set_path_effects([patheffects.withStroke(linewidth=1.3, foreground="black")])


def draw_mask(axes: Axes, scores: np.ndarray, limits: tuple[float, float] = (0, 1)) -> AxesImage:
    """A one-channel mask of shape `(height, width)`; `limits` are the ends of the colour scale."""
    image = axes.imshow(scores, cmap=VALUE_MAP, vmin=limits[0], vmax=limits[1])
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return image


@style()
def enlargement(
    image: np.ndarray, scores: np.ndarray, enlarged: np.ndarray, centres: np.ndarray
) -> Figure:
    """A mask as it is and enlarged, and where its positions look.

    Args:
        image: Shape `(28, 28)`.
        scores: The mask, shape `(side, side)`.
        enlarged: The same, shape `(28, 28)`.
        centres: Pixels in whose middle the positions look, along one axis, shape `(side,)`.
    """
    figure, axes = subplots(1, 3, height=2.7)
    draw_digit(axes[0, 0], image, "where its positions look")
    columns, rows = np.meshgrid(centres, centres)
    axes[0, 0].plot(columns, rows, ".", color=COLOURS["vermillion"], markersize=3)
    draw_mask(axes[0, 1], scores)
    axes[0, 1].set_title("the mask, {} x {}".format(*scores.shape))
    shown = draw_mask(axes[0, 2], enlarged)
    draw_outline(axes[0, 2], image)
    axes[0, 2].set_title("enlarged, bilinear")
    figure.colorbar(shown, ax=axes[0], label="mask value")
    return figure


@style()
def masks(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    captions: Sequence[str],
    limits: tuple[float, float] = (0, 1),
) -> Figure:
    """Digits, and below them their masks on one scale, with the outline of the ink.

    Args:
        images: Shape `(n, 28, 28)`.
        maps: Name of a row -> masks of shape `(n, 28, 28)`; see `masks.maps_on_image`.
        captions: What stands above each digit, `n` of them.
        limits: Values at the ends of the colour scale.
    """
    rows, columns = 1 + len(maps), len(images)
    figure, axes = subplots(rows, columns, height=rows * 7.2 / columns + 0.3)
    for panel, image, caption in zip(axes[0], images, captions, strict=True):
        draw_digit(panel, image, caption)
        panel.title.set_size(8)
    axes[0, 0].set_ylabel("image")
    for line, (name, scores) in zip(axes[1:], maps.items(), strict=True):
        line[0].set_ylabel(name)
        for panel, score, image in zip(line, scores, images, strict=True):
            shown = draw_mask(panel, score, limits)
            draw_outline(panel, image)
    figure.colorbar(shown, ax=axes[1:], label="mask value", fraction=0.02, pad=0.01)
    return figure


@style()
def on_and_off_ink(values: Mapping[str, tuple[np.ndarray, np.ndarray]], columns: int = 2) -> Figure:
    """Which values masks take on the ink and on the background.

    Args:
        values: Title -> mask values from 0 to 1 on ink, and on the background, each of any length.
        columns: Panels in a row.
    """
    rows = -(-len(values) // columns)
    figure, axes = subplots(rows, columns, height=1.9 * rows, sharex=True)
    edges = np.linspace(0, 1, 101)
    for panel, (title, (ink, background)) in zip(axes.flat, values.items(), strict=False):
        for name, part, colour in (
            ("background", background, COLOURS["blue"]),
            ("ink", ink, COLOURS["vermillion"]),
        ):
            share = 100 * np.histogram(part, edges)[0] / len(part)
            panel.stairs(share, edges, fill=True, alpha=0.5, color=colour, label=name)
        panel.set(title=title, yscale="log", ylim=(0.01, 150))
    for panel in axes[-1]:
        panel.set_xlabel("mask value")
    for panel in axes[:, 0]:
        panel.set_ylabel("% of pixels")
    axes[0, 0].legend()
    return figure
