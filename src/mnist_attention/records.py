"""Records: one JSON file per finished run, complete or absent. Reads without TensorFlow."""

import contextlib
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data import Dataset
from .protocol import Protocol, run_id, to_json
from .storage.files import write_atomically
from .storage.states import State, diverged

MEASUREMENTS = "measurements"
"""Folder, among those of the studies, of what was measured of trained networks afterwards."""

RECORD_KEYS = (
    "dataset",
    "environment",
    "history",
    "protocol",
    "result",
    "run_id",
    "test_predictions",
)

_PARTS = {
    "dataset": {"digest": str, "test_size": int, "train_size": int},
    "environment": {},
    "history": {},
    "protocol": {"dataset": str, "model": str},
    "result": {"test_accuracy": (int, float), "train_accuracy": (int, float)},
}
"""The objects inside a record, and what must be in each of them: name -> type."""


def record_text(record: dict) -> str:
    """The canonical text of a record: sorted keys, one metric a line, so that diffs can be read."""
    return _indented(_finite(record)) + "\n"


def _indented(value, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    deeper = indent + "  "
    lines = [f"{deeper}{json.dumps(key)}: {_indented(value[key], deeper)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _finite(value):
    """NaN and infinity, of which JSON knows nothing, become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def record_path(results: Path, study: str, run_id: str) -> Path:
    """Where the record of a run lives."""
    return Path(results) / study / f"{run_id}.json"


def write_record(record: dict, results: Path, study: str) -> Path:
    """Write a record, whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    path = record_path(results, study, record["run_id"])
    text = record_text(record).encode()
    write_atomically(path, lambda file: file.write(text))
    return path


def write_if_longer(record: dict, results: Path, study: str) -> dict:
    """Write a record unless one of the same run with as many epochs is there.

    Returns:
        The record that is there now.

    Raises:
        OSError: if it cannot be written.
    """
    with contextlib.suppress(OSError, ValueError):
        there = read_record(record_path(results, study, record["run_id"]))
        if epochs_done(there) >= epochs_done(record):
            return there
    write_record(record, results, study)
    return record


def epochs_done(record: dict) -> int:
    """How many epochs a run was trained; 0 for what is not trained in epochs."""
    return record["result"].get("epochs", record["protocol"].get("epochs", 0))


def check_study(study: str) -> None:
    """Check that records may be kept under the name of a study, where `read_records` finds them.

    Raises:
        ValueError: if they may not.
    """
    if study in ("", MEASUREMENTS) or study.startswith(".") or Path(study).name != study:
        raise ValueError(
            f"Expected study to be the name of a folder, not hidden and not {MEASUREMENTS!r}. "
            f"Received: study={study!r}"
        )


def check_budget(budget_minutes: float | None) -> None:
    """Check that a run may train for some time.

    Raises:
        ValueError: if it may not.
    """
    if budget_minutes is not None and not budget_minutes > 0:
        raise ValueError(f"Expected a budget above 0 minutes. Received: {budget_minutes=}")


def is_finished(record: dict, budget_minutes: float | None = None) -> bool:
    """Whether a run has all its epochs, has diverged, or has used up its time.

    Args:
        record: A record; a run that a smaller budget ended early has one too.
        budget_minutes: How long it may train; `None` for as long as it takes.
    """
    asked = record["protocol"].get("epochs", 0)
    if record["result"].get("diverged") or epochs_done(record) >= asked:
        return True
    seconds = record["environment"].get("epoch_seconds") or []
    return budget_minutes is not None and sum(seconds) >= 60 * budget_minutes


def read_record(path: Path) -> dict:
    """Read one record.

    Raises:
        ValueError: naming the file, if it is not a complete record.
    """
    record = _read_json(path)
    missing = _missing(record)
    if missing:
        raise ValueError(f"{path} is no record: it has no usable {', '.join(missing)}")
    if record["run_id"] != Path(path).stem:
        raise ValueError(f"{path} is misplaced: it is the record of run {record['run_id']}")
    return record


def finished_record(path: Path, budget_minutes: float | None = None) -> dict | None:
    """The record at `path`, or `None` if the run is still to be made or has time to go on."""
    record = read_or_none(path, read_record)
    return record if record and is_finished(record, budget_minutes) else None


def read_or_none(path: Path, read: Callable[[Path], dict]) -> dict | None:
    """What `read` gives of a file; `None` if there is none, or a damaged one, which is said."""
    if not path.exists():
        return None
    try:
        return read(path)
    except ValueError as error:
        print(f"{error}. It is made anew.", file=sys.stderr)
        return None


def _read_json(path: Path):
    try:
        return json.loads(Path(path).read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _missing(record) -> list[str]:
    """What a record must have and this JSON value has not, or not as that type; dotted names."""
    if not isinstance(record, dict):
        return list(RECORD_KEYS)
    missing = sorted(set(RECORD_KEYS) - set(record))
    for name, keys in _PARTS.items():
        part = record.get(name, {})
        if not isinstance(part, dict):
            missing.append(name)
        elif name in record:
            missing += [f"{name}.{key}" for key in keys if not isinstance(part.get(key), keys[key])]
            if not isinstance(part.get("epochs", 0), int):  # methods without epochs have none
                missing.append(f"{name}.epochs")
    return missing


def reproducible_text(record: dict) -> str:
    """The part of a record that must be the same, byte for byte, each time the run is made."""
    return record_text({key: value for key, value in record.items() if key != "environment"})


def read_records(results: Path) -> tuple[list[dict], list[str]]:
    """Read every record of a results folder, each run once.

    Studies share runs, so a run may lie in two folders. The copy with more epochs goes first,
    then that of a named study before one made by hand (study `single`), then the first by name.

    Args:
        results: Folder of the studies' folders. Hidden files and folders are not looked at.

    Returns:
        The records, sorted by study and run; the name of the study is added to `environment`, and
        what was measured of the network afterwards, if anything, as `measured`. And one line for
        each JSON file that is neither, or lies beside the studies' folders: those are left out,
        not repaired.
    """
    folders = [path for path in Path(results).glob("[!.]*/") if path.name != MEASUREMENTS]
    stray = sorted(Path(results).glob("[!.]*.json"))
    problems = [f"{path} is misplaced: records lie in the folder of a study" for path in stray]
    records = {}
    for path in sorted(
        (path for folder in folders for path in folder.glob("[!.]*.json")),
        key=lambda path: (path.parent.name == "single", path),
    ):
        try:
            record = read_record(path)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        record["environment"]["study"] = path.parent.name
        there = records.get(record["run_id"])
        if there is None or epochs_done(record) > epochs_done(there):
            records[record["run_id"]] = record
    problems += _join_measurements(records, Path(results) / MEASUREMENTS)
    return list(records.values()), problems


def _join_measurements(records: dict[str, dict], folder: Path) -> list[str]:
    """Give each record what was measured of its network. Returns what could not be read."""
    problems = []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            measurement = read_measurement(path)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        if record := records.get(measurement["run_id"]):
            record["measured"] = measurement["measured"]
    return problems


def read_measurement(path: Path) -> dict:
    """Read what was measured of one network.

    Raises:
        ValueError: naming the file, if it is damaged or no measurement.
    """
    measurement = _read_json(path)
    measured = measurement.get("measured") if isinstance(measurement, dict) else None
    known = isinstance(measured, dict) and isinstance(measured.get("conditions"), dict)
    if not known or measurement.get("run_id") != Path(path).stem:
        raise ValueError(f"{path} is no measurement of the run that it is named after")
    return measurement


def make_record(
    protocol: Protocol,
    dataset: Dataset,
    state: State,
    *,
    parameters: int,
    train_predictions: np.ndarray,
    test_predictions: np.ndarray,
    environment: dict,
) -> dict:
    """Describe a finished run. See `training.train`.

    Args:
        protocol: What was trained.
        dataset: The digits.
        state: The run at its end.
        parameters: Number of weights of the network.
        train_predictions: Class of every clean training image, integers, shape `(n,)`.
        test_predictions: Class of every test image.
        environment: See `describe_environment`.
    """
    # Dropping the last, smaller batch is the classic slip.
    assert train_predictions.shape == dataset.train_labels.shape
    assert test_predictions.shape == dataset.test_labels.shape
    result = {
        "diverged": diverged(state),
        "epochs": state.epoch,
        "parameters": parameters,
        "test_accuracy": float(np.mean(test_predictions == dataset.test_labels)),
        "train_accuracy": float(np.mean(train_predictions == dataset.train_labels)),
    }
    return {
        "run_id": run_id(protocol, dataset.digest),
        "protocol": to_json(protocol),
        "dataset": dataset.to_json(),
        "history": state.history,
        "result": result,
        "test_predictions": "".join(map(str, test_predictions)),
        "environment": environment,
    }
