"""MNIST as four arrays, from a folder of the user's or from a cache that a download fills."""

import contextlib
import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from pathlib import Path

import filelock
import numpy as np

from .files import require_writable, write_atomically
from .paths import user_path
from .quiet import silence_stderr

MNIST_FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""The four canonical files and the SHA-256 of what is in them, unpacked."""

MNIST_DIGEST = "eb6487c20af551c6c6aace75cf11ee0d533a99469ed9d8413eabf6be9cd8607d"
"""`Dataset.digest` of MNIST in the order in which TensorFlow Datasets 3.0.1 keeps it."""

MNIST_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"
"""Where TensorFlow Datasets fetches the four files."""


class MnistUnavailable(OSError):
    """MNIST is neither cached, nor in a folder of the user's, nor can it be downloaded."""


def mnist_folder() -> Path:
    """Where MNIST is read from: the folder `MNIST_ATTENTION_DATA`, or the cache."""
    source = os.environ.get("MNIST_ATTENTION_DATA")
    return user_path(source, "MNIST_ATTENTION_DATA") if source else cache_folder()


def cache_folder() -> Path:
    """Where MNIST is cached: `MNIST_ATTENTION_CACHE`, or the user's cache folder."""
    from platformdirs import user_cache_path  # here, as reading records does not need it

    try:
        folder = os.environ.get("MNIST_ATTENTION_CACHE") or user_cache_path("mnist-attention")
    except RuntimeError as error:
        raise OSError(
            f"Expected a home folder for the cache. Received: none ({error}). "
            "Set MNIST_ATTENTION_CACHE to another folder."
        ) from error
    return user_path(folder, "MNIST_ATTENTION_CACHE")


def load_mnist() -> dict[str, np.ndarray]:
    """Load MNIST, in the order of TensorFlow Datasets.

    Raises:
        OSError: for a bad file in `MNIST_ATTENTION_DATA`, or a cache that cannot be written.
        MnistUnavailable: if it is not cached and cannot be downloaded.
    """
    if os.environ.get("MNIST_ATTENTION_DATA"):
        contents = {name: _read_file(mnist_folder(), name) for name in MNIST_FILES}
        with contextlib.suppress(OSError):  # later loads may need the cache, this one does not
            if not all((cache_folder() / name).is_file() for name in MNIST_FILES):
                _fill_cache(contents)
    elif (contents := _read_cache()) is None:
        cache = require_writable(cache_folder(), "MNIST_ATTENTION_CACHE")
        # A second process or thread waits for the lock, then reads what the first one downloaded.
        with filelock.FileLock(cache / "mnist.lock"):
            if (contents := _read_cache()) is None:
                contents = _download()
                _fill_cache(contents)
    return _in_order_of_tfds(contents)


def _read_cache() -> dict[str, bytes] | None:
    try:
        return {name: _read_file(cache_folder(), name) for name in MNIST_FILES}
    except FileNotFoundError:
        return None
    except OSError as error:
        # What follows is advice for a folder of the user's.
        damage = str(error).partition(": expected")[0]
        print(f"{damage}. The cache is rebuilt.", file=sys.stderr)
        return None


def _fill_cache(contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        write_atomically(cache_folder() / name, content)


def _read_file(folder: Path, name: str) -> bytes:
    """The content of one of the four, unpacked, whatever it is called: its sum counts."""
    split, kind, _, _ = name.split("-")
    found = [*folder.glob(f"*{kind}*"), *folder.glob(f"*/*{kind}*")]
    likely_first = sorted(found, key=lambda path: (not path.name.startswith(split), path))
    sums = {}
    for path in filter(Path.is_file, likely_first):
        content = _unpack(path.read_bytes())
        sums[path] = hashlib.sha256(content).hexdigest()
        if sums[path] == MNIST_FILES[name]:
            return content
    for path in sums:
        if path.name.startswith(split):
            raise OSError(
                f"{path} is damaged or not of MNIST: expected SHA-256 {MNIST_FILES[name]} of its "
                f"content, received {sums[path]}. Fetch the file again, or unset "
                "MNIST_ATTENTION_DATA to let the project download it."
            )
    raise FileNotFoundError(
        f"{folder / name} is missing, as is {name}.gz. MNIST_ATTENTION_DATA must name a folder "
        f"with {', '.join(MNIST_FILES)}, each packed (.gz) or not."
    )


def _unpack(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        with contextlib.suppress(OSError, EOFError, zlib.error):  # its sum will tell
            return gzip.decompress(content)
    return content


def _download() -> dict[str, bytes]:
    """The four files through TensorFlow Datasets."""
    print("Downloading MNIST, once ...", file=sys.stderr)
    try:
        # After a failure other threads of TensorFlow Datasets may still write into the folder.
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with silence_stderr(), temporary as folder:
            import requests
            import tensorflow_datasets as tfds

            addresses = {name: f"{MNIST_ADDRESS}{name}.gz" for name in MNIST_FILES}
            # TensorFlow Datasets tries for minutes before it says that there is no network. It
            # uses the same library, so proxies and certificates are the same; any answer will do.
            requests.get(addresses["t10k-labels-idx1-ubyte"], stream=True, timeout=(10, 60)).close()
            tfds.disable_progress_bar()
            paths = tfds.download.DownloadManager(download_dir=folder).download(addresses)
            for name, path in paths.items():
                os.replace(path, Path(folder) / name)
            return {name: _read_file(Path(folder), name) for name in MNIST_FILES}
    except Exception as error:  # TFDS and its network layers raise many kinds
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}"
        raise MnistUnavailable(
            f"MNIST could not be downloaded ({reason}). Connect to the network, or set "
            "MNIST_ATTENTION_DATA to a folder with the four files, or use the embedded digits: "
            "dataset 'uci'."
        ) from error


def _in_order_of_tfds(contents: dict[str, bytes]) -> dict[str, np.ndarray]:
    """The arrays. TensorFlow Datasets sorts a split by the MD5 of its name and the index."""
    arrays = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        labels = np.frombuffer(contents[f"{prefix}-labels-idx1-ubyte"], np.uint8, offset=8)
        images = np.frombuffer(contents[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=16)
        names = [f"{split}{index}".encode() for index in range(len(labels))]
        keys = [hashlib.md5(name, usedforsecurity=False).digest() for name in names]
        order = sorted(range(len(labels)), key=keys.__getitem__)
        arrays[f"{split}_images"] = images.reshape(-1, 28, 28)[order]
        arrays[f"{split}_labels"] = labels[order]
    return arrays
