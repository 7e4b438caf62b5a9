"""The state of a run at the end of an epoch, in one file, so that a killed run goes on exactly."""

import contextlib
import dataclasses
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import filelock
import numpy as np

from ..checks import expect
from ..protocol import Protocol, trajectory_id
from .files import write_atomically

HEADER = b"mnist-attention state, sha256 "
"""A state is this, the digest of the rest in 64 hex digits, a line feed, and NumPy's archive."""

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
    """A run at the end of an epoch.

    Its batches need no state (see `data.epoch_plan`); that of dropout is among the variables.
    """

    trajectory: str  # `protocol.trajectory_id` of the run
    epoch: int  # epochs done
    history: dict[str, list[float]]  # metric -> one value per epoch
    seconds: list[float]  # of each epoch, its test included
    variables: list[np.ndarray]  # of the model, then of the optimizer
    backend: str  # of Keras

    @property
    def diverged(self) -> bool:
        """Whether the last epoch's loss is not finite: such a run has ended."""
        return not np.isfinite(self.history["loss"][-1:]).all()

    def has_ended(self, epochs: int, budget_minutes: float | None = None) -> bool:
        """Whether a run of so many epochs is over: complete, diverged, or out of time."""
        over = budget_minutes is not None and sum(self.seconds) >= 60 * budget_minutes
        return over or self.diverged or self.epoch >= epochs


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
    write_atomically(path, b"".join((HEADER, _digest(content), b"\n", content)))


def _digest(archive: bytes | memoryview) -> bytes:
    return hashlib.sha256(archive).hexdigest().encode()


def latest_state(
    folder: Path, trajectory: str, epochs: int, like: Sequence | None = None
) -> State | None:
    """The furthest usable state of a trajectory, up to `epochs`; a warning for each other one."""
    best = None
    for path in sorted(Path(folder).glob("*.npz")):
        try:
            state = read_state(path, trajectory, like)
        except ValueError as error:
            print(f"{error}. It is not used.", file=sys.stderr)
            continue
        if state.epoch <= epochs and (best is None or state.epoch > best.epoch):
            best = state
    return best


def read_state(path: Path, trajectory: str, like: Sequence | None = None) -> State:
    """Read a state. Nothing is parsed before its digest is right.

    The ValueError names the file: it is damaged, or belongs to another run than `trajectory`, or
    its variables differ from those of `like` in shape or type.
    """
    first_line, _, archive = Path(path).read_bytes().partition(b"\n")
    if first_line != HEADER + _digest(archive):
        raise ValueError(f"{path} is damaged: its digest is not that of its content")
    try:
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            state = _parse(dict(arrays))
        found = _kinds(state.variables)
        expect(like is None or found == _kinds(like), f"variables {_kinds(like or [])}", found)
    except ValueError as error:
        raise ValueError(f"{path} is no usable state: {error}") from error
    if state.trajectory != trajectory:
        raise ValueError(f"{path} is the state of another run ({state.trajectory})")
    return state


def _parse(arrays: dict[str, np.ndarray]) -> State:
    """The state of an archive; another version may have written it."""
    fields = json.loads(str(arrays.pop("description", "{}")))
    names = {field.name for field in dataclasses.fields(State)}
    expect(fields.keys() == names, f"fields {sorted(names)}", [*fields])
    count = fields["variables"]
    expect(count == len(arrays), f"{count} variables", len(arrays))
    state = State(**{**fields, "variables": [arrays[f"variable_{i}"] for i in range(count)]})
    expect({*state.history} == {*METRICS}, f"metrics {METRICS}", [*state.history])
    for name, values in {"seconds": state.seconds, **state.history}.items():
        expect(len(values) == state.epoch, f"{state.epoch} values of {name}", values)
    return state


def _kinds(values: Sequence) -> list[tuple]:
    """Shapes and types; the width of integers differs between Keras backends."""
    types = [np.dtype(value.dtype) for value in values]
    return [(tuple(v.shape), t.kind in "iu" or t.name) for v, t in zip(values, types, strict=True)]
