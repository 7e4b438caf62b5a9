"""From stored digits to the network's input: padding, flip and shift."""

import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from .protocol import CANVAS


def network_input(images: np.ndarray, canvas: int = CANVAS) -> np.ndarray:
    """Digits as the network sees them without augmentation.

    Args:
        images: Shape `(n, 28, 28)`, uint8 from 0 to 255 or floats from 0 to 1.
        canvas: Side of the network's input in pixels.

    Returns:
        float32 in [0, 1], shape `(n, canvas, canvas, 1)`: the digit in the middle of zeros.
    """
    scale = 255 if images.dtype == np.uint8 else 1
    margin = (canvas - images.shape[1]) // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin)))
    return padded[..., None].astype("float32") / np.float32(scale)


def augmentation_table(images: np.ndarray, shift: int, canvas: int = CANVAS) -> np.ndarray:
    """Digits with so wide a margin that every shift is a crop. See `augment`.

    Args:
        images: Shape `(n, 28, 28)`, uint8 or float.
        shift: The largest shift in pixels.
        canvas: Side of the network's input in pixels.

    Returns:
        The images, padded with zeros to `(n, canvas + 2 shift, canvas + 2 shift)`.
    """
    margin = (canvas - images.shape[1]) // 2 + shift
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin)))


def augment(table, order, flip, shift, canvas: int = CANVAS):
    """Take images from the table, mirror and shift them: one gather, on any Keras backend.

    For a compiled program that holds the table, as `lanes`; see `augmented` for a whole epoch.

    Args:
        table: Tensor made of `augmentation_table`, shape `(n, side, side)`.
        order: Which images, integers, shape `(batch,)`.
        flip: Which of them to mirror left to right, bool, shape `(batch,)`.
        shift: Rows down and columns right to move them by, int32, shape `(batch, 2)`.
        canvas: Side of the network's input in pixels.

    Returns:
        float32 in [0, 1], shape `(batch, canvas, canvas, 1)`.
    """
    side = table.shape[1]
    largest_shift = (side - canvas) // 2
    pixels = ops.arange(canvas, dtype="int32")
    rows = pixels[None, :] + largest_shift - shift[:, :1]
    columns = pixels[None, :] + largest_shift - shift[:, 1:]
    columns = ops.where(flip[:, None], side - 1 - columns, columns)
    first = ops.cast(order, "int32")[:, None, None] * (side * side)
    positions = first + rows[:, :, None] * side + columns[:, None, :]
    return scaled(ops.take(ops.reshape(table, (-1,)), positions)[..., None])


def augmented(
    table: np.ndarray,
    order: np.ndarray,
    flip: np.ndarray,
    shift: np.ndarray,
    canvas: int = CANVAS,
) -> np.ndarray:
    """What `augment` gives before scaling, by NumPy: a whole epoch in a seventh of its time.

    Args:
        table: What `augmentation_table` gives.
        order: See `augment`, and so for `flip` and `shift`.
        flip: Which images to mirror.
        shift: How far to move them.
        canvas: Side of the network's input in pixels.

    Returns:
        Pixels of the table's type, shape `(len(order), canvas, canvas, 1)`.
    """
    crops = sliding_window_view(table, (canvas, canvas), axis=(1, 2))
    largest_shift = (table.shape[1] - canvas) // 2
    down, right = shift.T
    # Mirrored after it is cut out, an image must be cut out as far on the other side.
    images = crops[order, largest_shift - down, largest_shift + np.where(flip, right, -right)]
    images[flip] = images[flip, :, ::-1]
    return images[..., None]


def scaled(images):
    """Pixels as float32 in [0, 1], on any Keras backend: bytes are divided by 255."""
    is_bytes = "uint8" in str(images.dtype)
    return ops.cast(images, "float32") / (255.0 if is_bytes else 1.0)


def brightened(images, factor):
    """Scale images in [0, 1], shape `(batch, side, side, 1)`, by a factor each; white stays 1."""
    return ops.minimum(images * factor[:, None, None, None], 1.0)
