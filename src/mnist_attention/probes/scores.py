"""Attention maps as arrays: onto the image, and against the ink. NumPy and SciPy only.

A score compares maps with the ink, the bright pixels of the clean digit, and gives one number per
image. A digit can be seen in almost any map, so a score means something only beside the same score
of `TRIVIAL_MAPS` and of the untrained network.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage, stats

from ..checks import expect
from ..data import brightness, check_images

CENTRE_DEVIATION = 5.0  # pixels; two on each side span the 20 x 20 pixels of MNIST's digits


# From a feature map to the image


def stride(side: int, canvas: int = 32) -> float:
    """Pixels from one position of a feature map to the next: for LeNet-5 1 of C1, 2 of C3, 4 of S4.

    The largest power of two that is not above `canvas / side`: networks halve maps by pooling, and
    convolutions without padding take less than half.
    """
    return 2.0 ** np.floor(np.log2(canvas / side))


def centres(side: int, size: int = 28, canvas: int = 32) -> np.ndarray:
    """Pixels at the centres of what the `side` positions of a feature map see, along one axis.

    Convolutions of stride 1, padded or not, and 2x2 pooling leave every map centred on the image,
    which has `size` pixels and lies in the middle of the `canvas` pixels of the network's input. So
    position `i` of C1 sees the pixels `i - 2 .. i + 2`, of C3 `2 i - 2 .. 2 i + 11`.
    """
    return (size - 1) / 2 + stride(side, canvas) * (np.arange(side) - (side - 1) / 2)


def mask_on_image(
    scores: np.ndarray, size: tuple[int, int] = (28, 28), canvas: tuple[int, int] = (32, 32)
) -> np.ndarray:
    """The mean over a mask's channels, enlarged bilinearly in register with the image.

    A value stands at the centre of what its position sees (see `centres`). Pixels outside the
    outermost centres take the nearest value: for C3 these are the outer five rows and columns. The
    scores of a linear mask can be negative: how much of a feature passes is `np.abs(scores)`.

    Args:
        scores: Shape `(n, rows, columns, channels)`; otherwise a `ValueError`.
        size: Height and width of the image in pixels.
        canvas: Height and width of the network's input in pixels.

    Returns:
        One map per image, shape `(n, height, width)`, of the type of `scores`.
    """
    expect(scores.ndim == 4, "maps of shape (n, rows, columns, channels)", f"shape={scores.shape}")
    # Averaged in double precision, so that scores that are all equal stay so to the last bit.
    mean = scores.mean(axis=-1, dtype=np.float64).astype(scores.dtype)
    axes = zip(scores.shape[1:3], size, canvas, strict=True)
    rows, columns = (_weights(centres(*axis), axis[1]) for axis in axes)
    return (rows @ mean @ columns.T).astype(scores.dtype)


def _weights(at: np.ndarray, pixels: int) -> np.ndarray:
    """Row p: the weight of each position at pixel p. Products with it take a tenth of the time of a
    general affine transform."""
    return np.stack([np.interp(np.arange(pixels), at, one) for one in np.eye(len(at))], axis=1)


def short_name(layer: str) -> str:
    """The layer that a mask follows: "C1" for `c1_attention`."""
    return layer.removesuffix("_attention").upper()


def ink_on_grid(ink: np.ndarray, side: int, canvas: int = 32) -> np.ndarray:
    """Which positions of a feature map stand on the ink of a digit, bool, `(n, side, side)`.

    A position stands for the pixels that are nearest to its centre (`centres`): one for C1, 2x2
    for S2 and C3, 4x4 for S4. If at least half of them are ink, so is the position. The grids of
    C3 and S4 leave out the outer four rows and columns of the digit; those of padded maps go
    beyond it, where there is no ink.

    `ink` is bool, shape `(n, 28, 28)`; `canvas` the side of the network's input. ValueError for
    another type, or a map that is finer than the image.
    """
    _check_kind(ink)
    step, place = stride(side, canvas), np.arange(28)
    expect(step >= 1, "a map with at most 28 positions a side", str(side))
    first = np.floor(centres(side, 28, canvas) - (step - 1) / 2)[:, None]
    share = ((first <= place) & (place < first + step)) / step  # of each pixel in each position
    return share @ ink @ share.T >= 0.5


# Scores of maps against the ink


def ink_auroc(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Probability that the map is higher at an ink pixel than at a background pixel; ties half.

    The area under the ROC curve of "ink" by map value, or the Mann-Whitney statistic: 1 if all
    ink is above all background, 0 if below, 1/2 for a constant map. Only the order counts.

    `maps`, finite, and `ink`, bool, have shape `(n, height, width)`; the result, float64, `(n,)`.
    ValueError for others, or an image without ink or without background.
    """
    maps, ink = _flat(maps, ink)
    size = ink.sum(axis=1)
    ranks = stats.rankdata(maps, axis=1)
    above = np.where(ink, ranks, 0).sum(axis=1) - size * (size + 1) / 2
    return above / (size * (ink.shape[1] - size))


