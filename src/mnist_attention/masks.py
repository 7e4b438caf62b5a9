"""Attention maps: out of a model, onto the image, and how well they follow the digit.

A score compares maps with the ink, the bright pixels of the clean digit, and gives one number per
image. A digit can be seen in almost any map, so a score means something only beside the same score
of `TRIVIAL_MAPS` and of the untrained network.
"""

from collections.abc import Callable

import keras
import numpy as np
from scipy import integrate, ndimage, special, stats
from skimage import filters

from .augmentation import network_input
from .data import check_images
from .layers import AttentionMask1x1

STRIDE_OF_MAP = {28: 1, 14: 2, 10: 2, 5: 4}
"""Side of a feature map of LeNet-5 (C1, S2, C3, S4) -> pixels from one position to the next."""

CENTRE_DEVIATION = 5.0
"""Standard deviation of the centre prior in pixels: two on each side span the 20 x 20 pixels to
which MNIST's digits were scaled."""

_BATCH = 500


# Out of a model


def attention_maps(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """The scores that every mask of `model` gives to `images`.

    Args:
        model: A network from `(batch, 32, 32, 1)` with at least one `AttentionMask1x1`.
        images: Shape `(n, 28, 28)`, uint8 from 0 to 255 or floats from 0 to 1.

    Returns:
        Name of the layer -> float32 scores of shape `(n, height, width, mask_channels)`, in the
        order of the layers; for LeNet-5 `c1_attention` at 28x28 and `c3_attention` at 10x10.

    Raises:
        ValueError: if the model has no mask, or the images are of another shape, type or range.
    """
    kept = _through_masks(model, images, ("scores",))
    return {name: scores for name, (scores,) in kept.items()}


def features_around_masks(
    model: keras.Model, images: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What goes into every mask of `model`, and what comes out.

    Args:
        model: See `attention_maps`.
        images: See `attention_maps`.

    Returns:
        Name of the layer -> features before and after the mask, float32, both of shape
        `(n, height, width, channels)`. For LeNet-5 50 kB an image.

    Raises:
        ValueError: see `attention_maps`.
    """
    return _through_masks(model, images, ("before", "after"))


def _through_masks(
    model: keras.Model, images: np.ndarray, wanted: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, ...]]:
    """Name of the mask -> the arrays that are wanted among "before", "after" and "scores"."""
    check_images(images)
    masks = {layer.name: layer for layer in model.layers if isinstance(layer, AttentionMask1x1)}
    if not masks:
        names = [layer.name for layer in model.layers]
        raise ValueError(
            "Expected a model with an AttentionMask1x1 layer. "
            f"Received: {model.name!r} with the layers {names}"
        )
    # What goes into a mask; the mask itself is then asked for the rest.
    features = keras.Model(model.input, {name: layer.input for name, layer in masks.items()})
    parts = {name: [] for name in masks}
    for start in range(0, len(images), _BATCH):
        before = features(network_input(images[start : start + _BATCH]), training=False)
        for name, layer in masks.items():
            after, scores = layer(before[name], return_attention_scores=True)
            found = {"before": before[name], "after": after, "scores": scores}
            parts[name].append(
                [keras.ops.convert_to_numpy(found[key]).astype("float32") for key in wanted]
            )
    return {
        name: tuple(np.concatenate(column) for column in zip(*rows, strict=True))
        for name, rows in parts.items()
    }


# Onto the image


def centres(side: int, size: int = 28) -> np.ndarray:
    """Where the positions of a feature map of LeNet-5 look, along one axis of the image.

    Position `i` of a map of side `n` sees a patch of the image whose centre is pixel

        centre(i) = (size - 1) / 2 + stride * (i - (n - 1) / 2),

    because valid convolutions and 2x2 pooling leave every map centred on the image. On the 28x28
    digit that is `i` for C1 (it sees the pixels `i - 2 .. i + 2`) and `2 i + 4.5` for C3 (it sees
    `2 i - 2 .. 2 i + 11`).

    Args:
        side: Side of the map, a key of `STRIDE_OF_MAP`.
        size: Side of the image: 28 for the digit, 32 for the padded canvas.

    Returns:
        Shape `(side,)`, in pixels; 0 is the middle of the first pixel.

    Raises:
        ValueError: for another `side`.
    """
    if side not in STRIDE_OF_MAP:
        raise ValueError(
            f"Expected the side of a feature map among {[*STRIDE_OF_MAP]}. Received: side={side!r}"
        )
    return (size - 1) / 2 + STRIDE_OF_MAP[side] * (np.arange(side) - (side - 1) / 2)


def upsample(maps: np.ndarray, size: int = 28) -> np.ndarray:
    """Enlarge maps bilinearly, in register with the image that they belong to.

    A value stands at the centre of what its position sees (see `centres`), with linear
    interpolation between. Pixels outside the outermost centres take the nearest value: for C3
    these are the outer five rows and columns of the digit.

    Args:
        maps: Shape `(n, side, side, channels)`, `side` a key of `STRIDE_OF_MAP`.
        size: Side of the image: 28 for the digit, 32 for the padded canvas.

    Returns:
        Shape `(n, size, size, channels)`.

    Raises:
        ValueError: for maps of another shape.
    """
    _check_square(maps)
    side = maps.shape[1]
    # Pixel p lies at position first + step * p of the map: `centres`, solved for i.
    step = 1 / STRIDE_OF_MAP.get(side, 1)
    first = -step * centres(side, size)[0]
    return ndimage.affine_transform(
        maps,
        matrix=(1, step, step, 1),
        offset=(0, first, first, 0),
        output_shape=(len(maps), size, size, maps.shape[-1]),
        order=1,
        mode="nearest",
    )


def _check_square(maps: np.ndarray) -> None:
    if maps.ndim != 4 or maps.shape[1] != maps.shape[2]:
        raise ValueError(
            f"Expected maps of shape (n, side, side, channels). Received: shape={maps.shape}"
        )


def mask_on_image(scores: np.ndarray) -> np.ndarray:
    """One map per image, on the pixels of the digit: mean over the mask's channels, `upsample`.

    The scores of a linear mask can be negative. A feature then passes with its sign changed; how
    much of it passes is `np.abs(scores)`.

    Args:
        scores: What `attention_maps` gives for one layer, shape `(n, side, side, mask_channels)`.

    Returns:
        Shape `(n, 28, 28)`, of the type of `scores`.

    Raises:
        ValueError: for scores of another shape.
    """
    _check_square(scores)
    # Averaged in double precision, so that scores that are all equal stay so to the last bit.
    mean = scores.mean(axis=-1, keepdims=True, dtype=np.float64).astype(scores.dtype)
    return upsample(mean)[..., 0]


# The ink


def ink(images: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The pixels of the strokes.

    Args:
        images: Clean digits, before any background is added: shape `(n, 28, 28)`, uint8 from 0 to
            255 or floats from 0 to 1.
        threshold: A pixel brighter than this, of 1, is ink.

    Returns:
        bool, shape `(n, 28, 28)`.

    Raises:
        ValueError: for images of another shape, type or range.
    """
    return _brightness(images) > threshold


def ink_on_grid(ink: np.ndarray, side: int) -> np.ndarray:
    """Which positions of a feature map of LeNet-5 stand on ink.

    A position stands for the pixels that are nearest to its centre (`centres`): one for C1, 2x2
    for S2 and C3, 4x4 for S4. If at least half of them are ink, so is the position. The grids of
    C3 and S4 leave out the outer four rows and columns of the digit.

    Args:
        ink: bool, shape `(n, 28, 28)`.
        side: Side of the map, a key of `STRIDE_OF_MAP`.

    Returns:
        bool, shape `(n, side, side)`.

    Raises:
        ValueError: for another `side`, or ink of another shape or type.
    """
    middle = centres(side)
    if ink.dtype != bool or ink.shape[1:] != (28, 28):
        raise ValueError(
            "Expected ink of type bool and shape (n, 28, 28). "
            f"Received: dtype={ink.dtype}, shape={ink.shape}"
        )
    stride = STRIDE_OF_MAP[side]
    first = int(middle[0] - (stride - 1) / 2)
    covered = slice(first, first + side * stride)
    cells = ink[:, covered, covered].reshape(len(ink), side, stride, side, stride)
    return cells.mean(axis=(2, 4)) >= 0.5


def _brightness(images: np.ndarray) -> np.ndarray:
    """Images as floats in [0, 1]; the same bits as in `network_input`."""
    check_images(images)
    return images / np.float32(255) if images.dtype == np.uint8 else images


# Scores of maps against the ink


def ink_auroc(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Probability that the map is higher at an ink pixel than at a background pixel; ties half.

    The area under the ROC curve of "ink" by map value, or the Mann-Whitney statistic: 1 if all
    ink is above all background, 0 if below, 1/2 for a constant map. Only the order counts.

    Args:
        maps: One map per image, finite, shape `(n, height, width)`.
        ink: bool, of the same shape.

    Returns:
        float64 in [0, 1], shape `(n,)`.

    Raises:
        ValueError: for arrays of another shape or type, a map that is not finite, or an image
            without ink or without background.
    """
    maps, ink = _flat(maps, ink)
    size = ink.sum(axis=1)
    ranks = stats.rankdata(maps, axis=1)
    above = np.where(ink, ranks, 0).sum(axis=1) - size * (size + 1) / 2
    return above / (size * (ink.shape[1] - size))


def relevance_mass(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Share of the map's sum that lies on ink.

    A constant map has the share of the image that is ink. So, by definition, has a map of zeros.

    Args:
        maps: As for `ink_auroc`, and nowhere negative.
        ink: See `ink_auroc`.

    Returns:
        float64 in [0, 1], shape `(n,)`.

    Raises:
        ValueError: if a map is negative anywhere, and as `ink_auroc`.

    Reference:
        "Relevance mass accuracy" of Arras, Osman, Samek: CLEVR-XAI, Information Fusion 81, 2022
        ([arXiv:2003.07258](https://arxiv.org/abs/2003.07258)), and so for `relevance_rank`.
    """
    maps, ink = _flat(maps, ink)
    lowest = maps.min(axis=1)
    if (lowest < 0).any():
        index = int(np.flatnonzero(lowest < 0)[0])
        raise ValueError(
            "Expected maps without negative values, or a share of their sum means nothing. "
            f"Received: map {index} goes down to {lowest[index]:g}. Of a linear mask take "
            "np.abs(scores), how much of a feature passes, or a score of the order alone: "
            "ink_auroc, relevance_rank, pointing_game"
        )
    total = maps.sum(axis=1)
    on_ink = np.where(ink, maps, 0).sum(axis=1)
    return np.divide(on_ink, total, out=ink.mean(axis=1), where=total > 0)


def relevance_rank(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Share of ink among the K highest pixels of the map, K being the number of ink pixels.

    Equal pixels on the border of the K highest count by their expectation under a random order.
    So a constant map has the share of the image that is ink.

    Args:
        maps: See `ink_auroc`.
        ink: See `ink_auroc`.

    Returns:
        float64 in [0, 1], shape `(n,)`.

    Raises:
        ValueError: see `ink_auroc`.

    Reference:
        See `relevance_mass`.
    """
    maps, ink = _flat(maps, ink)
    size = ink.sum(axis=1, keepdims=True)
    border = np.take_along_axis(np.sort(maps, axis=1), maps.shape[1] - size, axis=1)
    above, tied = maps > border, maps == border
    places = size[:, 0] - above.sum(axis=1)  # left for the pixels that are equal
    hits = (above & ink).sum(axis=1) + places * (tied & ink).sum(axis=1) / tied.sum(axis=1)
    return hits / size[:, 0]


def pointing_game(maps: np.ndarray, ink: np.ndarray) -> np.ndarray:
    """Whether the highest pixel of the map lies on ink. The mean is the share of such images.

    Args:
        maps: See `ink_auroc`.
        ink: See `ink_auroc`.

    Returns:
        float64, 1 or 0, shape `(n,)`; where several pixels are highest, the share of them that
        lies on ink.

    Raises:
        ValueError: see `ink_auroc`.

    Reference:
        Zhang, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop, ECCV
        2016 ([arXiv:1608.00507](https://arxiv.org/abs/1608.00507)); here without its tolerance.
    """
    maps, ink = _flat(maps, ink)
    highest = maps == maps.max(axis=1, keepdims=True)
    return (highest & ink).sum(axis=1) / highest.sum(axis=1)


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ink_auroc": ink_auroc,
    "relevance_mass": relevance_mass,
    "relevance_rank": relevance_rank,
    "pointing_game": pointing_game,
}
"""Name -> score of maps against the ink; more is better, 1 is perfect."""


def _flat(maps: np.ndarray, ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked maps (float64) and ink, both of shape (n, pixels)."""
    _check_finite(maps, ink.shape)
    _check_ink(ink)
    return maps.reshape(len(maps), -1).astype(np.float64), ink.reshape(len(ink), -1)


def _check_finite(maps: np.ndarray, shape: tuple[int, ...]) -> None:
    if maps.shape != shape:
        raise ValueError(f"Expected maps of shape {shape}. Received: shape={maps.shape}")
    bad = ~np.isfinite(maps).all(axis=(1, 2))
    if bad.any():
        raise ValueError(
            f"Expected maps of finite values. Received: map {int(np.flatnonzero(bad)[0])} with "
            f"NaN or infinity, and {int(bad.sum()) - 1} more such maps"
        )


def _check_ink(ink: np.ndarray) -> None:
    if ink.dtype != bool or ink.ndim != 3 or len(ink) == 0:
        raise ValueError(
            "Expected ink of type bool and shape (n, height, width) with n >= 1. "
            f"Received: dtype={ink.dtype}, shape={ink.shape}"
        )
    size, pixels = ink.sum(axis=(1, 2)), ink[0].size
    bad = (size == 0) | (size == pixels)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"Expected ink and background in every image. Received: image {index} with "
            f"{size[index]} of {pixels} pixels ink, and {int(bad.sum()) - 1} more such images"
        )


# Signal and noise of the features


def snr_gain_db(before: np.ndarray, after: np.ndarray, ink_on_grid: np.ndarray) -> np.ndarray:
    """How much a mask raises the signal-to-noise ratio of the features, in decibels.

    Signal and noise are the mean squared feature on ink and off ink, over positions and channels:

        SNR = 10 log10(mean of x^2 on ink / mean of x^2 off ink),    gain = SNR after - before.

    It is the paper's "signal to noise ratio" made a number. A mask that is one everywhere gains 0;
    one that is 1 on ink and 0.1 off it gains 20 dB.

    Args:
        before: Features in front of the mask, shape `(n, height, width, channels)`.
        after: Features behind it, of the same shape.
        ink_on_grid: bool, shape `(n, height, width)`; see `ink_on_grid`.

    Returns:
        float64, shape `(n,)`. Infinite where the mask removes all noise (+) or all signal (-).
        NaN where there is nothing to compare: the ratio is 0/0 on one side of the mask, or the
        same 0 or infinity on both (no noise to remove). Count these before taking a mean.

    Raises:
        ValueError: for arrays that do not fit each other, features that are not finite, or an
            image without ink or without background on this grid.
    """
    _check_ink(ink_on_grid)
    if before.shape != after.shape or before.ndim != 4 or before.shape[:3] != ink_on_grid.shape:
        raise ValueError(
            "Expected features before and after of one shape (n, height, width, channels), and ink "
            f"of shape (n, height, width). Received: shapes {before.shape}, {after.shape} and "
            f"{ink_on_grid.shape}"
        )
    with np.errstate(divide="ignore", invalid="ignore"):  # see Returns
        return _snr_db(after, ink_on_grid) - _snr_db(before, ink_on_grid)


def _snr_db(features: np.ndarray, ink: np.ndarray) -> np.ndarray:
    energy = np.einsum("nhwc,nhwc->nhw", features, features, dtype=np.float64)
    if not np.isfinite(energy).all():
        raise ValueError("Expected finite features. Received: NaN or infinity among them")
    signal, noise = (np.mean(energy, axis=(1, 2), where=where) for where in (ink, ~ink))
    return 10 * np.log10(signal / noise)


# Maps that need no network


def _edges(images: np.ndarray, seed: int = 0) -> np.ndarray:
    return np.stack([filters.sobel(image) for image in _brightness(images)])


def _centre(images: np.ndarray, seed: int = 0) -> np.ndarray:
    check_images(images)
    distance = np.arange(28) - 13.5
    profile = np.exp(-(distance**2) / (2 * CENTRE_DEVIATION**2))
    return np.tile(np.outer(profile, profile), (len(images), 1, 1))


def _random(images: np.ndarray, seed: int = 0) -> np.ndarray:
    check_images(images)
    return np.random.default_rng(seed).random(images.shape)


TRIVIAL_MAPS: dict[str, Callable[..., np.ndarray]] = {
    "brightness": lambda images, seed=0: _brightness(images),
    "edges": _edges,
    "centre": _centre,
    "random": _random,
}
"""Name -> function of the images (as the network sees them, background included) and a seed that
gives maps of shape `(n, 28, 28)` in [0, 1]: the image itself; the size of its Sobel gradient; a
Gaussian around the middle, alike for all images (see `CENTRE_DEVIATION`); uniform noise, the only
one that depends on the seed.

The fifth, the untrained network, is `mask_on_image` of the `attention_maps` of
`build_model(protocol)`.
"""


# What the network makes of the map's order


def deletion(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    maps: np.ndarray,
    steps: int = 28,
    baseline: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Area under the true class's probability as pixels go, the highest of the map first.

    Small if the map ranks first what the network needs. See `perturbation_curves` for the
    arguments, the order of equal pixels and errors.

    Returns:
        float64 in [0, 1], shape `(n,)`: trapezoids over the share of pixels that are gone.

    Reference:
        Petsiuk, Das, Saenko: RISE, BMVC 2018
        ([arXiv:1806.07421](https://arxiv.org/abs/1806.07421)), and so for `insertion`.
    """
    return _area(*perturbation_curves(model, images, labels, maps, False, steps, baseline))


def insertion(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    maps: np.ndarray,
    steps: int = 28,
    baseline: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Area under the true class's probability as pixels come in, the highest of the map first.

    Large if the map ranks first what the network needs. Otherwise as `deletion`.
    """
    return _area(*perturbation_curves(model, images, labels, maps, True, steps, baseline))


def perturbation_curves(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    maps: np.ndarray,
    insert: bool,
    steps: int = 28,
    baseline: float | np.ndarray = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The true class's probability while pixels change in the order of the map.

    Args:
        model: A network from `(batch, 32, 32, 1)` to logits `(batch, classes)`.
        images: Shape `(n, 28, 28)`, uint8 from 0 to 255 or floats from 0 to 1.
        labels: True classes, integers from 0, shape `(n,)`.
        maps: Finite, shape `(n, 28, 28)`. The highest pixel is the first; equal ones go row by
            row from the top left, so the result is the same each time.
        insert: Whether pixels come into an image of `baseline` or go out of `images`.
        steps: Number of equal steps, from 1 to 784. Each costs a forward pass of all images.
        baseline: Brightness of what is not there, in [0, 1]: a number, 0 being MNIST's
            background, or images to be seen in its place (broadcast to `(n, 28, 28)`).

    Returns:
        Shares of the pixels that have changed, from 0 to 1, shape `(steps + 1,)`; and the
        probabilities at these, float64, shape `(n, steps + 1)`.

    Raises:
        ValueError: for arrays that do not fit each other, labels that are no classes of the model,
            or another `steps` or `baseline`.
    """
    images = _brightness(images)
    _check_finite(maps, images.shape)
    _check_classes(labels, len(images), model.output_shape[-1])
    pixels = images[0].size
    if not 1 <= steps <= pixels:
        raise ValueError(f"Expected steps from 1 to {pixels}. Received: steps={steps!r}")
    missing = np.broadcast_to(np.asarray(baseline, images.dtype), images.shape)
    low, high = float(missing.min()), float(missing.max())
    if not 0 <= low <= high <= 1:  # false for NaN, too
        raise ValueError(
            f"Expected baseline to lie in [0, 1]. Received: values from {low:g} to {high:g}"
        )

    start, end = (missing, images) if insert else (images, missing)
    changed = np.rint(np.linspace(0, pixels, steps + 1)).astype(int)
    curves = np.empty((len(images), steps + 1))
    for first in range(0, len(images), _BATCH):
        part = slice(first, first + _BATCH)
        place = _places(maps[part])
        for step, count in enumerate(changed):
            seen = np.where(place < count, end[part], start[part])
            curves[part, step] = _probability(model, seen, labels[part])
    return changed / pixels, curves


def _check_classes(labels: np.ndarray, count: int, classes: int) -> None:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"Expected {count} integer labels, one per image. "
            f"Received: dtype={labels.dtype}, shape={labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"Expected labels from 0 to {classes - 1}. "
            f"Received: values from {labels.min()} to {labels.max()}"
        )


def _places(maps: np.ndarray) -> np.ndarray:
    """Place of each pixel in the order of its map, from 0; of equal ones the first comes first."""
    descending = -maps.reshape(len(maps), -1).astype(np.float64)
    order = np.argsort(descending, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return places.reshape(maps.shape)


def _probability(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the network gives the true class of each image, from 0 to 1."""
    logits = keras.ops.convert_to_numpy(model(network_input(images), training=False))
    return special.softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def _area(shares: np.ndarray, curves: np.ndarray) -> np.ndarray:
    return integrate.trapezoid(curves, shares, axis=1)
