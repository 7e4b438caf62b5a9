"""MNIST as four arrays: prepared once through TensorFlow Datasets, checked, and cached."""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import platformdirs

from .files import DAMAGE, write_atomically
from .quiet import silence_stderr

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

MNIST_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
"""Where TensorFlow Datasets fetches the four files."""

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


class MnistUnavailable(OSError):
    """MNIST is neither cached, nor in a folder of the user's, nor can it be downloaded."""


def cache_folder() -> Path:
    """Where MNIST is cached: `MNIST_ATTENTION_CACHE`, or the user's cache folder."""
    return Path(
        os.environ.get("MNIST_ATTENTION_CACHE") or platformdirs.user_cache_path("mnist-attention")
    )


def digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the four arrays: their name, type, shape and bytes, in the order of `ARRAYS`."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()


def load_mnist() -> dict[str, np.ndarray]:
    """MNIST from the cache; first, or when that is damaged, through TensorFlow Datasets."""
    source = os.environ.get("MNIST_ATTENTION_DATA") or None
    if source:
        _check_files(Path(source))
    cache = cache_folder() / "mnist-3.0.1.npz"
    if cache.exists():
        cached = _read_cache(cache)
        if cached is not None:
            return cached
        print(f"{cache} is damaged and is made anew.", file=sys.stderr)
    arrays = _prepare_mnist(source)
    # np.savez wants a real file to seek in; the archive is small enough to build in memory.
    archive = io.BytesIO()
    np.savez(archive, **arrays)
    write_atomically(cache, lambda file: file.write(archive.getbuffer()))
    return arrays


def _read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """The cached MNIST, or `None` if a single bit of it is not as it should be."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ARRAYS}
    except DAMAGE:
        return None
    return arrays if digest_of_arrays(arrays) == MNIST_DIGEST else None


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


def _prepare_mnist(source: str | None) -> dict[str, np.ndarray]:
    """MNIST through TensorFlow Datasets, which checks the sums of what it reads."""
    origin = source or "the network"
    print(f"Preparing MNIST from {origin}, once; about half a minute ...", file=sys.stderr)
    try:
        with silence_stderr(), contextlib.redirect_stdout(io.StringIO()):
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
    arrays = {
        "train_images": train["image"][..., 0],
        "train_labels": train["label"].astype(np.uint8),
        "test_images": test["image"][..., 0],
        "test_labels": test["label"].astype(np.uint8),
    }
    if (digest := digest_of_arrays(arrays)) != MNIST_DIGEST:
        raise OSError(
            f"TensorFlow Datasets gave other images, or another order, than MNIST 3.0.1: expected "
            f"digest {MNIST_DIGEST}, received {digest}. Install the versions of "
            "requirements.lock."
        )
    return arrays


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
