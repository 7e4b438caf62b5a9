"""Records: one JSON file per finished run, complete or absent. Reads without TensorFlow."""

import json
import math
from pathlib import Path

from .files import write_atomically

RECORD_KEYS = (
    "dataset",
    "environment",
    "history",
    "protocol",
    "result",
    "run_id",
    "test_predictions",
)


def record_text(record: dict) -> str:
    """The canonical text of a record: sorted keys, one metric a line, so that diffs can be read."""
    return _indented(_finite(record)) + "\n"


def _indented(value, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, sort_keys=True, allow_nan=False)
    deeper = indent + "  "
    lines = [
        f"{deeper}{json.dumps(key)}: {_indented(value[key], deeper)}" for key in sorted(value)
    ]
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


def read_record(path: Path) -> dict:
    """Read one record.

    Raises:
        ValueError: naming the file, if it is not a complete record.
    """
    try:
        record = json.loads(Path(path).read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    missing = sorted(set(RECORD_KEYS) - set(record if isinstance(record, dict) else ()))
    if missing:
        raise ValueError(f"{path} is no record: it lacks {', '.join(missing)}")
    if record["run_id"] != Path(path).stem:
        raise ValueError(f"{path} is misplaced: it is the record of run {record['run_id']}")
    return record


def reproducible_text(record: dict) -> str:
    """The part of a record that must be the same, byte for byte, each time the run is made."""
    return record_text({key: value for key, value in record.items() if key != "environment"})
