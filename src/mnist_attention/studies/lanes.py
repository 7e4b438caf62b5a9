"""Many runs as lanes of one JAX program: the engine for a GPU, which one LeNet leaves idle.

The number of lanes changes the last bits: the same protocols in the same environment give the same
records, interrupted or not; other engines agree within rounding over the first steps.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from pathlib import Path

import jax
import keras
from tqdm import tqdm

from ..data import Dataset, EpochPlan, epoch_plan, load_dataset
from ..noise import apply_noise
from ..protocol import PAPER, Protocol, by_trajectory, run_id
from ..records import (
    check_budget,
    check_study,
    finished_record,
    make_record,
    record_path,
    write_if_longer,
)
from ..storage.checkpoints import next_state
from ..storage.files import require_writable
from ..storage.states import State, checkpoint_path, diverged, lock_runs, over_budget, write_state
from ..training import (
    check_fit,
    describe_environment,
    initial_state,
    start_model,
)
from .lane_program import LaneProgram

LANE_FIELDS = ("epochs", "seed", "learning_rate", "initializer", "flip")
"""The lanes of one program may differ in these fields; every other one shapes the program."""


def by_program(protocols: Iterable[Protocol]) -> list[list[Protocol]]:
    """Group protocols that differ in `LANE_FIELDS` alone, each protocol once."""
    groups: dict[Protocol, list[Protocol]] = {}
    for protocol in dict.fromkeys(protocols):
        shared = {name: getattr(PAPER, name) for name in LANE_FIELDS}
        groups.setdefault(dataclasses.replace(protocol, **shared), []).append(protocol)
    return [*groups.values()]


@dataclasses.dataclass
class Trajectory:
    """Runs that differ in `epochs` alone: the shorter ones are the beginning of the longest.

    Attributes:
        longest: The longest of them.
        due: Those without a record, shortest first.
        state: How far the training is.
        budget_minutes: See `spent`.
    """

    longest: Protocol
    due: list[Protocol]
    state: State
    budget_minutes: float | None = None

    def ended(self) -> list[Protocol]:
        """The due runs that end with this state: all of them, if it has diverged or time is up."""
        over = diverged(self.state) or over_budget(self.state, self.budget_minutes)
        return [run for run in self.due if over or run.epochs == self.state.epoch]


def trajectories(
    protocols: Iterable[Protocol],
    finished: Container[Protocol],
    dataset: Dataset,
    results: Path | None,
    budget_minutes: float | None = None,
) -> list[Trajectory]:
    """Sort runs into trajectories, each in the furthest state that serves all its due runs.

    Args:
        protocols: The runs.
        finished: Those that have a record.
        dataset: The digits.
        results: Folder of the states, if any.
        budget_minutes: How long each of them may train.
    """
    found = []
    for chain in by_trajectory(protocols):
        due = [protocol for protocol in chain if protocol not in finished]
        start = (due or chain)[0]
        path = checkpoint_path(results, start, dataset.digest) if results else None
        state = initial_state(start, dataset, path)
        found.append(Trajectory(chain[-1], due, state, budget_minutes))
    return found


def train_lanes(
    protocols: Sequence[Protocol],
    *,
    dataset: Dataset | None = None,
    results: Path | str | None = None,
    study: str = "single",
    lowering: str = "grouped",
    checkpoint_every: int = 10,
    budget_minutes: float | None = None,
    verbose: bool = True,
    callback: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train many networks at once: what `training.train` does for one, for all of `protocols`.

    Protocols that differ in `LANE_FIELDS` alone share a program, in `epochs` alone a lane. The
    `epoch_seconds` of a record are its lane's share of the program's time.

    Args:
        protocols: What to train. The records come in this order.
        dataset: As in `training.train`, and so are `results`, `study` and `verbose`.
        lowering: One of `lane_program.LOWERINGS`.
        checkpoint_every: Epochs from one state on disk to the next.
        budget_minutes: As in `training.train`, of a lane's share of the time.
        callback: Called with each new record, after it is written.

    Raises:
        ValueError: on another Keras backend than JAX; otherwise as `training.train`.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Expected the JAX backend of Keras: set KERAS_BACKEND=jax before Python starts. "
            f"Received: backend={keras.backend.backend()!r}"
        )
    if checkpoint_every < 1:
        raise ValueError(f"Expected checkpoint_every >= 1. Received: {checkpoint_every=}")
    check_budget(budget_minutes)
    check_study(study)
    results = require_writable(Path(results)) if results else None
    records: dict[Protocol, dict] = {}
    for group in by_program(protocols):
        data = dataset or load_dataset(group[0].dataset)
        check_fit(group[0], data)
        paths = [checkpoint_path(results, p, data.digest) for p in group] if results else []
        with lock_runs(paths):
            for protocol in group if results else []:
                path = record_path(results, study, run_id(protocol, data.digest))
                if record := finished_record(path, budget_minutes):
                    records[protocol] = record
            lanes = trajectories(group, records, data, results, budget_minutes)
            made = _train(lanes, data, results, lowering, checkpoint_every, verbose)
            for protocol, record in made:
                records[protocol] = record
                if results:
                    write_if_longer(record, results, study)
                if callback:
                    callback(record)
    return [records[protocol] for protocol in protocols]


def _train(
    lanes: list[Trajectory], data: Dataset, results: Path | None, lowering, every, verbose
) -> Iterator[tuple[Protocol, dict]]:
    """Train until no run is due; yield each run and its record when its lane gets there.

    A lane without a due run idles: if it were left out, the other lanes' last bits would change.
    """
    if not any(lane.due for lane in lanes):
        return
    protocol = lanes[0].longest
    shown = apply_noise(protocol, data)
    models = [start_model(lane.longest, data, lane.state) for lane in lanes]
    program = LaneProgram(models[0], protocol, shown, lowering)
    values, plans = program.start(models), _plans(lanes, data)
    bar = tqdm(desc=f"{len(lanes)} lanes", unit="epoch", disable=not verbose)
    bar.reset(total=sum(lane.longest.epochs - lane.state.epoch for lane in lanes if lane.due))
    while active := [(number, lane) for number, lane in enumerate(lanes) if lane.due]:
        if any(lane.ended() for lane in lanes):
            yield from _records(lanes, data, program, values)
            continue
        started = time.perf_counter()
        values, logs = program.epoch(values, plans)
        plans = _plans(lanes, data, ahead=1)  # while the device trains
        logs = jax.device_get(logs)
        share = (time.perf_counter() - started) / len(active)
        for number, lane in active:
            own = {name: column[number] for name, column in logs.items()}
            rate = lane.longest.learning_rate
            lane.state = next_state(lane.state, own, share, [], rate)
        kept = [(n, lane) for n, lane in active if lane.state.epoch % every == 0 or lane.ended()]
        variables = program.variables(values) if results and kept else []
        for number, lane in kept if results else []:
            state = dataclasses.replace(lane.state, variables=variables[number])
            write_state(checkpoint_path(results, lane.due[0], data.digest), state)
        bar.update(len(active))
    bar.close()


def _plans(lanes: list[Trajectory], data: Dataset, ahead: int = 0) -> list[EpochPlan]:
    size = len(data.train_images)
    return [epoch_plan(lane.longest, lane.state.epoch + ahead, size) for lane in lanes]


def _records(
    lanes: list[Trajectory], data: Dataset, program: LaneProgram, values: tuple
) -> Iterator[tuple[Protocol, dict]]:
    classes = program.classes(values)
    engine = {"engine": "lanes", "lanes": len(lanes), "lowering": program.lowering}
    engine |= {"device": jax.default_backend(), "threads": os.cpu_count()}
    for number, lane in enumerate(lanes):
        predictions = {f"{split}_predictions": of_all[number] for split, of_all in classes.items()}
        for protocol in lane.ended():
            seconds, size = lane.state.seconds, len(data.train_labels)
            described = {
                "parameters": program.parameters,
                "environment": describe_environment(seconds, size, **engine),
            }
            yield protocol, make_record(protocol, data, lane.state, **predictions, **described)
            lane.due.remove(protocol)
