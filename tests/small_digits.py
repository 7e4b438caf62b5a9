"""A few of the embedded digits, for tests that train."""

from mnist_attention import load_dataset
from mnist_attention.data import Dataset


def first_digits(train: int, test: int) -> Dataset:
    """The first images of each split of the digits inside scikit-learn."""
    uci = load_dataset("uci")
    return Dataset(
        "uci",
        uci.train_images[:train],
        uci.train_labels[:train],
        uci.test_images[:test],
        uci.test_labels[:test],
    )
