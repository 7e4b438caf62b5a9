"""What makes JSON a record: its fields, and that they agree with each other and with its name."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from ..checks import choices, expect
from ..protocol import ModelName, Protocol, hash_fields
from .mnist import MNIST_DIGEST
from .states import METRICS

NUMBER = (int, float)

PARTS = ("dataset", "environment", "history", "protocol", "result")
RECORD_KEYS = (*PARTS, "run_id", "test_predictions")

REQUIRED = {
    "dataset.digest": (str,),
    "dataset.name": (str,),
    "dataset.test_size": (int,),
    "dataset.train_size": (int,),
    "protocol.dataset": (str,),
    "protocol.model": (str,),
    "protocol.seed": (int,),
    "result.test_accuracy": NUMBER,
    "result.train_accuracy": NUMBER,
}
"""Field -> its types."""

OPTIONAL = {
    "environment.epoch_seconds": (list,),
    "environment.seconds": NUMBER,
    "environment.threads": (int,),
    **{f"history.{name}": (list,) for name in METRICS},
    **{f"protocol.{field.name}": None for field in dataclasses.fields(Protocol)},
    "protocol.epochs": (int,),
    "result.diverged": (bool,),
    "result.epochs": (int,),
    "result.parameters": (int,),
    # Those of a classical method.
    "protocol.candidates": (dict,),
    "protocol.selection": (int,),
    "result.chosen": (dict,),
    "result.selection": (list,),
}
"""What else may be in a record; of `None`, `Protocol` checks the type. In `environment` any field
may be."""


def check_record(record) -> None:
    """Check that a JSON value is a whole record and was not edited.

    Raises:
        ValueError: saying what is missing, unknown or contradictory.
    """
    record = record if type(record) is dict else {}
    parts = {name: record[name] for name in PARTS if type(record.get(name)) is dict}
    given = {f"{name}.{key}": value for name in parts for key, value in parts[name].items()}
    types = OPTIONAL | REQUIRED
    unusable = [name for name in RECORD_KEYS if name not in (parts if name in PARTS else record)]
    unusable += [name for name in REQUIRED if name not in given and name.split(".")[0] in parts]
    unusable += [n for n, value in given.items() if types.get(n) and type(value) not in types[n]]
    if unusable:
        raise ValueError(f"it has no usable {', '.join(sorted(unusable))}")
    unknown = [*(record.keys() - RECORD_KEYS), *(given.keys() - types)]
    unknown = [name for name in sorted(unknown) if not name.startswith("environment.")]
    if unknown:
        raise ValueError(f"it has unknown fields: {', '.join(unknown)}")
    _check_name(record)
    _check_course(record)
    _check_accuracies(record)


def _check_name(record: dict) -> None:
    """The run id is the hash of the protocol, and the protocol is one."""
    fields, dataset = record["protocol"], record["dataset"]
    if fields["model"] in choices(ModelName):
        fields = Protocol(**fields).to_json()
    named, received = hash_fields(fields, dataset["digest"]), record["run_id"]
    expect(named == received, f"run_id {named!r}, the hash of its protocol", received)
    name, received = fields["dataset"], dataset["name"]
    expect(name == received, f"the dataset of its protocol, {name!r}", received)


def _check_course(record: dict) -> None:
    """Epochs, history and end of the run."""
    history, result = record["history"], record["result"]
    epochs, asked = result.get("epochs"), record["protocol"].get("epochs")
    if asked is not None:
        expect(epochs is not None and 0 <= epochs <= asked, f"0 to {asked} epochs", epochs)
    for name, values in history.items():
        numbers = all(type(value) in (*NUMBER, type(None)) for value in values)
        expect(numbers and len(values) == epochs, f"{epochs} numbers: history.{name}", values)
    if losses := history.get("loss"):
        diverged = losses[-1] is None
        expect(result.get("diverged") == diverged, f"diverged={diverged}", result.get("diverged"))
    seconds = record["environment"].get("epoch_seconds", [])
    expect(all(type(second) in NUMBER for second in seconds), "epoch_seconds", seconds)


def _check_accuracies(record: dict) -> None:
    """They count images, and agree with the predictions and the history."""
    result, dataset, predictions = record["result"], record["dataset"], record["test_predictions"]
    for split in ("train", "test"):
        accuracy, size = result[f"{split}_accuracy"], dataset[f"{split}_size"]
        expect(size > 0, f"{split}_size above 0", size)
        right = accuracy * size if 0 <= accuracy <= 1 else np.nan
        whole = abs(right - np.rint(right)) < 1e-3
        expect(whole, f"{split}_accuracy to be a count of {size} images", accuracy)
    digits = type(predictions) is str and len(predictions) == size and predictions.isdecimal()
    expect(digits and predictions.isascii(), f"{size} digits: test_predictions", predictions)
    # Keras counts in single precision.
    for last in record["history"].get("test_accuracy", [])[-1:]:
        agrees = last is not None and abs(last - accuracy) * size < 0.5
        expect(agrees, f"test_accuracy {last}, the last of its history", accuracy)
    if dataset["digest"] == MNIST_DIGEST:
        right = np.mean(np.frombuffer(predictions.encode(), "S1") == mnist_test_labels())
        agrees = abs(right - accuracy) * size < 0.5
        expect(agrees, f"test_accuracy {right}, that of its test_predictions", accuracy)


@functools.cache
def mnist_test_labels() -> np.ndarray:
    """The labels of MNIST's test images as ASCII digits, in the order of `MNIST_DIGEST`."""
    digits = Path(__file__).with_name("mnist_test_labels.txt").read_text().split()
    return np.frombuffer("".join(digits).encode(), "S1")


def is_measurement(value) -> bool:
    """Whether JSON has measurements under conditions: nested objects and lists of numbers."""
    measured = value.get("measured") if isinstance(value, dict) else None
    if not isinstance(measured, dict) or not isinstance(measured.get("conditions"), dict):
        return False
    values = [measured]
    while values:  # no recursion: a file may be nested too deep for it
        value = values.pop()
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif type(value) not in (*NUMBER, type(None)):
            return False
    return True
