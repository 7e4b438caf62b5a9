"""The digits, checked and cached, and the plan of each training epoch. Needs NumPy only.

TensorFlow Datasets and scikit-learn are imported inside the one function that needs each.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import platformdirs

from .files import DAMAGE, write_atomically
from .protocol import DatasetName, Protocol, choices
from .quiet import silenced_stderr

MNIST_FILES = dict(
    line.split()[::-1]
    for line in """
    440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  train-images-idx3-ubyte.gz
    3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  train-labels-idx1-ubyte.gz
    8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  t10k-images-idx3-ubyte.gz
    f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  t10k-labels-idx1-ubyte.gz
    """.strip().splitlines()
)
"""The four canonical files and their SHA-256, as TensorFlow Datasets publishes them."""

MNIST_DIGEST = "eb6487c20af551c6c6aace75cf11ee0d533a99469ed9d8413eabf6be9cd8607d"
"""`Dataset.digest` of MNIST in the order in which TensorFlow Datasets 3.0.1 keeps it."""

TRAIN_SIZE = {"mnist": 60_000, "uci": 1_437}
"""Training images of each dataset."""

MNIST_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
"""Where TensorFlow Datasets fetches the four files."""

UCI_BANNER = "embedded UCI digits, not MNIST"
"""Stands on every figure and notebook that fell back to the digits inside scikit-learn."""

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


class MnistUnavailable(OSError):
    """MNIST is neither cached, nor in a folder of the user's, nor can it be downloaded."""


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
            _check_labels(labels, f"{split}_labels", len(images))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over the four arrays: their type, shape and bytes, in order."""
        digest = hashlib.sha256()
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array)
        return digest.hexdigest()

    def described(self) -> dict:
        """What a record says of the digits."""
        return {
            "name": self.name,
            "digest": self.digest,
            "train_size": len(self.train_labels),
            "test_size": len(self.test_labels),
        }

    @property
    def banner(self) -> str:
        """What every display of these digits must say: empty for MNIST."""
        return UCI_BANNER if self.name == "uci" else ""


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Check a stack of 28x28 images in [0, 1] (floats) or 0..255 (uint8).

    Raises:
        ValueError: saying what was expected and what came.
    """
    if images.ndim != 3 or images.shape[1:] != (28, 28) or len(images) == 0:
        raise ValueError(
            f"Expected {name} of shape (n, 28, 28) with n >= 1. Received: shape={images.shape}"
        )
    if images.dtype == np.uint8:
        return
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"Expected {name} of type uint8 or float. Received: dtype={images.dtype}")
    if np.isnan(images).any():
        count = int(np.isnan(images).sum())
        raise ValueError(f"Expected {name} without NaN pixels. Received: {count} of them")
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"Expected {name} of type {images.dtype} to lie in [0, 1]. "
            f"Received: values from {low:g} to {high:g}. Divide by 255?"
        )


