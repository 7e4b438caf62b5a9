"""The state of a run at the end of an epoch, in one file, so that a killed run goes on exactly."""

import contextlib
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import filelock
import numpy as np

from ..protocol import Protocol, trajectory_id
from .files import DAMAGE, write_atomically


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A run at the end of an epoch. Nothing random is in it: see `data.epoch_plan`.

    Attributes:
        trajectory: `protocol.trajectory_id` of the run.
        epoch: Number of epochs done.
        history: Metric name -> one value per epoch.
        seconds: Training time of each epoch.
        variables: Values of the model's variables, then of the optimizer's.
    """

    trajectory: str
    epoch: int
    history: dict[str, list[float]]
    seconds: list[float]
    variables: list[np.ndarray]


def write_state(path: Path, state: State) -> None:
    """Write a state, whole or not at all.

    Raises:
        OSError: if it cannot be written, for instance on a full disk.
    """
    described = {**vars(state), "variables": len(state.variables)}
    arrays = {f"variable_{index}": value for index, value in enumerate(state.variables)}
    archive = io.BytesIO()
    np.savez(archive, description=np.array(json.dumps(described)), **arrays)
    write_atomically(path, lambda file: file.write(archive.getbuffer()))


def read_state(path: Path, trajectory: str) -> State:
    """Read a state. The archive's own checksums reveal any damage.

    Raises:
        ValueError: naming the file, if it is damaged or belongs to another run.
    """
    try:
        # Opened here, since np.load leaves a file that is no archive open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            described = json.loads(str(archive["description"]))
            count = described.pop("variables")
            variables = [archive[f"variable_{index}"] for index in range(count)]
        state = State(**described, variables=variables)
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error})") from error
    if state.trajectory != trajectory:
        raise ValueError(f"{path} is the state of another run ({state.trajectory})")
    return state


def latest_state(folder: Path, trajectory: str, epochs: int) -> tuple[State | None, list[str]]:
    """The furthest usable state of a trajectory, not beyond `epochs`, and what was refused.

    A run of 100 epochs may go on from the end of a run of 50: each has its own file in `folder`.
    """
    best, refused = None, []
    for path in sorted(Path(folder).glob("*.npz")):
        try:
            state = read_state(path, trajectory)
        except ValueError as error:
            refused.append(str(error))
            continue
        if state.epoch <= epochs and (best is None or state.epoch > best.epoch):
            best = state
    return best, refused


def checkpoint_path(results: Path, protocol: Protocol, digest: str) -> Path:
    """Where the state of a run is kept. Runs that differ in `epochs` alone share the folder.

    `digest` is that of the digits, `Dataset.digest`.
    """
    trajectory = trajectory_id(protocol, digest)
    return Path(results) / ".checkpoints" / trajectory / f"{protocol.epochs}.npz"


@contextlib.contextmanager
def lock_runs(checkpoints: Iterable[Path]) -> Iterator[None]:
    """Hold the runs with these checkpoints. Whoever wants one of them too waits meanwhile."""
    with contextlib.ExitStack() as locks:
        for path in sorted(checkpoints):  # in one order everywhere: no two wait for each other
            path.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(filelock.FileLock(path.with_suffix(".lock")))
            for half_written in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
                half_written.unlink(missing_ok=True)
        yield


def diverged(state: State) -> bool:
    """Whether the last epoch's loss is not finite: such a run has ended."""
    return bool(state.history["loss"]) and not np.isfinite(state.history["loss"][-1])


def is_complete(state: State, protocol: Protocol) -> bool:
    """Whether a run has had all of its epochs, or has diverged: more would change nothing."""
    return state.epoch >= protocol.epochs or diverged(state)


def over_budget(state: State, budget_minutes: float | None) -> bool:
    """Whether a run has used up its time budget: it ends with the epoch in which that happens.

    Args:
        state: The run, with the seconds of all its epochs, those of earlier calls included.
        budget_minutes: How long a run may train; `None` for as long as it takes.
    """
    return budget_minutes is not None and sum(state.seconds) >= 60 * budget_minutes
