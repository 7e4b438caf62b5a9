"""The state of a run at the end of an epoch, in one file, so that a killed run goes on exactly."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np

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
