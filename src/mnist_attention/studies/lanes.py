"""Many runs as lanes of one JAX program: the engine for a GPU, which one LeNet leaves idle.

The number of lanes changes the last bits: the same protocols in the same environment give the same
records, interrupted or not; other engines agree within rounding over the first steps. So a lane
whose run has ended trains on until the others have: leaving it out would change their last bits,
and costs another compilation.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence

import jax
import keras
from tqdm import tqdm

from ..checks import expect
from ..data import Dataset, EpochPlan, epoch_plan, load_dataset
from ..noise import apply_noise
from ..protocol import PAPER, Protocol, by_trajectory
from ..records import add_seconds, finished_record, make_record, record_path, write_if_longer
from ..storage import states
from ..storage.checkpoints import next_state, resume_state
from ..storage.machine import describe_environment, usable_cores
from ..training import check_fit, default_configuration, start_model
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
    """A network in training, and its runs: they differ in `epochs` alone."""

    number: int
    longest: Protocol
    due: list[Protocol]  # the runs without a record, shortest first
    state: states.State
    budget_minutes: float | None  # earlier calls included
    elsewhere: float  # seconds in the state that no budget counts

    def ended(self) -> list[Protocol]:
        """The due runs that end with this state: all, if it diverged or time is up."""
        return [run for run in self.due if self.state.has_ended(run.epochs, self.budget_minutes)]


@default_configuration()
def train_program(
    group: Sequence[Protocol], options: RunOptions, dataset: Dataset | None = None
) -> dict[Protocol, dict]:
    """Train the lanes of one program. Returns the records that are there now.

    The `epoch_seconds` of a record are its lane's share of the program's time, without compiling.
    """
    backend = keras.backend.backend()
    expected = "the JAX backend of Keras: set KERAS_BACKEND=jax before Python starts"
    expect(backend == "jax", expected, f"{backend=}")
    data = dataset or load_dataset(group[0].dataset)
    check_fit(group[0], data)
    records: dict[Protocol, dict] = {}
    results = options.results
    with states.lock_runs([states.checkpoint_path(results, run, data.digest) for run in group]):
        for run in group:
            path = record_path(results, options.study, run.run_id(data.digest))
            if finished := finished_record(path, options.budget_of(run)):
                records[run] = finished
        chains = enumerate(by_trajectory(group))
        lanes = [_lane(number, chain, records, data, options) for number, chain in chains]
        for run, record in _train(lanes, data, options):
            write_if_longer(record, results, options.study)
            records[run] = record
    return records


def _lane(
    number: int,
    chain: Sequence[Protocol],
    finished: dict[Protocol, dict],
    data: Dataset,
    options: RunOptions,
) -> Lane:
    """The lane of runs of one trajectory, in the furthest state that serves all its due runs."""
    due = [run for run in chain if run not in finished]
    start = (due or chain)[0]
    path = states.checkpoint_path(options.results, start, data.digest)
    state = resume_state(start, data, path)
    expected = f"states of the JAX backend in {path.parent}, or none"
    received = f"one of {state.backend}. Go on with another engine, or delete the folder"
    expect(not due or state.backend == "jax", expected, received)
    elsewhere = min(options.seconds_elsewhere.get(chain[-1], 0.0), sum(state.seconds))
    budget = add_seconds(options.budget_minutes, elsewhere)
    return Lane(number, chain[-1], due, state, budget, elsewhere)


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
    total = sum(lane.longest.epochs - lane.state.epoch for lane in lanes if lane.due)
    bar = tqdm(None, f"{len(lanes)} lanes", total, unit="epoch", disable=not options.verbose)
    yield from _records(lanes, data, program, values, options)
    while active := [lane for lane in lanes if lane.due]:
        started = time.monotonic()
        values, logs = program.epoch(values, plans)
        plans = _plans(lanes, data, ahead=1)  # while the device trains
        logs = jax.device_get(logs)
        share = (time.monotonic() - started) / len(active)
        for lane in active:
            own = {name: column[lane.number] for name, column in logs.items()}
            lane.state = next_state(lane.state, own, share, [], lane.longest.learning_rate)
        # One more turn and the writing of states must fit in.
        last = options.seconds_left() < 2 * longest_turn
        due = [lane for lane in active if last or lane.state.epoch % every == 0 or lane.ended()]
        if due:
            variables = program.variables(values)
            for lane in due:
                path = states.checkpoint_path(options.results, lane.due[0], data.digest)
                state = dataclasses.replace(lane.state, variables=variables[lane.number])
                states.write_state(path, state)
        bar.update(len(active))
        longest_turn = max(longest_turn, time.monotonic() - started)
        yield from _records(lanes, data, program, values, options)
        if last:
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
        "lowering": options.lowering,
        "device": jax.default_backend(),
        "card": jax.devices()[0].device_kind,
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",
        "compile_seconds": round(program.compile_seconds, 3),
        "threads": usable_cores(),
    }
    for lane in lanes:
        predictions = {f"{split}_predictions": of[lane.number] for split, of in classes.items()}
        for run in lane.ended():
            environment = describe_environment(lane.state.seconds, len(data.train_labels), **engine)
            if lane.elsewhere:
                environment["seconds_elsewhere"] = lane.elsewhere
            described = {"parameters": program.parameters, "environment": environment}
            yield run, make_record(run, data, lane.state, **predictions, **described)
            lane.due.remove(run)