def relevance_mass(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Share of the map's sum that lies on ink. As `ink_auroc`; maps must not be negative.

    A constant map has the share of the image that is ink. So, by definition, has a map of zeros.

    Reference:
        "Relevance mass accuracy" of Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022
        ([arXiv:2003.07258](https://arxiv.org/abs/2003.07258)), and so for `relevance_rank`.
    """
    maps, ink = _flat(maps, ink)
    expect(
        maps.min() >= 0,
        "maps without negative values, or a share of their sum means nothing",
        f"values down to {maps.min():g}. Of a linear mask take np.abs(scores), how much of a "
        "feature passes, or another score",
    )
    total = maps.sum(axis=1)
    on_ink = np.where(ink, maps, 0).sum(axis=1)
    return np.divide(on_ink, total, out=ink.mean(axis=1), where=total > 0)


def relevance_rank(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Share of ink among the K highest pixels of the map, K being the number of ink pixels.

    Equal pixels on the border of the K highest count by their expectation under a random order.
    So a constant map has the share of the image that is ink. Otherwise as `ink_auroc`.
    """
    maps, ink = _flat(maps, ink)
    size = ink.sum(axis=1, keepdims=True)
    border = np.take_along_axis(np.sort(maps, axis=1), maps.shape[1] - size, axis=1)
    above, tied = maps > border, maps == border
    places = size[:, 0] - above.sum(axis=1)  # left for the pixels that are equal
    hits = (above & ink).sum(axis=1) + places * (tied & ink).sum(axis=1) / tied.sum(axis=1)
    return hits / size[:, 0]


def pointing_game(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Whether the highest pixel of the map lies on ink, 1 or 0. Otherwise as `ink_auroc`.

    Where several pixels are highest, it is the share of them that lies on ink.

    Reference:
        Zhang, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop, ECCV
        2016 ([arXiv:1608.00507](https://arxiv.org/abs/1608.00507)); here without its tolerance.
    """
    maps, ink = _flat(maps, ink)
    highest = maps == maps.max(axis=1, keepdims=True)
    return (highest & ink).sum(axis=1) / highest.sum(axis=1)


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    score.__name__: score for score in (ink_auroc, relevance_mass, relevance_rank, pointing_game)
}
"""Name -> score of maps against the ink; more is better, 1 is perfect."""


def _flat(maps: np.ndarray, ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked maps (float64) and ink, both of shape (n, pixels)."""
    _check_ink(ink)
    check_maps(maps, ink.shape)
    return maps.reshape(len(maps), -1).astype(np.float64), ink.reshape(len(ink), -1)


def check_maps(maps: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse, by a `ValueError`, maps that are not finite or not of this `(n, height, width)`."""
    expect(maps.shape == shape, f"maps of shape {shape}", f"shape={maps.shape}")
    finite = np.isfinite(maps).all(axis=(1, 2))
    expect(finite.all(), "finite maps", f"NaN or inf in map {finite.argmin()}")


def _check_kind(ink: np.ndarray) -> None:
    holds = ink.dtype == bool and ink.ndim == 3 and len(ink) > 0
    expected = "ink of type bool and shape (n, height, width) with n >= 1"
    expect(holds, expected, f"dtype={ink.dtype}, shape={ink.shape}")


def _check_ink(ink: np.ndarray) -> None:
    _check_kind(ink)
    size, pixels = ink.sum(axis=(1, 2)), ink[0].size
    bad = (size == 0) | (size == pixels)
    received = f"image {bad.argmax()} with {size[bad.argmax()]} of {pixels} pixels ink"
    more = f"and {bad.sum() - 1} more such images"
    expect(not bad.any(), "ink and background in every image", f"{received}, {more}")


def snr_gain_db(before: np.ndarray, after: np.ndarray, ink_on_grid: np.ndarray) -> np.ndarray:
    """How much a mask raises the signal-to-noise ratio of the features, in decibels.

    Gain = SNR after - SNR before, SNR = 10 log10(mean of x^2 on ink / mean of x^2 off ink), means
    over positions and channels. A mask that is 1 on ink and 0.1 off it gains 20 dB.

    Features have shape `(n, height, width, channels)`. Returns float64, shape `(n,)`: infinite
    where the mask removes all noise (+) or all signal (-), NaN where a ratio is 0/0, or 0 or
    infinity on both sides. Errors are those of `ink_auroc`.
    """
    _check_ink(ink_on_grid)
    expect(
        before.shape == after.shape and before.shape[:-1] == ink_on_grid.shape,
        "features before and after of one shape (n, height, width, channels), and their ink",
        f"shapes {before.shape}, {after.shape} and {ink_on_grid.shape}",
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # see Returns
        return _snr_db(after, ink_on_grid) - _snr_db(before, ink_on_grid)


def _snr_db(features: np.ndarray, ink: np.ndarray) -> np.ndarray:
    energy = np.einsum("nhwc,nhwc->nhw", features, features, dtype=np.float64)
    expect(np.isfinite(energy).all(), "finite features", "NaN or infinity among them")
    signal, noise = (np.mean(energy, axis=(1, 2), where=where) for where in (ink, ~ink))
    return 10 * np.log10(signal / noise)


# Maps that need no network


def _edges(images: np.ndarray) -> np.ndarray:
    gradients = [ndimage.generic_gradient_magnitude(x, ndimage.sobel) for x in brightness(images)]
    return np.stack(gradients) / (4 * np.sqrt(2))  # the most that two derivatives of 4 can give


def _centre(images: np.ndarray) -> np.ndarray:
    check_images(images)
    profile = np.exp(-((np.arange(28) - 27 / 2) ** 2) / (2 * CENTRE_DEVIATION**2))
    return np.tile(np.outer(profile, profile), (len(images), 1, 1))


TRIVIAL_MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "brightness": brightness,
    "edges": _edges,
    "centre": _centre,
    "random": lambda images: np.random.default_rng(0).random(brightness(images).shape),
}
"""Name -> function of the images as the network sees them that gives maps of shape `(n, 28, 28)` in
[0, 1]: the image; the size of its Sobel gradient; a Gaussian around the middle; uniform noise."""
