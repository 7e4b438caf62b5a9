"""Records: one JSON file per finished run, complete or absent. Reads without TensorFlow."""

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .checks import expect
from .data import Dataset
from .protocol import Protocol
from .storage.files import write_atomically
from .storage.record_format import check_record, is_measurement
from .storage.states import State

MEASUREMENTS = "measurements"
"""Folder, among those of the studies, of what was measured of trained networks afterwards."""


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
    """The record of a run at its end, `state`. See `training.train`.

    `parameters` is the number of the network's weights; the predictions are the classes, integers,
    of every image without augmentation; `environment`: `storage.machine.describe_environment`.
    """
    # Dropping the last, smaller batch is the classic slip.
    assert train_predictions.shape == dataset.train_labels.shape
    assert test_predictions.shape == dataset.test_labels.shape
    result = {
        "diverged": state.diverged,
        "epochs": state.epoch,
        "parameters": parameters,
        "test_accuracy": float(np.mean(test_predictions == dataset.test_labels)),
        "train_accuracy": float(np.mean(train_predictions == dataset.train_labels)),
    }
    return {
        "run_id": protocol.run_id(dataset.digest),
        "protocol": protocol.to_json(),
        "dataset": dataset.to_json(),
        "history": state.history,
        "result": result,
        "test_predictions": "".join(map(str, test_predictions)),
        "environment": environment,
    }


def record_text(record: dict) -> str:
    """The canonical text of a record: sorted keys, one metric a line, so that diffs can be read."""
    # NaN and infinity, of which JSON knows nothing, become null.
    return _indented(json.loads(json.dumps(record), parse_constant=lambda _: None)) + "\n"


