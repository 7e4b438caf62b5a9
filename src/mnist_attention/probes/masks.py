"""What a network's masks show of its images, and what the network makes of their order."""

from collections.abc import Iterable, Iterator

import keras
import numpy as np
from scipy import integrate, special

from ..data import brightness, check_images, network_input
from ..layers import AttentionMask1x1
from ..models import logits
from .scores import check_maps, ink_on_grid, mask_on_image, short_name, snr_gain_db

_BATCH = 500  # images at once, which bounds the memory


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
    return _joined(
        {name: scores for name, (_, _, scores) in around.items()}
        for _, around in _around_masks(model, images)
    )


def maps_on_image(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """What `attention_maps` gives, laid onto the image by `scores.mask_on_image`.

    Returns:
        What the mask stands behind, "C1" for `c1_attention` -> shape `(n, 28, 28)`.
    """
    maps = attention_maps(model, images)
    return {short_name(layer): mask_on_image(scores) for layer, scores in maps.items()}


def mask_layers(model: keras.Model) -> dict[str, AttentionMask1x1]:
    """The masks of a model, by name. A model inside it is not looked into: pass that one itself.

    Raises:
        ValueError: if it has none; the message names the layers that it has.
    """
    masks = {layer.name: layer for layer in model.layers if isinstance(layer, AttentionMask1x1)}
    if not masks:
        raise ValueError(
            "Expected a model with an AttentionMask1x1 layer. "
            f"Received: {model.name!r} with the layers {[layer.name for layer in model.layers]}"
        )
    return masks


def snr_gain(model: keras.Model, images: np.ndarray, ink: np.ndarray) -> dict[str, np.ndarray]:
    """How much every mask raises the signal-to-noise ratio of features; see `scores.snr_gain_db`.

    Args:
        model: LeNet-5 with at least one `AttentionMask1x1`.
        images: What the network sees, as for `attention_maps`.
        ink: The ink of the clean digits, bool, of the same shape.

    Returns:
        Name of the layer -> gain in decibels, float64 of shape `(n,)`, where it is not finite as
        `scores.snr_gain_db` says.

    Raises:
        ValueError: as `attention_maps`, `scores.ink_on_grid` and `scores.snr_gain_db`, and if
            images and ink do not fit each other.
    """
    if ink.shape != images.shape:
        raise ValueError(f"Expected ink of shape {images.shape}. Received: shape={ink.shape}")
    return _joined(
        {
            name: snr_gain_db(before, after, ink_on_grid(ink[part], before.shape[1]))
            for name, (before, after, _) in around.items()
        }
        for part, around in _around_masks(model, images)
    )


def _around_masks(
    model: keras.Model, images: np.ndarray
) -> Iterator[tuple[slice, dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """Batch by batch: name of the mask -> features before and after it, and its scores."""
    check_images(images)
    masks = mask_layers(model)
    # What goes into a mask; the mask itself is then asked for the rest.
    features = keras.Model(model.input, {name: layer.input for name, layer in masks.items()})
    for part in _batches(len(images)):
        before = features(network_input(images[part], model.input_shape[1]), training=False)
        around = {
            name: (before[name], *layer(before[name], return_attention_scores=True))
            for name, layer in masks.items()
        }
        yield part, {name: tuple(map(_float32, found)) for name, found in around.items()}


def _float32(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor).astype("float32")


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + _BATCH) for start in range(0, count, _BATCH))


def _joined(parts: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    first, *others = parts
    return {name: np.concatenate([first[name], *(o[name] for o in others)]) for name in first}


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

    Small if the map ranks first what the network needs. For the arguments see
    `perturbation_curves`.

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
    images = brightness(images)
    check_maps(maps, images.shape)
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
    for part in _batches(len(images)):
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
    odds = special.softmax(logits(model, images).astype(np.float64), axis=1)
    return odds[np.arange(len(labels)), labels]


def _area(shares: np.ndarray, curves: np.ndarray) -> np.ndarray:
    return integrate.trapezoid(curves, shares, axis=1)
