"""A study is a named list of protocols. ``run_study`` trains what of it is not finished yet,
``measure_studies`` measures the trained networks."""

import contextlib
import dataclasses
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from . import classical
from .backgrounds import CONTROLLED, TRAINED_ON
from .classical import METHODS, ClassicalProtocol
from .data import load_dataset
from .files import require_writable
from .protocol import PAPER, PROPERLY, SHORT, ModelName, Protocol, by_trajectory, choices, run_id
from .quiet import silenced_stderr
from .records import check_budget, is_finished, read_records, record_path, write_longer

ENGINES = ("loky", "dask", "ray", "lanes")


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and the protocols that answer it, all at seed 0; `run_study` adds the seeds."""

    question: str
    protocols: tuple[Protocol, ...]
    methods: tuple[ClassicalProtocol, ...] = ()


def _one_factor_at_a_time(base: Protocol, **factors: Iterable) -> tuple[Protocol, ...]:
    """`base`, and every variation of it in one field."""
    varied = [
        replace(base, **{name: value}) for name, values in factors.items() for value in values
    ]
    return tuple(dict.fromkeys([base, *varied]))


LENETS = (replace(PAPER, model="lenet5"), PAPER)

ZOO = tuple(replace(PAPER, model=name) for name in ("resnet18", "alexnet", "resnet50", "vgg16"))
"""The other networks of Table 1 under the paper's protocol, the cheapest epoch first."""

ZOO_PROPER = tuple(replace(protocol, **PROPERLY) for protocol in ZOO)

CLASSICAL = tuple(ClassicalProtocol(model=name) for name in METHODS)

PLAUSIBLE = tuple(
    {"pooling": "average", **choice}
    for choice in (
        {"activation": "tanh"},
        {"activation": "sigmoid"},
        {"activation": "tanh", "initializer": "narrow_normal"},
        {"activation": "relu", "initializer": "narrow_normal"},
    )
)
"""Readings of the paper in the manner of 1998, which might give its odd numbers."""