def _indented(value, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, sort_keys=True)
    deeper = indent + "  "
    lines = [f"{deeper}{json.dumps(key)}: {_indented(value[key], deeper)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def reproducible_text(record: dict) -> str:
    """The part of a record that must be the same, byte for byte, each time the run is made."""
    return record_text({key: record[key] for key in record.keys() - {"environment", "measured"}})


def epochs_done(record: dict) -> int:
    """How many epochs a run was trained; 0 for what is not trained in epochs."""
    return record["result"].get("epochs", 0)


def is_finished(record: dict, budget_minutes: float | None = None) -> bool:
    """Whether a run has all its epochs, has diverged, or has used up its time."""
    asked = record["protocol"].get("epochs", 0)
    if record["result"].get("diverged") or epochs_done(record) >= asked:
        return True
    seconds = record["environment"].get("epoch_seconds", [])
    return budget_minutes is not None and sum(seconds) >= 60 * budget_minutes


def check_study(study: str) -> None:
    """Raise ValueError unless `read_records` finds records under this name of a study."""
    found = study not in ("", MEASUREMENTS) and study[0] != "." and Path(study).name == study
    expected = f"study to be the name of a folder, not hidden and not {MEASUREMENTS!r}"
    expect(found, expected, f"{study=}")


def check_budget(budget_minutes: float | None) -> None:
    """Raise ValueError for a time budget of no time."""
    enough = budget_minutes is None or budget_minutes > 0
    expect(enough, "a budget above 0 minutes", f"{budget_minutes=}")


def add_seconds(budget_minutes: float | None, seconds: float) -> float | None:
    """A budget, `None` for none, that is longer by some seconds."""
    return None if budget_minutes is None else budget_minutes + seconds / 60


# Files


def record_path(results: Path, study: str, run_id: str) -> Path:
    """Where the record of a run lives."""
    return Path(results) / study / f"{run_id}.json"


def write_record(record: dict, results: Path, study: str) -> Path:
    """Write a record, whole or not at all; OSError if it cannot be."""
    path = record_path(results, study, record["run_id"])
    write_atomically(path, record_text(record).encode())
    return path


def write_if_longer(record: dict, results: Path, study: str) -> dict:
    """Write a record unless one of the run with as many epochs is there; return what is there."""
    with contextlib.suppress(OSError, ValueError):
        there = read_record(record_path(results, study, record["run_id"]))
        if epochs_done(there) >= epochs_done(record):
            return there
    write_record(record, results, study)
    return record


def read_record(path: Path) -> dict:
    """Read one record.

    Raises:
        ValueError: naming the file, if it is no complete record, does not agree with its own
            name, history and predictions, or has unknown fields.
    """
    record = _read_json(path)
    try:
        check_record(record)
    except ValueError as error:
        raise ValueError(f"{path} is no record: {error}") from error
    if record["run_id"] != Path(path).stem:
        raise ValueError(f"{path} is misplaced: it is the record of run {record['run_id']}")
    return record


def read_measurement(path: Path) -> dict:
    """Read what was measured of one network; ValueError, naming the file, if it is damaged."""
    measurement = _read_json(path)
    if not is_measurement(measurement) or measurement.get("run_id") != Path(path).stem:
        raise ValueError(f"{path} is no measurement of the run that it is named after")
    return measurement


def _read_json(path: Path):
    def refuse(constant: str):
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # not UTF-8, no JSON, a million brackets
        raise ValueError(f"{path} is damaged: {error}") from error


def read_or_none(path: Path, read: Callable[[Path], dict]) -> dict | None:
    """What `read` gives of a file; `None` if there is none, or a damaged one (with a warning)."""
    if not path.exists():
        return None
    try:
        return read(path)
    except ValueError as error:
        print(f"{error}. It is replaced.", file=sys.stderr)
        return None


def finished_record(path: Path, budget_minutes: float | None = None) -> dict | None:
    """The record at `path`, or `None` if the run is still to be made or has time to go on."""
    record = read_or_none(path, read_record)
    return record if record and is_finished(record, budget_minutes) else None


def read_records(results: Path) -> tuple[list[dict], list[str]]:
    """Read every record of a results folder, each run once. Hidden files and folders are skipped.

    A run that lies in two folders is read once: the copy with more epochs, then that of a named
    study, then the first by name. The other is reported, unless it is that of a study, or a run
    made by hand (study `single`), and has the same content or fewer epochs.

    Returns:
        The records, sorted by study and run; the name of the study is added to `environment`, and
        what was measured of the network afterwards, if anything, as `measured`. And one line for
        each JSON file that is no record, contradicts itself or another one, or lies beside the
        studies' folders, and for each folder that cannot be read: those are left out.
    """
    entries, problems = _list_folder(Path(results))
    folders = [path for path in entries if path.is_dir() and path.name != MEASUREMENTS]
    stray = [path for path in entries if path.suffix == ".json" and path not in folders]
    problems += [f"{path} is misplaced: records lie in the folder of a study" for path in stray]
    records: dict[str, dict] = {}
    for folder in sorted(folders, key=lambda path: (path.name == "single", path)):
        found, unread = _read_folder(folder, read_record)
        problems += unread
        for path, record in found:
            record["environment"]["study"] = folder.name
            there = records.setdefault(record["run_id"], record)
            if there is not record:
                problems += _compare(record, there, path)
                if epochs_done(record) > epochs_done(there):
                    records[record["run_id"]] = record
    measured, unread = _read_folder(Path(results) / MEASUREMENTS, read_measurement)
    for path, measurement in measured:
        if record := records.get(path.stem):
            record["measured"] = measurement["measured"]
    return list(records.values()), problems + unread


def _list_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """The visible files of a folder, and a line if it cannot be read. None if it is not there."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{folder} cannot be read: {error.strerror}"]
    return [folder / name for name in names if not name.startswith(".")], []


def _read_folder(
    folder: Path, read: Callable[[Path], dict]
) -> tuple[list[tuple[Path, dict]], list[str]]:
    """What `read` gives of each JSON file, and a line for each that it refuses."""
    found, (paths, problems) = [], _list_folder(folder)
    for path in paths:
        if path.suffix == ".json":
            try:
                found.append((path, read(path)))
            except (ValueError, OSError) as error:
                problems.append(str(error))
    return found, problems


def _compare(record: dict, there: dict, path: Path) -> list[str]:
    """A line if a run is in two studies' folders, or in two versions of the same length."""
    study, other = (r["environment"]["study"] for r in (record, there))
    if epochs_done(record) == epochs_done(there):
        if reproducible_text(record) != reproducible_text(there):
            return [f"{path} is another record of the run in {other}"]
        if study != "single":
            return [f"{path} is a copy of the record in {other}"]
    return []
