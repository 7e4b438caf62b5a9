"""Attention maps: out of a model, and onto the image."""

import keras
import numpy as np
from scipy import ndimage

from .augmentation import network_input
from .data import check_images
from .layers import AttentionMask1x1

STRIDE_OF_MAP = {28: 1, 14: 2, 10: 2, 5: 4}
"""Side of a feature map of LeNet-5 (C1, S2, C3, S4) -> pixels from one position to the next."""

_BATCH = 500


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
    check_images(images)
    masks = {layer.name: layer for layer in model.layers if isinstance(layer, AttentionMask1x1)}
    if not masks:
        names = [layer.name for layer in model.layers]
        raise ValueError(
            "Expected a model with an AttentionMask1x1 layer. "
            f"Received: {model.name!r} with the layers {names}"
        )
    # What goes into a mask; the mask itself is then asked for its scores.
    features = keras.Model(model.input, {name: layer.input for name, layer in masks.items()})
    parts = {name: [] for name in masks}
    for start in range(0, len(images), _BATCH):
        maps = features(network_input(images[start : start + _BATCH]), training=False)
        for name, layer in masks.items():
            _, scores = layer(maps[name], return_attention_scores=True)
            parts[name].append(keras.ops.convert_to_numpy(scores).astype("float32"))
    return {name: np.concatenate(scores) for name, scores in parts.items()}


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
    if maps.ndim != 4 or maps.shape[1] != maps.shape[2]:
        raise ValueError(
            f"Expected maps of shape (n, side, side, channels). Received: shape={maps.shape}"
        )
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