def _check_labels(labels: np.ndarray, name: str, count: int) -> None:
    if labels.shape != (count,):
        raise ValueError(
            f"Expected {name} of shape ({count},), one per image. Received: shape={labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"Expected {name} of integer type. Received: dtype={labels.dtype}")
    if labels.min() < 0 or labels.max() > 9:
        raise ValueError(
            f"Expected {name} from 0 to 9. Received: values from {labels.min()} to {labels.max()}"
        )


def load_dataset(name: str = "mnist", *, fallback: bool = False) -> Dataset:
    """Load the digits.

    `"mnist"`: 60,000 + 10,000 images through TensorFlow Datasets, from the folder that
    `MNIST_ATTENTION_DATA` names or by download, and from then on from a cache (`cache_folder`).
    `"uci"`: 1,437 + 360 handwritten digits that scikit-learn ships, enlarged from 8x8 to 28x28.

    Args:
        name: `"mnist"` or `"uci"`.
        fallback: Whether to return `"uci"`, with a loud notice on stderr, where MNIST is not to
            be had. Where `MNIST_ATTENTION_DATA` is set, what is wrong there is an error all the
            same.

    Raises:
        ValueError: for an unknown name.
        OSError: if a file is missing or damaged, or MNIST cannot be downloaded.
    """
    if name == "uci":
        return _load_uci()
    if name != "mnist":
        raise ValueError(
            f"Expected a dataset among {choices(DatasetName)}. Received: name={name!r}"
        )
    try:
        return _load_mnist()
    except MnistUnavailable as error:
        if not fallback:
            raise
        notice = f"MNIST IS NOT AVAILABLE: USING THE {UCI_BANNER.upper()}"
        print(f"{'=' * 72}\n{notice}\n{error}\n{'=' * 72}", file=sys.stderr)
        return _load_uci()


def cache_folder() -> Path:
    """Where MNIST is cached: `MNIST_ATTENTION_CACHE`, or the user's cache folder."""
    return Path(
        os.environ.get("MNIST_ATTENTION_CACHE") or platformdirs.user_cache_path("mnist-attention")
    )


def _load_mnist() -> Dataset:
    """MNIST from the cache; first, or when the cache is damaged, through TensorFlow Datasets."""
    source = os.environ.get("MNIST_ATTENTION_DATA") or None
    if source:
        _check_files(Path(source))
    cache = cache_folder() / "mnist-3.0.1.npz"
    if cache.exists():
        cached = _read_cache(cache)
        if cached is not None:
            return cached
        print(f"{cache} is damaged and is made anew.", file=sys.stderr)
    dataset = _prepare_mnist(source)
    # np.savez wants a real file to seek in; the archive is small enough to build in memory.
    archive = io.BytesIO()
    np.savez(archive, **{name: getattr(dataset, name) for name in _ARRAYS})
    write_atomically(cache, lambda file: file.write(archive.getbuffer()))
    return dataset


def _read_cache(path: Path) -> Dataset | None:
    """The cached MNIST, or `None` if a single bit of it is not as it should be."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            dataset = Dataset("mnist", **{name: archive[name] for name in _ARRAYS})
    except DAMAGE:
        return None
    return dataset if dataset.digest == MNIST_DIGEST else None


def _check_files(folder: Path) -> None:
    """Check the four files of a folder that the user names.

    Raises:
        OSError: naming the first file that is missing, or is not byte for byte the canonical one.
    """
    for name, expected in MNIST_FILES.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. MNIST_ATTENTION_DATA must name a folder with "
                f"{', '.join(MNIST_FILES)}."
            )
        received = hashlib.sha256(path.read_bytes()).hexdigest()
        if received != expected:
            raise OSError(
                f"{path} is damaged: expected SHA-256 {expected}, received {received} "
                f"({path.stat().st_size:,} bytes). Fetch the file again, or unset "
                "MNIST_ATTENTION_DATA to let the project download it."
            )


def _prepare_mnist(source: str | None) -> Dataset:
    """MNIST through TensorFlow Datasets, which checks the sums of what it reads."""
    origin = source or "the network"
    print(f"Preparing MNIST from {origin}, once; about half a minute ...", file=sys.stderr)
    try:
        with silenced_stderr(), contextlib.redirect_stdout(io.StringIO()):
            train, test = _splits_from_tfds(source)
    except Exception as error:  # TFDS and its network layers raise many kinds
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"
        if source:  # the digits are there: others in their place would be a surprise
            raise OSError(f"MNIST could not be prepared from {source} ({reason}).") from error
        raise MnistUnavailable(
            f"MNIST could not be downloaded ({reason}). Connect to the network, or set "
            "MNIST_ATTENTION_DATA to a folder with the four canonical .gz files, or use the "
            "embedded digits: dataset 'uci'."
        ) from error
    dataset = Dataset(
        "mnist",
        train["image"][..., 0],
        train["label"].astype(np.uint8),
        test["image"][..., 0],
        test["label"].astype(np.uint8),
    )
    if dataset.digest != MNIST_DIGEST:
        raise OSError(
            f"TensorFlow Datasets gave other images, or another order, than MNIST 3.0.1: expected "
            f"digest {MNIST_DIGEST}, received {dataset.digest}. Install the versions of "
            "requirements.lock."
        )
    return dataset


def _splits_from_tfds(source: str | None) -> tuple[dict, dict]:
    if source is None:
        # TensorFlow Datasets tries for minutes before it says that there is no network.
        probe = urllib.request.Request(MNIST_ADDRESS + next(iter(MNIST_FILES)), method="HEAD")
        urllib.request.urlopen(probe, timeout=10).close()
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        builder = tfds.builder("mnist", data_dir=folder)
        config = tfds.download.DownloadConfig(manual_dir=source)
        builder.download_and_prepare(download_config=config)
        return tfds.as_numpy(builder.as_dataset(split=["train", "test"], batch_size=-1))


def _load_uci() -> Dataset:
    """The UCI digits inside scikit-learn: 8x8 with 17 grey levels, enlarged bilinearly."""
    from scipy import ndimage
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # grid_mode keeps the outer edges of the image in place, as one expects of an enlarged image.
    enlarged = ndimage.zoom(
        digits.images * (255 / 16), (1, 3.5, 3.5), order=1, mode="nearest", grid_mode=True
    )
    images = np.rint(enlarged).astype(np.uint8)
    labels = digits.target.astype(np.uint8)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    return Dataset("uci", images[train], labels[train], images[test], labels[test])


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
    """The plan of epoch `epoch` (from 0): a pure function of the protocol's seed and the epoch.

    Protocols that differ in model, rate or batch size share it, so their runs are paired; with
    `flip=False` or `shift=0` the other draws stay as they were.

    Args:
        protocol: Its `dataset`, `seed`, `flip`, `shift`, `brightness` and `reshuffle` matter.
        epoch: Number of the epoch, from 0.
        size: Number of training images; by default that of the protocol's dataset.
    """
    size = size or TRAIN_SIZE[protocol.dataset]
    generator = np.random.default_rng([protocol.seed, epoch])
    order = generator.permutation(size).astype(np.int32)
    flip = generator.random(size) < 0.5
    shift = generator.integers(-protocol.shift, protocol.shift + 1, (size, 2), dtype=np.int32)
    brightness = 1 + protocol.brightness * generator.uniform(-1, 1, size).astype(np.float32)
    if not protocol.reshuffle:
        first = np.random.default_rng([protocol.seed, 0])
        order = first.permutation(size).astype(np.int32)
    flip = flip if protocol.flip else np.zeros_like(flip)
    return EpochPlan(order, flip, shift, brightness.astype(np.float32))
