"""How the runs of a study are made: in processes of this machine or of a cluster, or as lanes.

Every engine is given the same runs and yields the same records; they differ in where the work is
done and in what happens when a process dies.
"""

import contextlib
import dataclasses
import gc
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from ..protocol import Protocol
from ..records import check_budget, is_finished, write_if_longer
from . import classical
from .classical import ClassicalProtocol

ENGINES = ("loky", "dask", "ray", "lanes")

Run = Protocol | ClassicalProtocol
Chain = tuple[Run, ...]
"""Runs of one trajectory, shortest first: each goes on from the end of the one before."""

Task = tuple[Chain, str, str, float | None]
"""The arguments of `run_chain`."""

Done = tuple[Chain, list[dict], dict[Run, str]]
"""A chain, its records, and why runs have none."""


@dataclasses.dataclass(frozen=True)
class Order:
    """Which study is run, how, and where to: the arguments of `run_study` of these names."""

    study: str
    results: Path
    engine: str
    jobs: int
    budget_minutes: float | None
    verbose: bool

    def check(self) -> None:
        """Raise ValueError for an unknown engine, no job or no time."""
        if self.engine not in ENGINES:
            names = ", ".join(ENGINES)
            raise ValueError(f"Expected an engine among {names}. Received: {self.engine!r}")
        check_jobs(self.jobs)
        check_budget(self.budget_minutes)

    def is_done(self, record: dict | None) -> bool:
        """Whether a run needs no more epochs."""
        return record is not None and is_finished(record, self.budget_minutes)


def check_jobs(jobs: int) -> None:
    """Raise ValueError unless there is at least one process to work in."""
    if jobs < 1:
        raise ValueError(f"Expected at least one job. Received: jobs={jobs}")


def run_chains(order: Order, chains: list[Chain], bar: tqdm) -> dict[Run, str]:
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
    order: Order, chains: list[Chain], started: list[Chain]
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
            write_if_longer(record, order.results, order.study)
        yield chain, errors


def _loky(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    # joblib runs a single job in this very process. Asking for two and handing out one keeps
    # every run in a process of its own, with its own threads and its own death.
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            n_jobs=max(2, jobs), batch_size=1, pre_dispatch=jobs, return_as="generator_unordered"
        )
        yield from parallel(joblib.delayed(run_chain)(*task) for task in tasks)


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
                waiting[client.submit(run_chain, *task, pure=False)] = task[0]
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
        remote = ray.remote(num_cpus=1, max_retries=1)(run_chain)
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
        # Any free port will do: the default one may be another cluster's.
        return distributed.Client(n_workers=jobs, threads_per_worker=1, dashboard_address=":0")


def _need(module: str, extra: str) -> None:
    try:
        __import__(module)
    except ImportError as error:
        raise ImportError(
            f"This engine needs {module}: pip install 'mnist-attention[{extra}]'"
        ) from error


def run_chain(chain: Chain, study: str, results: str, budget_minutes: float | None = None) -> Done:
    """Train the runs of one chain in this process; an error ends the chain, not the study."""
    use_one_thread()
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
    from .. import train

    options = {"budget_minutes": budget_minutes, "verbose": False}
    return train(run, results=results, study=study, **options)


def use_one_thread() -> None:
    """TensorFlow reads these when it is imported. Two processes of one thread finish twice the
    runs of one process of two threads."""
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"


def run_lanes(order: Order, lanes: list[Protocol], pending: list[Protocol]) -> dict[Run, str]:
    """LeNets of a program side by side; each network of the zoo, which fills a GPU, alone."""
    _need("jax", "jax")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "jax"
    from .lanes import by_program, train_lanes

    small = [run for run in lanes if run.model.startswith("lenet5")]
    groups = [group for group in by_program(small) if not set(group).isdisjoint(pending)]
    groups += [[run] for run in pending if run not in small]
    failed: dict[Run, str] = {}
    for group in groups:
        try:
            train_lanes(
                group,
                results=order.results,
                study=order.study,
                checkpoint_every=10 if group[0] in small else 1,
                budget_minutes=order.budget_minutes,
                verbose=order.verbose,
            )
        except (RuntimeError, MemoryError, OSError) as error:  # too large for this GPU, say
            failed |= dict.fromkeys(group, f"{type(error).__name__}: {error}")
    return failed
