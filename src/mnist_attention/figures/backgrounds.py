"""Pictures of digits on backgrounds and of corrupted digits."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..noise import BACKGROUNDS, CORRUPTIONS, add_noise
from . import style, subplots
from .digits import draw_digit

GAMMAS = (0.0, 0.5, 1.0)
"""Correlations at which the Gaussian background is shown."""


@style()
def backgrounds_overview(
    images: np.ndarray,
    strengths: Sequence[float] = (0, 0.25, 0.5, 0.75, 1),
    names: Sequence[str] = (*BACKGROUNDS, *CORRUPTIONS),
    seed: int = 0,
    side_by_side: int = 2,
) -> Figure:
    """Every background and corruption, a row each, from the weakest to the strongest.

    Args:
        images: Shape `(n, 28, 28)`. Each row starts with the first `side_by_side` of them, so that
            rows can be compared.
        strengths: One column each.
        names: Which to show; the Gaussian background has a row for each of `GAMMAS`.
        seed: See `add_noise`.
        side_by_side: Digits in each panel.
    """
    rows = [(n, g) for n in names for g in (GAMMAS if n == "gaussian" else GAMMAS[:1])]
    height = 8 / len(strengths) / side_by_side * 1.06
    figure, axes = subplots(len(rows), len(strengths), height=len(rows) * height + 0.3)
    for line, (name, gamma) in zip(axes, rows, strict=True):
        for panel, strength in zip(line, strengths, strict=True):
            options = {"strength": strength, "seed": seed, "gamma": gamma}
            shown, _ = add_noise(images[:side_by_side], name, **options)
            draw_digit(panel, np.hstack(shown))
        suffix = f"\n$\\gamma$ = {gamma:g}" if name == "gaussian" else ""
        label = name.replace("_", "\n") + suffix
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for panel, strength in zip(axes[0], strengths, strict=True):
        panel.set_title(f"strength {strength:g}")
    return figure
