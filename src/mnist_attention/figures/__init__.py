"""Every figure: data in, Matplotlib `Figure` out. Loads neither TensorFlow nor pyplot.

A figure function makes its `Figure` with `subplots` below, under `@style()`. Figures made so belong
to nobody but their caller: there is no global list of them to leak into and nothing to close.
"""

import io
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from ..storage import paths
from ..storage.files import write_atomically

DPI = 150

COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "yellow": "#F0E442",
    "black": "#000000",
}
"""Told apart with any colour vision: Okabe and Ito, "Color Universal Design", 2008."""

INK_MAP = "gray_r"
"""Colour map of digits: ink is dark, as on paper."""

VALUE_MAP = "viridis"
"""Colour map of everything measured: even steps of lightness, whatever the colour vision."""

_STYLE = {
    "axes.prop_cycle": matplotlib.cycler(color=[*COLOURS.values()]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.titlesize": 12,
    "font.size": 9,
    "legend.frameon": False,
}


def style() -> AbstractContextManager:
    """The look of all figures, on top of Matplotlib's defaults, whatever the user's own settings.

    Use it as a decorator, `@style()`, or in a `with` statement.
    """
    return matplotlib.style.context(_STYLE, after_reset=True)


def subplots(
    rows: int = 1, columns: int = 1, *, width: float = 8, height: float = 3, **options
) -> tuple[Figure, np.ndarray]:
    """A figure that pyplot does not know of, and its axes.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        width: Width in inches; 8 fills a notebook's page.
        height: Height in inches.
        **options: Passed to `Figure.subplots`, e.g. `sharey=True` or `width_ratios=(2, 1)`.

    Returns:
        The figure and its axes, always as an array of shape `(rows, columns)`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def save(figure: Figure, name: str, banner: str = "") -> Path:
    """Write a figure as `<name>.png`. The same data give the same bytes.

    Args:
        figure: What to write. Its layout is settled now; it is otherwise left as it was.
        name: Name of the file, without ending.
        banner: `Dataset.banner`. If not empty it is put above the figure, and the file goes to
            `figures/fallback/`, where it cannot be taken for the real one.

    Returns:
        The path of the file, in `paths.FIGURES`.

    Raises:
        OSError: if it cannot be written.
    """
    image = _png(figure, banner)
    path = paths.FIGURES / ("fallback" if banner else "") / f"{name}.png"
    write_atomically(path, lambda file: file.write(image))
    return path


def _png(figure: Figure, banner: str) -> bytes:
    image = io.BytesIO()
    # Matplotlib would add its version.
    options = {"format": "png", "dpi": DPI, "metadata": {"Software": None}}
    with style():
        _settle(figure)
        if banner:
            _save_under_banner(figure, banner, image, options)
        else:
            figure.savefig(image, **options)
    return image.getvalue()


def _settle(figure: Figure) -> None:
    """Lay the figure out once: each further drawing would move its axes a little."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _save_under_banner(figure: Figure, banner: str, image: io.BytesIO, options: dict) -> None:
    box = {"facecolor": COLOURS["vermillion"], "edgecolor": "none", "pad": 6}
    look = {"ha": "center", "va": "bottom", "color": "white", "weight": "bold", "bbox": box}
    # It stands above the figure, where it hides nothing; the tight box takes it in.
    text = figure.text(0.5, 1.04, banner.upper(), **look)
    figure.savefig(image, bbox_inches="tight", **options)
    text.remove()


def show(figure: Figure, name: str | None, alt: str, banner: str = ""):
    """Save a figure and return what a notebook displays: that very file.

    Args:
        figure: The figure.
        name: See `save`; `None` for a figure of a live run, which is shown but not kept.
        alt: What the picture shows, for those who cannot see it.
        banner: See `save`.

    Returns:
        An `IPython.display.Image`.
    """
    from IPython.display import Image

    image = save(figure, name, banner).read_bytes() if name else _png(figure, banner)
    return Image(data=image, alt=alt, width=round(figure.get_figwidth() * 100))
