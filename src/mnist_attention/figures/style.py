"""One look for all figures, and how they are saved and shown. Imports no pyplot."""

import io
import itertools
import sys
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..storage import paths
from ..storage.files import write_atomically

DPI = 150
WIDTH = 8.3  # inches: 830 pixels on a page, so that type is as large there as in print

# LeNet without the mask, with it, the paper; others. Of Okabe and Ito, "Color Universal Design",
# 2008, told apart with any colour vision; the yellow is darkened.
PLAIN, MASK, PAPER, FAINT = "#707070", "#0072B2", "#D55E00", "#8C8C8C"
OTHERS = ("#009E73", "#CC79A7", "#000000", "#56B4E9", "#B8A000")
_NAMED = {"LeNet": PLAIN, "LeNet+Attention": MASK, "without the mask": PLAIN, "with the mask": MASK}

DIGIT_MAP = "gray"  # digits and features: white ink on black, as stored
VALUE_MAP = "viridis"  # masks: even steps of lightness, whatever the colour vision

_STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.size": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


def style() -> AbstractContextManager:
    """The look of all figures, whatever the user's own settings: `@style()` or `with style():`."""
    return matplotlib.style.context(_STYLE, after_reset=True)


def subplots(
    rows: int = 1, columns: int = 1, *, height: float = 3, title: str = "", **options
) -> tuple[Figure, np.ndarray]:
    """A figure that pyplot does not know of, and its axes, of shape `(rows, columns)`.

    Args:
        height: In inches; the width is `WIDTH`.
        title: The message of the figure, above it.
        **options: Passed to `Figure.subplots`, e.g. `sharey=True` or `width_ratios=(2, 1)`.
    """
    lines = textwrap.wrap(title, 92)
    figure = Figure(figsize=(WIDTH, height + 0.2 * len(lines)), layout="constrained")
    if lines:
        figure.suptitle("\n".join(lines), x=0.01, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def colours_of(names: Iterable[str], colours: Mapping[str, str]) -> dict[str, str]:
    """A colour for each name: the given one, the one that it has everywhere, or the next free."""
    known = {**_NAMED, **colours}
    others = (name for name in names if name not in known)
    return {**known, **dict(zip(others, itertools.cycle(OTHERS), strict=False))}


def write_empty(axis: Axes, text: str = "no runs yet") -> None:
    """Say in the axes that there is nothing to draw."""
    look = {"ha": "center", "va": "center", "color": FAINT, "transform": axis.transAxes}
    axis.text(0.5, 0.5, text, **look)
    axis.set(xticks=[], yticks=[])


def save(figure: Figure, name: str, banner: str = "") -> Path:
    """Write a figure as `<name>.png` in `paths.FIGURES`. The same data give the same bytes.

    Args:
        figure: What to write. Its layout is settled now; it is otherwise left as it was.
        name: Name of the file, without ending.
        banner: `Dataset.banner`. If not empty it is put above the figure, and the file goes to
            `figures/fallback/`, where it cannot be taken for the real one.
    """
    path = paths.FIGURES / ("fallback" if banner else "") / f"{name}.png"
    write_atomically(path, _png(figure, banner))
    return path


def show(figure: Figure, name: str | None, alt: str, banner: str = ""):
    """`save` a figure and return that very file as an `IPython.display.Image`.

    Args:
        name: `None` for a figure of a live run, which is not kept.
        alt: What the picture shows, for those who cannot see it.
    """
    from IPython.display import Image

    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # a notebook would show it a second time
    image = save(figure, name, banner).read_bytes() if name else _png(figure, banner)
    return Image(data=image, alt=alt, width=round(figure.get_figwidth() * 100))


def _png(figure: Figure, banner: str) -> bytes:
    image = io.BytesIO()
    # Matplotlib would add its version.
    options = {"format": "png", "dpi": DPI, "metadata": {"Software": None}}
    with style():
        # Once: each further drawing would move the axes a little.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")
        box = {"facecolor": PAPER, "edgecolor": "none", "pad": 6}
        look = {"ha": "center", "va": "bottom", "color": "white", "weight": "bold", "bbox": box}
        # It stands above the figure, where it hides nothing; the tight box takes it in.
        text = figure.text(0.5, 1.04, banner.upper(), visible=bool(banner), **look)
        figure.savefig(image, bbox_inches="tight" if banner else None, **options)
        text.remove()
    return image.getvalue()
