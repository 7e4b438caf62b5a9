"""The state of a run at the end of an epoch, in one file, so that a killed run goes on exactly."""

import contextlib
import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import numpy as np

from ..protocol import Protocol, expect, trajectory_id
from .files import write_atomically

HEADER = b"mnist-attention state, sha256 "
"""A state is this, the digest of the rest in 64 hex digits, a line feed, and NumPy's archive. The
first states were the archive alone."""

HISTORY = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "test_loss",
    "val_accuracy": "test_accuracy",
}
"""Keras's names of the metrics of an epoch -> ours. Training metrics are running means over the
augmented images; test metrics are of all clean test images at the epoch's end."""

METRICS = tuple(HISTORY.values())


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A run at the end of an epoch. Nothing random is in it: see `data.epoch_plan`.

    Attributes:
        trajectory: `protocol.trajectory_id` of the run.
        epoch: Number of epochs done.
        history: Metric name -> one value per epoch.
        seconds: Training time of each epoch.
        variables: Values of the model's variables, then of the optimizer's.
        backend: Keras backend of the run; `None` in states older than this field.
    """

    trajectory: str
    epoch: int
    history: dict[str, list[float]]
    seconds: list[float]
    variables: list[np.ndarray]
    backend: str | None = None


def diverged(state: State) -> bool:
    """Whether the last epoch's loss is not finite: such a run has ended."""
    return not np.isfinite(state.history["loss"][-1:]).all()


def is_complete(state: State, protocol: Protocol) -> bool:
    """Whether a run has all of its epochs, or has diverged."""
    return state.epoch >= protocol.epochs or diverged(state)


def over_budget(state: State, budget_minutes: float | None) -> bool:
    """Whether the epochs of a run, those of earlier calls included, have used up its time."""
    return budget_minutes is not None and sum(state.seconds) >= 60 * budget_minutes


# Files


def checkpoint_path(results: Path, protocol: Protocol, digest: str) -> Path:
    """Where the state of a run on the digits of `digest` is kept.

    Runs that differ in `epochs` alone share the folder: one may go on from the end of another.
    """
    trajectory = trajectory_id(protocol, digest)
    return Path(results) / ".checkpoints" / trajectory / f"{protocol.epochs}.npz"


@contextlib.contextmanager
def lock_runs(checkpoints: Iterable[Path]) -> Iterator[None]:
    """Lock the runs with these checkpoints. A second process waits."""
    with contextlib.ExitStack() as locks:
        for path in sorted(checkpoints):  # in one order everywhere: no two wait for each other
            path.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(filelock.FileLock(path.with_suffix(".lock")))
        yield


def write_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all; OSError if it cannot be, for instance on a full disk."""
    fields = {**vars(state), "variables": len(state.variables)}
    arrays = {f"variable_{index}": value for index, value in enumerate(state.variables)}
    archive = io.BytesIO()
    np.savez(archive, description=np.array(json.dumps(fields)), **arrays)
    content = archive.getbuffer()
    digest = hashlib.sha256(content).hexdigest().encode()
    write_atomically(path, lambda file: file.write(b"".join((HEADER, digest, b"\n", content))))


def latest_state(
    folder: Path, trajectory: str, epochs: int, like: list[np.ndarray] | None = None
) -> tuple[State | None, list[str]]:
    """The furthest usable state of a trajectory, up to `epochs`, and why others are refused."""
    best, refused = None, []
    for path in sorted(Path(folder).glob("*.npz")):
        try:
            state = read_state(path, trajectory, like)
        except ValueError as error:
            refused.append(str(error))
            continue
        if state.epoch <= epochs and (best is None or state.epoch > best.epoch):
            best = state
    return best, refused


def read_state(path: Path, trajectory: str, like: list[np.ndarray] | None = None) -> State:
    """Read a state. Nothing is parsed before its digest, or its archive's checksums, are right.

    The ValueError names the file: it is damaged, or belongs to another run than `trajectory`, or
    its variables differ from those of `like` in shape or type.
    """
    content = _checked_archive(path)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            state = _parse(dict(archive))
        found = _kinds(state.variables)
        expect(like is None or found == _kinds(like), f"variables {_kinds(like or [])}", found)
    except ValueError as error:
        raise ValueError(f"{path} is no usable state: {error}") from error
    if state.trajectory != trajectory:
        raise ValueError(f"{path} is the state of another run ({state.trajectory})")
    return state


def _checked_archive(path: Path) -> bytes:
    content = Path(path).read_bytes()
    if content.startswith(HEADER):
        digest, _, archive = content[len(HEADER) :].partition(b"\n")
        if hashlib.sha256(archive).hexdigest().encode() != digest:
            raise ValueError(f"{path} is damaged: its digest is not that of its content")
        return archive
    if not content.startswith(b"PK"):
        raise ValueError(f"{path} is damaged: it starts neither as a state nor as an archive")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            damaged = archive.testzip()
    # What zipfile raises for wrong lengths, flags and methods besides its own error.
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if damaged:
        raise ValueError(f"{path} is damaged: the checksum of {damaged} is wrong")
    return content


def _parse(arrays: dict[str, np.ndarray]) -> State:
    """The state of an archive, each field checked."""
    fields = json.loads(str(arrays.pop("description", "null")))
    names = {field.name for field in dataclasses.fields(State)}
    given = {"backend", *fields} if type(fields) is dict else None
    expect(given == names, f"fields {sorted(names)}", given)
    variables = [f"variable_{index}" for index in range(len(arrays))]
    expect({*arrays} == {*variables}, f"arrays {variables}", [*arrays])
    expect(fields["variables"] == len(arrays), f"{len(arrays)} variables", fields["variables"])
    state = State(**{**fields, "variables": [arrays[name] for name in variables]})

    epoch, history = state.epoch, state.history
    expect(type(epoch) is int and epoch >= 0, "epoch of at least 0", epoch)
    expect(type(history) is dict and {*history} == {*METRICS}, f"metrics {METRICS}", history)
    for name, values in {"seconds": state.seconds, **history}.items():
        fits = type(values) is list and len(values) == epoch
        expect(fits and all(type(v) is float for v in values), f"{epoch} floats: {name}", values)
    expect(all(0 <= second < np.inf for second in state.seconds), "seconds", state.seconds)
    numbers = all(value.dtype.kind in "fiu" for value in state.variables)
    expect(numbers, "variables that are numbers", _kinds(state.variables))
    # A run that diverged ends with NaN.
    finite = all(np.isfinite(value).all() for value in state.variables)
    ended = not np.isfinite([v for values in history.values() for v in values[-1:]]).all()
    expect(finite or ended, "finite variables", "NaN or infinity")
    return state


def _kinds(values: list[np.ndarray]) -> list[tuple]:
    """Shapes and types; the width of integers differs between Keras backends."""
    types = (v.dtype.name if v.dtype.kind == "f" else v.dtype.kind in "iu" for v in values)
    return [(value.shape, kind) for value, kind in zip(values, types, strict=True)]
