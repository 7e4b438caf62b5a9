"""What makes JSON a record: its fields, and that they agree with each other and with its name."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from ..protocol import ModelName, Protocol, choices, hash_fields
from .mnist import MNIST_DIGEST
from .states import METRICS

NUMBER = (int, float)

RECORD_KEYS = (
    "dataset",
    "environment",
    "history",
    "protocol",
    "result",
    "run_id",
    "test_predictions",
)

REQUIRED = {
    "dataset": {"digest": (str,), "name": (str,), "test_size": (int,), "train_size": (int,)},
    "environment": {},
    "history": {},
    "protocol": {"dataset": (str,), "model": (str,), "seed": (int,)},
    "result": {"test_accuracy": NUMBER, "train_accuracy": NUMBER},
}
"""Part of a record -> what must be in it -> its types."""

OPTIONAL = {
    "dataset": {},
    "environment": {"epoch_seconds": (list,), "seconds": NUMBER, "threads": (int,)},
    "history": dict.fromkeys(METRICS, (list,)),
    # Those of a network, and of a classical method.
    "protocol": {
        **dict.fromkeys((field.name for field in dataclasses.fields(Protocol)), (object,)),
        **{"epochs": (int,), "candidates": (dict,), "selection": (int,)},
    },
    "result": {
        **{"diverged": (bool,), "epochs": (int,), "parameters": (int,)},
        **{"chosen": (dict,), "selection": (list,)},
    },
}
"""Part of a record -> what else may be in it. In `environment` anything may."""


def check_record(record) -> None:
    """Check that a JSON value is a whole record and was not edited.

    Raises:
        ValueError: saying what is missing, unknown or contradictory.
    """
    if unusable := _unusable(record):
        raise ValueError(f"it has no usable {', '.join(unusable)}")
    if unknown := _unknown(record):
        raise ValueError(f"it has unknown fields: {', '.join(unknown)}")
    _check_name(record)
    _check_course(record)
    _check_accuracies(record)


def _unusable(record) -> list[str]:
    """Dotted names of what is missing or of another type."""
    if not isinstance(record, dict):
        return list(RECORD_KEYS)
    unusable = sorted(set(RECORD_KEYS) - set(record))
    for name, required in REQUIRED.items():
        part = record.get(name, {})
        if type(part) is not dict:
            unusable.append(name)
        elif name in record:
            unusable += [f"{name}.{key}" for key in required if key not in part]
            expected = {**OPTIONAL[name], **required}
            unusable += [
                f"{name}.{key}"
                for key, value in part.items()
                if key in expected
                and object not in expected[key]
                and type(value) not in expected[key]
            ]
    return unusable


def _unknown(record: dict) -> list[str]:
    return [
        *sorted(set(record) - set(RECORD_KEYS)),
        *(
            f"{name}.{key}"
            for name in REQUIRED
            if name != "environment"
            for key in sorted(set(record[name]) - set(REQUIRED[name]) - set(OPTIONAL[name]))
        ),
    ]


def _check_name(record: dict) -> None:
    """The run id is the hash of the protocol, and the protocol is one."""
    fields, digest = record["protocol"], record["dataset"]["digest"]
    if fields["model"] in choices(ModelName):
        fields = Protocol(**fields).to_json()
    named = hash_fields(fields, digest)
    _require(
        named == record["run_id"], f"run_id {named!r}, the hash of its protocol", record["run_id"]
    )
    _require(
        fields["dataset"] == record["dataset"]["name"],
        f"the dataset of its protocol, {fields['dataset']!r}",
        record["dataset"]["name"],
    )


def _check_course(record: dict) -> None:
    """Epochs, history and end of the run."""
    history, result = record["history"], record["result"]
    epochs, asked = result.get("epochs"), record["protocol"].get("epochs")
    if asked is not None:
        _require(epochs is not None and 0 <= epochs <= asked, f"0 to {asked} epochs", epochs)
    for name, values in history.items():
        numbers = all(type(value) in (*NUMBER, type(None)) for value in values)
        _require(numbers and len(values) == epochs, f"{epochs} numbers: history.{name}", values)
    losses = history.get("loss")
    if losses:
        diverged = losses[-1] is None
        _require(result.get("diverged") == diverged, f"diverged={diverged}", result.get("diverged"))
    seconds = record["environment"].get("epoch_seconds", [])
    _require(all(type(second) in NUMBER for second in seconds), "epoch_seconds", seconds)


def _check_accuracies(record: dict) -> None:
    result, dataset = record["result"], record["dataset"]
    for split in ("train", "test"):
        accuracy, size = result[f"{split}_accuracy"], dataset[f"{split}_size"]
        _require(size > 0, f"{split}_size above 0", size)
        right = accuracy * size if 0 <= accuracy <= 1 else np.nan
        whole = abs(right - np.rint(right)) < 1e-3
        _require(whole, f"{split}_accuracy to be a count of {size} images", accuracy)
    accuracy, size, predictions = (
        result["test_accuracy"],
        dataset["test_size"],
        record["test_predictions"],
    )
    digits = type(predictions) is str and len(predictions) == size and predictions.isdecimal()
    _require(digits and predictions.isascii(), f"{size} digits: test_predictions", predictions)
    # Keras counts in single precision.
    for last in record["history"].get("test_accuracy", [])[-1:]:
        agrees = last is not None and abs(last - accuracy) * size < 0.5
        _require(agrees, f"test_accuracy {last}, the last of its history", accuracy)
    if dataset["digest"] == MNIST_DIGEST:
        right = np.mean(np.frombuffer(predictions.encode(), "S1") == mnist_test_labels())
        agrees = abs(right - accuracy) * size < 0.5
        _require(agrees, f"test_accuracy {right}, that of its test_predictions", accuracy)


@functools.cache
def mnist_test_labels() -> np.ndarray:
    """The labels of MNIST's test images as ASCII digits, in the order of `MNIST_DIGEST`."""
    digits = Path(__file__).with_name("mnist_test_labels.txt").read_text().split()
    return np.frombuffer("".join(digits).encode(), "S1")


def _require(holds: bool, expected: str, received) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, received {str(received)[:80]}")
