"""The digits, the plan of each training epoch, and the way to the network's input."""

import dataclasses
import functools
import hashlib
import sys

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .checks import expect, lookup
from .protocol import CANVAS, Protocol
from .storage.mnist import MnistUnavailable, load_mnist
from .storage.uci import load_uci

TRAIN_SIZE = {"mnist": 60_000, "uci": 1_437}

UCI_BANNER = "embedded UCI digits, not MNIST"
"""Stands on every figure and notebook that fell back to the digits inside scikit-learn."""

INK = 0.5
"""A pixel brighter than this, of 1, is ink."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Digits for training and testing.

    Args:
        name: "mnist" or "uci".
        train_images: Shape `(n, 28, 28)`; uint8 from 0 to 255, or floats from 0 to 1.
        train_labels: Shape `(n,)`, integers from 0 to 9.
        test_images: Like `train_images`.
        test_labels: Like `train_labels`.

    Raises:
        ValueError: if an array has another shape, type or range, or a pixel is NaN.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self):
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            check_images(images, f"{split}_images")
            check_labels(labels, f"{split}_labels", len(images), 10)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the name, type, shape and bytes of each of the four arrays, in order."""
        digest = hashlib.sha256()
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array)
        return digest.hexdigest()

    def to_json(self) -> dict:
        """The digits' entry in a record."""
        sizes = {"train_size": len(self.train_labels), "test_size": len(self.test_labels)}
        return {"name": self.name, "digest": self.digest, **sizes}

    @property
    def banner(self) -> str:
        """The notice that every display of these digits shows; empty for MNIST."""
        return UCI_BANNER if self.name == "uci" else ""


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raise ValueError unless these are 28x28 images in [0, 1] (floats) or 0..255 (uint8)."""
    shape, dtype = images.shape, images.dtype
    is_stack = len(shape) == 3 and shape[1:] == (28, 28) and shape[0] > 0
    expect(is_stack, f"{name} of shape (n, 28, 28) with n >= 1", f"shape={shape}")
    if dtype == np.uint8:
        return
    is_float = np.issubdtype(dtype, np.floating)
    expect(is_float, f"{name} of type uint8 or float", f"dtype={dtype}")
    low, high = float(images.min()), float(images.max())  # NaN if one pixel is
    expect(low == low, f"{name} without NaN pixels", f"{np.isnan(images).sum()} of them")
    received = f"values from {low:g} to {high:g}. Divide by 255?"
    expect(0 <= low <= high <= 1, f"{name} of type {dtype} to lie in [0, 1]", received)


def check_labels(labels: np.ndarray, name: str, count: int, classes: int) -> None:
    """Raise ValueError unless these are `count` integers from 0 to `classes - 1`."""
    shape, dtype = labels.shape, labels.dtype
    expect(shape == (count,), f"{name} of shape ({count},), one per image", f"shape={shape}")
    expect(np.issubdtype(dtype, np.integer), f"{name} of integer type", f"dtype={dtype}")
    low, high = labels.min(), labels.max()
    received = f"values from {low} to {high}"
    expect(0 <= low <= high < classes, f"{name} from 0 to {classes - 1}", received)


def load_dataset(name: str = "mnist", *, fallback: bool = False) -> Dataset:
    """Load the digits.

    `"mnist"`: 60,000 + 10,000 images in the order of TensorFlow Datasets, from the folder that
    `MNIST_ATTENTION_DATA` names, from the cache, or by download.
    `"uci"`: 1,437 + 360 handwritten digits that scikit-learn ships, enlarged from 8x8 to 28x28.

    Args:
        name: `"mnist"` or `"uci"`.
        fallback: Whether to return `"uci"`, with a loud notice on stderr, where MNIST cannot be
            downloaded. What is wrong in the folder `MNIST_ATTENTION_DATA` remains an error.

    Raises:
        ValueError: for an unknown name.
        OSError: if a file is missing or damaged, or MNIST cannot be downloaded.
    """
    lookup("name", name, TRAIN_SIZE)
    if name == "mnist":
        try:
            return Dataset("mnist", **load_mnist())
        except MnistUnavailable as error:
            if not fallback:
                raise
            notice = f"MNIST IS NOT AVAILABLE: USING THE {UCI_BANNER.upper()}"
            print(f"{'=' * 72}\n{notice}\n{error}\n{'=' * 72}", file=sys.stderr)
    return Dataset("uci", **load_uci())


@dataclasses.dataclass(frozen=True, eq=False)
class EpochPlan:
    """Everything random about one epoch. Row k belongs to the k-th image that is fed.

    Attributes:
        order: Indices into the training images, a permutation, int32, shape `(n,)`.
        flip: Whether that image is mirrored left to right, bool, shape `(n,)`.
        shift: Rows down and columns right that it is moved, int32, shape `(n, 2)`.
        brightness: Factor by which its pixels are scaled, float32, shape `(n,)`.
    """

    order: np.ndarray
    flip: np.ndarray
    shift: np.ndarray
    brightness: np.ndarray


def epoch_plan(protocol: Protocol, epoch: int, size: int | None = None) -> EpochPlan:
    """Draw the plan of epoch `epoch`: a pure function of the protocol's seed and the epoch.

    Protocols that differ in model, rate or batch size share it, so their runs are paired; with
    `flip=False` or `shift=0` the other draws stay as they were.

    Args:
        protocol: Its `dataset`, `seed`, `flip`, `shift`, `brightness` and `reshuffle` matter.
        epoch: Number of the epoch, from 0.
        size: Number of training images; by default that of the protocol's dataset.
    """
    size = size or TRAIN_SIZE[protocol.dataset]
    generator = np.random.default_rng([protocol.seed, epoch])
    order = generator.permutation(size)
    flip = generator.random(size) < 0.5
    shift = generator.integers(-protocol.shift, protocol.shift + 1, (size, 2), dtype=np.int32)
    brightness = 1 + protocol.brightness * generator.uniform(-1, 1, size).astype(np.float32)
    if not protocol.reshuffle:
        order = np.random.default_rng([protocol.seed, 0]).permutation(size)
    flip &= protocol.flip
    return EpochPlan(order.astype(np.int32), flip, shift, brightness)


# From stored digits to the network's input: padding, flip and shift


def network_input(images: np.ndarray, canvas: int = CANVAS) -> np.ndarray:
    """Digits as in `Dataset`, padded with zeros: float32 in [0, 1], `(n, canvas, canvas, 1)`."""
    return augmentation_table(brightness(images), 0, canvas)[..., None].astype("float32")


def augmentation_table(images: np.ndarray, shift: int, canvas: int = CANVAS) -> np.ndarray:
    """Pad digits to `(n, side, side)`, side = canvas + 2 shift: every shift is then a crop."""
    room = canvas - images.shape[1]
    expect(room >= 0 and room % 2 == 0, "an even canvas of at least 28 pixels", f"{canvas=}")
    margin = room // 2 + shift
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin)))


def augment(table, order, flip, shift, canvas: int = CANVAS):
    """Take images from the table, mirror and shift them: one gather, on any Keras backend.

    For a compiled program that holds the table; see `augment_epoch` for a whole epoch.

    Args:
        table: Tensor made of `augmentation_table`, shape `(n, side, side)`.
        order: Which images, integers, shape `(batch,)`.
        flip: Which of them to mirror left to right, bool, shape `(batch,)`.
        shift: Rows down and columns right to move them by, int32, shape `(batch, 2)`.
        canvas: Side of the network's input in pixels.

    Returns:
        float32 in [0, 1], shape `(batch, canvas, canvas, 1)`.
    """
    from keras import ops  # here: reading records needs no Keras

    side = table.shape[1]
    pixels = ops.arange(canvas, dtype="int32")[None, :] + (side - canvas) // 2
    rows, columns = pixels - shift[:, :1], pixels - shift[:, 1:]
    columns = ops.where(flip[:, None], side - 1 - columns, columns)
    first = ops.cast(order, "int32")[:, None, None] * (side * side)
    positions = first + rows[:, :, None] * side + columns[:, None, :]
    return scale_pixels(ops.take(ops.reshape(table, (-1,)), positions)[..., None])


def augment_epoch(
    table: np.ndarray, order: np.ndarray, flip: np.ndarray, shift: np.ndarray, canvas: int = CANVAS
) -> np.ndarray:
    """`augment` before scaling, by NumPy: a whole epoch in a seventh of its time.

    Takes an array where `augment` takes a tensor. Returns pixels of the table's type.
    """
    crops = sliding_window_view(table, (canvas, canvas), axis=(1, 2))
    largest_shift = (table.shape[1] - canvas) // 2
    down, right = shift.T
    # The crop is mirrored afterwards, so its shift to the right is mirrored beforehand.
    images = crops[order, largest_shift - down, largest_shift + np.where(flip, right, -right)]
    images[flip] = images[flip, :, ::-1]
    return images[..., None]


def scale_pixels(images):
    """Pixels as float32 in [0, 1], on any Keras backend: bytes are divided by 255."""
    from keras import ops

    return ops.cast(images, "float32") / (255.0 if "uint8" in str(images.dtype) else 1.0)


def scale_brightness(images, factor):
    """Scale images in [0, 1], shape `(batch, side, side, 1)`, by a factor each; white stays 1."""
    from keras import ops

    return ops.minimum(images * factor[:, None, None, None], 1.0)


def brightness(images: np.ndarray) -> np.ndarray:
    """Images of shape `(n, 28, 28)` as floats from 0 to 1; see `check_images`."""
    check_images(images)
    return images / np.float32(255) if images.dtype == np.uint8 else images


def ink(images: np.ndarray) -> np.ndarray:
    """The pixels of the strokes of clean digits, brighter than `INK`: bool, `(n, 28, 28)`."""
    return brightness(images) > INK
