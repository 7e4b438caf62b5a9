"""Many runs as lanes of one JAX program: the engine for a GPU, which one LeNet leaves idle.

The number of lanes changes the last bits: the same protocols in the same environment give the same
records, interrupted or not; other engines agree within rounding over the first steps. So a lane
whose run has ended trains on until the others have: leaving it out would change their last bits,
and costs another compilation.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
import jaxlib
import keras
from tqdm import tqdm

from ..data import Dataset, EpochPlan, epoch_plan, load_dataset
from ..noise import apply_noise
from ..protocol import PAPER, Protocol, by_trajectory, run_id
from ..records import make_record, read_or_none, read_record, record_path, write_if_longer
from ..storage.checkpoints import next_state
from ..storage.files import require_writable
from ..storage.states import State, checkpoint_path, diverged, lock_runs, over_budget, write_state
from ..training import (
    check_fit,
    default_configuration,
    describe_environment,
    initial_state,
    start_model,
)
from .lane_program import LaneProgram
from .options import RunOptions

LANE_FIELDS = ("epochs", "seed", "learning_rate", "initializer", "flip")
"""The lanes of one program may differ in these fields; every other one shapes the program."""


def by_program(protocols: Iterable[Protocol]) -> list[list[Protocol]]:
    """Group protocols by the program that trains them, each protocol once.

    LeNets that differ in `LANE_FIELDS` alone share one. A larger network fills a GPU: each has its
    own, as lanes would turn its convolutions into grouped ones, which are slow.
    """
    groups: dict[Protocol, list[Protocol]] = {}
    for protocol in dict.fromkeys(protocols):
        fields = LANE_FIELDS if is_small(protocol) else ("epochs",)
        shared = {name: getattr(PAPER, name) for name in fields}
        groups.setdefault(dataclasses.replace(protocol, **shared), []).append(protocol)
    return [*groups.values()]


def is_small(protocol: Protocol) -> bool:
    """Whether a network is a LeNet, which leaves most of a GPU idle."""
    return protocol.model.startswith("lenet5")


@dataclasses.dataclass
class Lane:
    """A network in training, and its runs: they differ in `epochs` alone.

    Attributes:
        longest: The longest of the runs.
        due: Those without a record, shortest first.
        state: How far the training is.
        budget_minutes: How long it may train, earlier calls included.
    """

    longest: Protocol
    due: list[Protocol]
    state: State
    budget_minutes: float | None = None

    def ended(self) -> list[Protocol]:
        """The due runs that end with this state: all of them, if it has diverged or time is up."""
        over = diverged(self.state) or over_budget(self.state, self.budget_minutes)
        return [run for run in self.due if over or run.epochs == self.state.epoch]


def train_lanes(
    protocols: Sequence[Protocol],
    *,
    dataset: Dataset | None = None,
    callback: Callable[[dict], None] | None = None,
    **options,
) -> list[dict]:
    """Train many networks at once: what `training.train` does for one, for all of `protocols`.

    `by_program` says which share a program. The `epoch_seconds` of a record are its lane's share
    of the program's time, without compiling.

    Args:
        protocols: What to train. The records come in this order.
        dataset: The digits; by default those that each protocol names.
        callback: Called with each new record, after it is written.
        **options: Fields of `RunOptions`.

    Raises:
        ValueError: on another Keras backend than JAX; otherwise as `training.train`.
        TimeoutError: if the deadline ended the call before all records were there.
    """
    options = RunOptions(engine="lanes", **options)
    records: dict[Protocol, dict] = {}
    for group in by_program(protocols):
        records |= train_program(group, options, dataset=dataset, callback=callback)
    missing = [protocol for protocol in protocols if protocol not in records]
    if missing:
        raise TimeoutError(f"The deadline ended the call: {len(missing)} runs have no record yet.")
    return [records[protocol] for protocol in protocols]


@default_configuration()
def train_program(
    group: Sequence[Protocol],
    options: RunOptions,
    *,
    dataset: Dataset | None = None,
    callback: Callable[[dict], None] | None = None,
) -> dict[Protocol, dict]:
    """Train the lanes of one program. Returns the records that are there now."""
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Expected the JAX backend of Keras: set KERAS_BACKEND=jax before Python starts. "
            f"Received: backend={keras.backend.backend()!r}"
        )
    results = require_writable(options.results) if options.results else None
    data = dataset or load_dataset(group[0].dataset)
    check_fit(group[0], data)
    names = {protocol: run_id(protocol, data.digest) for protocol in group} if results else {}
    records = {}
    with lock_runs([checkpoint_path(results, protocol, data.digest) for protocol in names]):
        for protocol, name in names.items():
            record = read_or_none(record_path(results, options.study, name), read_record)
            if options.is_done(protocol, record):
                records[protocol] = record
        for protocol, record in _train(_lanes(group, records, data, options), data, options):
            if results:
                write_if_longer(record, results, options.study)
            records[protocol] = record
            if callback:
                callback(record)
    return records


def _lanes(
    protocols: Iterable[Protocol],
    finished: Mapping[Protocol, dict],
    data: Dataset,
    options: RunOptions,
) -> list[Lane]:
    """Sort runs into lanes, each in the furthest state that serves all its due runs."""
    lanes = []
    for chain in by_trajectory(protocols):
        due = [protocol for protocol in chain if protocol not in finished]
        start = (due or chain)[0]
        path = checkpoint_path(options.results, start, data.digest) if options.results else None
        state = initial_state(start, data, path)
        lanes.append(Lane(chain[-1], due, state, options.budget_of(chain[-1])))
    return lanes


def _train(
    lanes: list[Lane], data: Dataset, options: RunOptions
) -> Iterator[tuple[Protocol, dict]]:
    """Train until no run is due or the deadline is near; yield each run and its record."""
    if not any(lane.due for lane in lanes):
        return
    protocol = lanes[0].longest
    every = options.checkpoint_every or (10 if is_small(protocol) else 1)
    models = [start_model(lane.longest, data, lane.state) for lane in lanes]
    program = LaneProgram(models[0], protocol, apply_noise(protocol, data), options.lowering)
    values, plans = program.start(models), _plans(lanes, data)
    program.compile(values, plans)
    if options.seconds_left() <= 0:
        return
    longest_turn = 0.0
    bar = tqdm(desc=f"{len(lanes)} lanes", unit="epoch", disable=not options.verbose)
    bar.reset(total=sum(lane.longest.epochs - lane.state.epoch for lane in lanes if lane.due))
    while active := [(number, lane) for number, lane in enumerate(lanes) if lane.due]:
        if any(lane.ended() for lane in lanes):
            yield from _records(lanes, data, program, values, options)
            continue
        started = time.monotonic()
        values, logs = program.epoch(values, plans)
        plans = _plans(lanes, data, ahead=1)  # while the device trains
        logs = jax.device_get(logs)
        share = (time.monotonic() - started) / len(active)
        for number, lane in active:
            own = {name: column[number] for name, column in logs.items()}
            rate = lane.longest.learning_rate
            lane.state = next_state(lane.state, own, share, [], rate)
        # One more turn and the writing of states must fit in.
        last = options.seconds_left() < 2 * longest_turn
        kept = [
            (number, lane)
            for number, lane in active
            if last or lane.state.epoch % every == 0 or lane.ended()
        ]
        if options.results and kept:
            variables = program.variables(values)
            for number, lane in kept:
                state = dataclasses.replace(lane.state, variables=variables[number])
                write_state(checkpoint_path(options.results, lane.due[0], data.digest), state)
        bar.update(len(active))
        longest_turn = max(longest_turn, time.monotonic() - started)
        if last:
            yield from _records(lanes, data, program, values, options)
            break
    bar.close()


def _plans(lanes: list[Lane], data: Dataset, ahead: int = 0) -> list[EpochPlan]:
    size = len(data.train_images)
    return [epoch_plan(lane.longest, lane.state.epoch + ahead, size) for lane in lanes]


def _records(
    lanes: list[Lane], data: Dataset, program: LaneProgram, values: tuple, options: RunOptions
) -> Iterator[tuple[Protocol, dict]]:
    """Each run that ends with the present states, and its record."""
    if not any(lane.ended() for lane in lanes):
        return
    classes = program.classes(values)
    engine = {
        "engine": "lanes",
        "lanes": len(lanes),
        "lowering": program.lowering,
        "device": jax.default_backend(),
        "card": jax.devices()[0].device_kind,
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "compile_seconds": round(program.compile_seconds, 3),
        "threads": os.cpu_count(),
    }
    for number, lane in enumerate(lanes):
        predictions = {f"{split}_predictions": of_all[number] for split, of_all in classes.items()}
        for protocol in lane.ended():
            environment = describe_environment(lane.state.seconds, len(data.train_labels), **engine)
            environment["versions"]["jaxlib"] = jaxlib.__version__
            if elsewhere := options.seconds_elsewhere.get(protocol):
                environment["seconds_elsewhere"] = elsewhere
            described = {"parameters": program.parameters, "environment": environment}
            yield protocol, make_record(protocol, data, lane.state, **predictions, **described)
            lane.due.remove(protocol)
