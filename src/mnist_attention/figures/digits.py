"""Pictures of the digits themselves. Images have shape `(..., 28, 28)`, uint8 or floats to 1."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import COLOURS, INK_MAP, VALUE_MAP, style, subplots


def draw_digit(axes: Axes, image: np.ndarray, title: str = "") -> None:
    """One digit, dark on light, on the scale of its type."""
    brightest = 255 if image.dtype == np.uint8 else 1
    axes.imshow(image, cmap=INK_MAP, vmin=0, vmax=brightest)
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="0.8")


@style()
def samples(images: np.ndarray, labels: np.ndarray, per_class: int = 12) -> Figure:
    """The first images of every class, a row a class (paper, Figure 4, above).

    Args:
        images: Shape `(n, 28, 28)`.
        labels: Shape `(n,)`; every digit occurs at least `per_class` times.
        per_class: Images in a row.
    """
    rows = [np.hstack(images[labels == digit][:per_class]) for digit in range(10)]
    figure, axes = subplots(width=8, height=8 * 10 / per_class)
    draw_digit(axes[0, 0], np.vstack(rows))
    axes[0, 0].set_yticks(28 * np.arange(10) + 13.5, range(10))
    axes[0, 0].set_ylabel("label")
    axes[0, 0].tick_params(length=0)
    return figure


@style()
def pixel_values(image: np.ndarray) -> Figure:
    """One digit with the value of each of its pixels (paper, Figure 4, below).

    Args:
        image: Shape `(28, 28)`, uint8.
    """
    figure, axes = subplots(width=8, height=8)
    draw_digit(axes[0, 0], image)
    for (row, column), value in np.ndenumerate(image):
        colour = "white" if value > 127 else "black" if value else "0.8"
        axes[0, 0].text(column, row, value, ha="center", va="center", size=6, color=colour)
    axes[0, 0].set(xticks=range(0, 28, 3), yticks=range(0, 28, 3), xlabel="column", ylabel="row")
    return figure


@style()
def class_counts(counts: Mapping[str, np.ndarray]) -> Figure:
    """How many images of each digit there are.

    Args:
        counts: Name of a split -> ten counts.
    """
    figure, axes = subplots(1, len(counts), height=2.6)
    for panel, (split, count), colour in zip(
        axes[0], counts.items(), COLOURS.values(), strict=False
    ):
        bars = panel.bar(range(10), count, color=colour)
        panel.bar_label(bars, fmt="{:,.0f}", size=6.5, padding=2)
        panel.set(title=f"{split}: {count.sum():,} images", xticks=range(10), xlabel="digit")
    axes[0, 0].set_ylabel("images")
    return figure


@style()
def gallery(images: np.ndarray, captions: Sequence[str], columns: int = 10) -> Figure:
    """Digits one after the other, each with a caption above it.

    Args:
        images: Shape `(n, height, width)`.
        captions: One each.
        columns: Digits in a row.
    """
    rows = -(-len(images) // columns)
    lines = 1 + max(caption.count("\n") for caption in captions)
    figure, axes = subplots(rows, columns, height=rows * (8 / columns + 0.16 * lines))
    for panel, image, caption in zip(axes.flat, images, captions, strict=False):
        draw_digit(panel, image, caption)
        panel.title.set_size(8)
    for panel in axes.flat[len(images) :]:
        panel.axis("off")
    return figure


@style()
def comparison(rows: Mapping[str, np.ndarray], captions: Sequence[str]) -> Figure:
    """The same digits in several versions, a row a version.

    Args:
        rows: Name of the version -> images of shape `(n, height, width)`.
        captions: What stands above each column, `n` of them.
    """
    columns = len(captions)
    figure, axes = subplots(len(rows), columns, height=len(rows) * 8 / columns + 0.4)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            draw_digit(panel, image)
        line[0].set_ylabel(name)
    for panel, caption in zip(axes[0], captions, strict=True):
        panel.set_title(caption, size=8)
    return figure


@style()
def look_alikes(shares: Mapping[str, np.ndarray]) -> Figure:
    """Which digit the images of each digit look like.

    Args:
        shares: Title -> matrix of shape `(10, 10)` in percent: row = true digit, column = digit
            it resembles; each row sums to 100.
    """
    figure, axes = subplots(1, len(shares), height=8 / len(shares), sharey=True)
    for panel, (title, share) in zip(axes[0], shares.items(), strict=True):
        panel.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(share):
            if round(value):
                colour = "white" if value > 60 else "black"
                panel.text(
                    column, row, f"{value:.0f}", ha="center", va="center", size=7, color=colour
                )
        panel.set(title=title, xticks=range(10), yticks=range(10), xlabel="resembles most")
    axes[0, 0].set_ylabel("digit")
    return figure


@style()
def worked_pattern(patch: np.ndarray, weights: np.ndarray) -> Figure:
    """A local binary pattern step by step (paper, Figure 1).

    Args:
        patch: The centre pixel and its eight neighbours, shape `(3, 3)`.
        weights: The power of two that each neighbour stands for, 0 at the centre, `(3, 3)`.
    """
    ones = np.where(weights > 0, patch >= patch[1, 1], False)
    steps = {
        "1. grey values": patch,
        f"2. at least {patch[1, 1]}?": ones.astype(int),
        "3. weights": weights,
        "4. one times weight": ones * weights,
    }
    figure, axes = subplots(1, 4, height=2.7)
    for panel, (title, numbers) in zip(axes[0], steps.items(), strict=True):
        shade = numbers / max(numbers.max(), 1)
        panel.imshow(shade, cmap=INK_MAP, vmin=0, vmax=2.2)
        for (row, column), number in np.ndenumerate(numbers):
            text = number if (row, column) != (1, 1) or panel is axes[0, 0] else ""
            panel.text(column, row, text, ha="center", va="center", size=12)
        panel.set(title=title, xticks=(0.5, 1.5), yticks=(0.5, 1.5))
        panel.tick_params(length=0, labelbottom=False, labelleft=False)
        panel.grid(color="black", linewidth=0.5)
    terms = np.sort(weights[ones])
    figure.supxlabel(
        f"{' + '.join(map(str, terms))} = {terms.sum()}, in binary {terms.sum():08b}", size=11
    )
    return figure


@style()
def pattern_image(image: np.ndarray, codes: np.ndarray, centre: tuple[int, int]) -> Figure:
    """A digit beside the local binary pattern of each of its pixels.

    Args:
        image: Shape `(28, 28)`.
        codes: Shape `(28, 28)`, from 0 to 255.
        centre: Row and column of the pixel whose 3x3 neighbourhood is framed.
    """
    figure, axes = subplots(1, 2, width=7, height=3.2, width_ratios=(1, 1.15))
    draw_digit(axes[0, 0], image, "grey values")
    shown = axes[0, 1].imshow(codes, cmap=VALUE_MAP, vmin=0, vmax=255)
    axes[0, 1].set(title="local binary pattern", xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[0, 1], label="code")
    row, column = centre
    for panel in axes[0]:
        frame = Rectangle((column - 1.5, row - 1.5), 3, 3, fill=False, linewidth=1.8)
        frame.set_edgecolor(COLOURS["vermillion"])
        panel.add_patch(frame)
    return figure
