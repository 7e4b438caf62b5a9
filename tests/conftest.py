"""Shared fixtures. One thread per process: fast on small networks, the same on every machine."""

import os

for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

from mnist_attention import load_dataset
from mnist_attention.data import Dataset
from mnist_attention.storage.mnist import MnistUnavailable
from small_digits import first_digits


@pytest.fixture(scope="session")
def uci() -> Dataset:
    """The embedded digits."""
    return load_dataset("uci")


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """Real MNIST; tests that need it are skipped, visibly, where it is not available."""
    try:
        return load_dataset("mnist")
    except MnistUnavailable as error:
        pytest.skip(f"needs real MNIST: {error}")


@pytest.fixture
def small() -> Dataset:
    """A few embedded digits, for tests that train."""
    return first_digits(300, 50)