STUDIES = {
    "table1": Study(
        "What does each system that the paper names reach? (as the paper says, and properly)",
        (*LENETS, *ZOO, *ZOO_PROPER),
        CLASSICAL,
    ),
    "lenets": Study("Is LeNet-5 better with the mask than without?", LENETS),
    "zoo": Study("What do larger networks reach under the paper's protocol?", ZOO),
    "zoo_proper": Study("And trained as their authors did?", ZOO_PROPER),
    "classical": Study("And without a network?", (), CLASSICAL),
    "table2": Study(
        "Which learning rate?", tuple(replace(PAPER, learning_rate=r) for r in (0.1, 0.01, 0.001))
    ),
    "table3": Study(
        "Which batch size?", tuple(replace(PAPER, batch_size=b) for b in (48, 64, 96, 128, 256))
    ),
    "table4": Study(
        "How many epochs? (prefixes of one trajectory)",
        tuple(replace(PAPER, epochs=epochs) for epochs in (50, 100, 150)),
    ),
    "assumptions": Study(
        "What is each choice that the paper leaves open worth?",
        (
            *_one_factor_at_a_time(
                SHORT,
                mask_placement=("c1", "c3", "after_pooling"),
                mask_channels=(None,),
                mask_activation=("softmax", "linear"),
                activation=("tanh", "sigmoid"),
                pooling=("average",),
                flip=(False,),
                shift=(0,),
                momentum=(0.9,),
                initializer=("lecun_normal", "he_normal", "narrow_normal"),
            ),
            replace(SHORT, flip=False, shift=0),
        ),
    ),
    "explain": Study(
        "Which plausible protocol gives the paper's odd numbers?",
        (
            *(
                replace(SHORT, model=model, learning_rate=rate, **reading)
                for model, rate, reading in itertools.product(
                    ("lenet5", "lenet5_attention"), (0.01, 0.001), PLAUSIBLE
                )
            ),
            *(replace(SHORT, epochs=50, **reading) for reading in PLAUSIBLE),
        ),
    ),
    "controls": Study(
        "Is it attention, or would something simpler in its place do as well?",
        tuple(
            replace(SHORT, model=model)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "controls_on_noise": Study(
        "And would something simpler do as well where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **CONTROLLED.fields)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "noise": Study(
        "Does the mask help where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **behind.fields)
            for behind in TRAINED_ON
            for model in ("lenet5", "lenet5_attention")
        ),
    ),
    "growth": Study(
        "How do the masks grow? (prefixes of one trajectory)",
        tuple(replace(PAPER, epochs=epochs) for epochs in (1, 5, 20, 100)),
    ),
    "permuted": Study(
        "What do masks look like when there is nothing to learn?",
        (replace(SHORT, permuted_labels=True),),
    ),
    "smoke": Study(
        "Does everything run? (seconds, on the embedded digits)",
        tuple(
            Protocol(dataset="uci", model=model, epochs=epochs, learning_rate=0.1)
            for model, epochs in itertools.product(("lenet5", "lenet5_attention"), (2, 3))
        ),
    ),
}


def study_protocols(name: str, seeds: int = 1, epochs: int | None = None) -> list[Protocol]:
    """The protocols of a study, the first seed's first.

    Args:
        name: A key of `STUDIES`.
        seeds: How many seeds, from 0 on.
        epochs: Instead of each protocol's own.

    Raises:
        ValueError: for an unknown study or fewer than one seed.
    """
    if name not in STUDIES:
        raise ValueError(f"Expected a study among {', '.join(STUDIES)}. Received: name={name!r}")
    if seeds < 1:
        raise ValueError(f"Expected at least one seed. Received: seeds={seeds}")
    changes = {} if epochs is None else {"epochs": epochs}
    return list(
        dict.fromkeys(
            replace(protocol, seed=seed, **changes)
            for seed in range(seeds)
            for protocol in STUDIES[name].protocols
        )
    )


def study_methods(name: str, seeds: int = 1) -> list[ClassicalProtocol]:
    """The classical methods of a study, as `study_protocols` gives its networks."""
    return [replace(m, seed=seed) for seed in range(seeds) for m in STUDIES[name].methods]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a study.

    Attributes:
        finished: Runs whose record is there, those of earlier calls included.
        failed: Run id -> why it has no record.
        cut_short: Runs whose record says that the budget ended them early.
        problems: One line for each JSON file among the records that is none.
    """

    finished: int
    failed: dict[str, str]
    cut_short: int = 0
    problems: tuple[str, ...] = ()


def run_study(
    name: str,
    *,
    seeds: int = 1,
    engine: str = "loky",
    jobs: int | None = None,
    results: Path | str,
    epochs: int | None = None,
    budget_minutes: float | None = None,
    verbose: bool = True,
) -> Outcome:
    """Train every run of a study that has no record yet. Interrupted, it goes on when called again.

    A run that another study has finished counts as finished. Each run has one thread, so its
    record does not depend on `jobs` or on the engine that ran the process.

    With a budget each network is trained for at least one epoch, and its record says how many
    there were. Called again with more, the study goes on and replaces those records.

    Args:
        name: A key of `STUDIES`.
        seeds: How many seeds, from 0 on.
        engine: `"loky"`: processes on this machine. `"dask"`, `"ray"`: processes of a cluster.
            `"lanes"`: one JAX program, for a GPU.
        jobs: Processes at a time; by default one per core.
        results: Folder for records and checkpoints.
        epochs: Instead of each protocol's own.
        budget_minutes: End each run with the epoch in which its training, that of earlier calls
            included, has taken so long.
        verbose: Whether to show a progress bar over the runs.

    Raises:
        ValueError: for an unknown study or engine, no job or no time.
        OSError: if the data cannot be had or `results` cannot be written.
        ImportError: if the engine is not installed.
    """
    jobs = os.cpu_count() if jobs is None else jobs
    order = _Order(name, Path(results), engine, jobs, budget_minutes, verbose)
    order.check()
    runs = [*study_protocols(name, seeds, epochs), *study_methods(name, seeds)]
    require_writable(order.results)
    ids = _run_ids(runs)
    records, _ = _by_id(order.results)
    pending = [run for run in runs if not order.is_done(records.get(ids[run]))]
    options = {"total": len(runs), "initial": len(runs) - len(pending), "disable": not verbose}
    with tqdm(desc=name, unit="run", **options) as bar:
        reasons = _run_all(order, runs, pending, ids, bar)
    # Read again: another process may have made some of them meanwhile, or damaged ones are whole.
    records, problems = _by_id(order.results)
    undone = [run for run in runs if not order.is_done(records.get(ids[run]))]
    failed = {ids[run]: reasons.get(run, "its record is gone") for run in undone}
    cut_short = sum(not is_finished(records[i]) for i in set(ids.values()) - set(failed))
    return Outcome(len(ids) - len(failed) - cut_short, failed, cut_short, tuple(problems))


def _by_id(results: Path) -> tuple[dict[str, dict], list[str]]:
    """Run id -> record, of all studies; and what of the folder is none."""
    records, problems = read_records(results)
    return {record["run_id"]: record for record in records}, problems


Run = Protocol | ClassicalProtocol
Chain = tuple[Run, ...]
"""Runs of one trajectory, shortest first: each goes on from the end of the one before."""


Task = tuple[Chain, str, str, float | None]
"""The arguments of `_run_chain`."""

Done = tuple[Chain, list[dict], dict[Run, str]]
"""A chain, its records, and why runs have none."""


@dataclasses.dataclass(frozen=True)
class _Order:
    """Which study is run, how, and where to: the arguments of `run_study` of these names."""

    study: str
    results: Path
    engine: str
    jobs: int
    budget_minutes: float | None
    verbose: bool

    def check(self) -> None:
        if self.engine not in ENGINES:
            names = ", ".join(ENGINES)
            raise ValueError(f"Expected an engine among {names}. Received: {self.engine!r}")
        _check_jobs(self.jobs)
        check_budget(self.budget_minutes)

    def is_done(self, record: dict | None) -> bool:
        """Whether a run needs no more epochs."""
        return record is not None and is_finished(record, self.budget_minutes)


def _check_jobs(jobs: int) -> None:
    if jobs < 1:
        raise ValueError(f"Expected at least one job. Received: jobs={jobs}")


def _run_ids(runs: list[Run]) -> dict[Run, str]:
    # Loading here makes the cache once, before many processes want it at the same time.
    digests = {name: load_dataset(name).digest for name in {run.dataset for run in runs}}
    return {
        run: (run_id if isinstance(run, Protocol) else classical.run_id)(run, digests[run.dataset])
        for run in runs
    }


def _run_all(
    order: _Order, runs: list[Run], pending: list[Run], ids: dict[Run, str], bar: tqdm
) -> dict[Run, str]:
    """Make the pending runs. Returns what ended those that failed."""
    networks = [run for run in pending if isinstance(run, Protocol)]
    chains = [(run,) for run in pending if not isinstance(run, Protocol)]
    if order.engine != "lanes":
        chains += by_trajectory(networks)
        return _run_chains(order, chains, bar)
    # Lanes of finished runs stay in: without them the others' last bits would change.
    here = {run for run in runs if record_path(order.results, order.study, ids[run]).exists()}
    lanes = [r for r in runs if isinstance(r, Protocol) and (r in networks or r in here)]
    failed = _run_lanes(order, lanes, networks)
    bar.update(len(networks))
    others = dataclasses.replace(order, engine="loky")  # for what is no network
    return failed | _run_chains(others, chains, bar)


def _run_chains(order: _Order, chains: list[Chain], bar: tqdm) -> dict[Run, str]:
    """Run all chains; when a process dies, run what it may have been working on alone, once more.

    joblib does not say which process died, so all chains that were under way are repeated, one
    by one: a chain that kills its process again is surely the cause, and the others only go on
    from their checkpoints.
    """
    failed: dict[Run, str] = {}
    waiting, suspects = list(chains), []
    while waiting or suspects:
        alone = bool(suspects)
        batch = [suspects.pop(0)] if alone else waiting
        started: list[Chain] = []
        ended: list[Chain] = []
        try:
            for chain, errors in _outcomes(order, batch, started):
                ended.append(chain)
                failed.update(errors)
                bar.update(len(chain))
        except TerminatedWorkerError as error:
            under_way = [chain for chain in started if chain not in ended]
            if alone:
                bar.update(len(batch[0]))
                reason = f"its process died 2 times ({str(error).splitlines()[0]})"
                failed.update(dict.fromkeys(batch[0], reason))
            else:
                tqdm.write("A process died; its run is tried once more.", file=sys.stderr)
                suspects = under_way
        if not alone:
            waiting = [c for c in waiting if c not in ended and c not in suspects]
    return failed


def _outcomes(
    order: _Order, chains: list[Chain], started: list[Chain]
) -> Iterator[tuple[Chain, dict[Run, str]]]:
    """Run chains in parallel; yield each as it ends, and what ended runs of it that failed.

    `started` grows meanwhile.
    """

    def tasks() -> Iterator[Task]:
        for chain in chains:
            started.append(chain)
            yield chain, order.study, str(order.results.resolve()), order.budget_minutes

    for chain, records, errors in _POOLS[order.engine](tasks(), order.jobs):
        # On a cluster without a shared disk the record exists only where it was made.
        for record in records:
            write_longer(record, order.results, order.study)
        yield chain, errors


def _loky(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    # joblib runs a single job in this very process. Asking for two and handing out one keeps
    # every run in a process of its own, with its own threads and its own death.
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            n_jobs=max(2, jobs), batch_size=1, pre_dispatch=jobs, return_as="generator_unordered"
        )
        yield from parallel(joblib.delayed(_run_chain)(*task) for task in tasks)


_PATIENCE = 600
"""Seconds until the first worker of a cluster must have come."""

_LOOK_AGAIN = 5
"""Seconds between two looks at how many workers a cluster has."""


def _dask(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    """Dask's own calls: on a single worker joblib's would train in this very process."""
    _need("distributed", "cluster")
    from distributed import wait
    from distributed.scheduler import KilledWorker

    with _dask_client(jobs) as client:
        client.wait_for_workers(1, timeout=_PATIENCE)
        waiting = {}
        while True:
            # No more than run at once: what only waits on a worker that dies counts as killed.
            free = sum(client.nthreads().values()) - len(waiting)
            for task in itertools.islice(tasks, max(free, not waiting)):
                waiting[client.submit(_run_chain, *task, pure=False)] = task[0]
            if not waiting:
                return
            try:
                done = wait([*waiting], timeout=_LOOK_AGAIN, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue  # other workers may have come meanwhile
            for future in done:
                chain = waiting.pop(future)
                try:
                    yield future.result()
                except KilledWorker as error:
                    times = error.allowed_failures + 1
                    yield chain, [], dict.fromkeys(chain, f"its process died {times} times")


def _ray(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    """Ray's own calls: its backend of joblib hands out no result before all are there."""
    _need("ray", "ray")
    import ray

    with _ray_cluster(jobs):
        remote = ray.remote(num_cpus=1, max_retries=1)(_run_chain)
        waiting = {remote.remote(*task): task[0] for task in tasks}
        while waiting:
            (ready,), _ = ray.wait([*waiting])
            chain = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.WorkerCrashedError:
                yield chain, [], dict.fromkeys(chain, "its process died 2 times")


@contextlib.contextmanager
def _ray_cluster(jobs: int) -> Iterator[None]:
    """The cluster that `RAY_ADDRESS` names, or one of `jobs` processes made here."""
    import ray

    size = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
    with ray.init(log_to_driver=False, logging_level="error", **size):
        yield


_POOLS = {"loky": _loky, "dask": _dask, "ray": _ray}
"""Engine -> how it runs tasks in processes and yields what comes of each as it ends."""


def _dask_client(jobs: int):
    """The cluster that `DASK_SCHEDULER_ADDRESS` names, or one of `jobs` processes made here."""
    import dask
    import distributed

    if dask.config.get("scheduler-address", None):
        return distributed.Client()
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        return distributed.Client(n_workers=jobs, threads_per_worker=1, dashboard_address=None)


def _need(module: str, extra: str) -> None:
    try:
        __import__(module)
    except ImportError as error:
        raise ImportError(
            f"This engine needs {module}: pip install 'mnist-attention[{extra}]'"
        ) from error


def _run_chain(chain: Chain, study: str, results: str, budget_minutes: float | None = None) -> Done:
    """Train the runs of one chain in this process; an error ends the chain, not the study."""
    _use_one_thread()
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C reaches every process of the terminal; the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    records: list[dict] = []
    for run in chain:
        try:
            records.append(_make(run, study, results, budget_minutes))
            gc.collect()  # graphs hold each other: without this a process grows with every run
        except Exception as error:  # TensorFlow's own errors have no closer common class
            reason = f"{type(error).__name__}: {error}"
            return chain, records, dict.fromkeys(chain[len(records) :], reason)
    return chain, records, {}


def _make(run: Run, study: str, results: str, budget_minutes: float | None) -> dict:
    if isinstance(run, ClassicalProtocol):
        return classical.fit(run, results=results, study=study)
    from . import train

    options = {"budget_minutes": budget_minutes, "verbose": False}
    return train(run, results=results, study=study, **options)


def _use_one_thread() -> None:
    """TensorFlow reads these when it is imported. Two processes of one thread finish twice the
    runs of one process of two threads."""
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"


def _run_lanes(order: _Order, lanes: list[Protocol], pending: list[Protocol]) -> dict[Run, str]:
    """LeNets side by side; each network of the zoo, which fills a GPU by itself, alone."""
    _need("jax", "jax")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "jax"
    from .lanes import train_lanes

    large = {protocol.model for protocol in ZOO}
    small = [run for run in lanes if run.model not in large]
    groups = [] if set(small).isdisjoint(pending) else [small]
    groups += [[run] for run in pending if run.model in large]
    failed: dict[Run, str] = {}
    for group in groups:
        try:
            train_lanes(
                group,
                results=order.results,
                study=order.study,
                checkpoint_every=1 if group[0].model in large else 10,
                budget_minutes=order.budget_minutes,
                verbose=order.verbose,
            )
        except (RuntimeError, MemoryError, OSError) as error:  # too large for this GPU, say
            failed |= dict.fromkeys(group, f"{type(error).__name__}: {error}")
    return failed


# What is measured of trained networks


def measure_studies(
    names: Sequence[str],
    *,
    seeds: int = 1,
    epochs: int | None = None,
    jobs: int | None = None,
    results: Path | str,
    weights: Path | str | None = None,
    verbose: bool = True,
) -> tuple[int, dict[str, str]]:
    """Measure every network of some studies whose weights are here and that was not measured yet.

    Args:
        names: Keys of `STUDIES`.
        seeds: How many seeds, from 0 on.
        epochs: Instead of each protocol's own.
        jobs: Processes at a time, each of one thread; by default one per core. 1: this process.
        results: Folder of the records and of the states that training left.
        weights: Folder of weights that were kept.
        verbose: Whether to show a progress bar over the networks.

    Returns:
        How many networks are measured now, and run id -> why one is not.

    Raises:
        ValueError: for an unknown study, fewer than one seed or no job.
        OSError: if the data cannot be had or `results` cannot be written.
    """
    jobs = os.cpu_count() if jobs is None else jobs
    _check_jobs(jobs)
    # The first seeds of all studies first, as they start from the same networks.
    protocols = sorted(
        {p for name in names for p in study_protocols(name, seeds, epochs)},
        key=lambda protocol: (protocol.seed, protocol.model),
    )
    require_writable(Path(results))
    ids = _run_ids(protocols)
    measure = joblib.delayed(_measure)
    tasks = (measure(p, Path(results), weights, jobs > 1) for p in protocols)
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        outcomes = joblib.Parallel(
            n_jobs=jobs, batch_size=1, pre_dispatch="n_jobs", return_as="generator_unordered"
        )(tasks)
        bar = {"total": len(protocols), "unit": "network", "disable": not verbose}
        lacking = {ids[protocol]: why for protocol, why in tqdm(outcomes, "measure", **bar) if why}
    return len(protocols) - len(lacking), lacking


def _measure(
    protocol: Protocol, results: Path, weights: Path | None, own_process: bool
) -> tuple[Protocol, str]:
    """Measure one network. Returns why it could not be, or an empty text."""
    if own_process:
        _use_one_thread()
    with silenced_stderr():
        from .measurements import conditions_of, measure_run
    try:
        measure_run(protocol, conditions_of(protocol.dataset), results, weights)
    except (FileNotFoundError, ValueError) as error:
        return protocol, str(error)
    return protocol, ""
