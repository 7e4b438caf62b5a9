"""Records in the shape of `records.make_record`, made up for tests: no training behind them."""

import numpy as np

from mnist_attention.protocol import PAPER, hash_fields
from mnist_attention.storage.mnist import MNIST_DIGEST
from mnist_attention.storage.record_format import mnist_test_labels


def make_record(
    test_accuracy: float = 0.99,
    train_accuracy: float = 0.995,
    *,
    digest: str = MNIST_DIGEST,
    epochs_done: int | None = None,
    diverged: bool = False,
    seconds: list[float] | None = None,
    study: str = "table1",
    test_predictions: str | None = None,
    **changes,
) -> dict:
    """A record that agrees with itself, unless its `test_predictions` are given.

    `changes` vary the paper's protocol, also to models that are not there yet.
    """
    protocol = {**PAPER.to_json(), **changes}
    epochs = protocol["epochs"] if epochs_done is None else epochs_done
    return {
        "run_id": hash_fields(protocol, digest),
        "protocol": protocol,
        "dataset": {
            "name": protocol["dataset"],
            "digest": digest,
            "train_size": 60_000,
            "test_size": 10_000,
        },
        "history": {
            "accuracy": [train_accuracy - 0.01] * epochs,
            "test_accuracy": [test_accuracy] * epochs,
        },
        "result": {
            "diverged": diverged,
            "epochs": epochs,
            "parameters": 61_706,
            "test_accuracy": test_accuracy,
            "train_accuracy": train_accuracy,
        },
        "test_predictions": test_predictions or predictions(test_accuracy),
        "environment": {
            "device": "cpu",
            "epoch_seconds": [10.0] * epochs if seconds is None else seconds,
            "study": study,
            "threads": 1,
        },
    }


def predictions(accuracy: float) -> str:
    """Predictions for the test images of MNIST of which this share is right."""
    labels = mnist_test_labels().astype(int)
    wrong = np.arange(len(labels)) >= round(accuracy * len(labels))
    return "".join(map(str, (labels + wrong) % 10))


def make_runs(test_accuracies, train_accuracy: float = 0.995, **changes) -> list[dict]:
    """One record per accuracy, seeds from 0 on."""
    return [
        make_record(accuracy, train_accuracy, seed=seed, **changes)
        for seed, accuracy in enumerate(test_accuracies)
    ]
