"""The engines: runs in processes of this machine or of a cluster, or as lanes of one program."""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from ..protocol import Protocol
from ..records import write_if_longer
from .classical import ClassicalProtocol
from .options import RunOptions

Run = Protocol | ClassicalProtocol


@dataclasses.dataclass(frozen=True)
class Chain:
    """Runs of one trajectory for one process, shortest first: each continues the one before."""

    runs: Sequence[Run]
    make: Callable[[Run, RunOptions], dict]  # makes the record of a run


Task = tuple[Chain, RunOptions]
Done = tuple[Chain, list[dict], dict[Run, str]]  # its records, and why runs have none


class DeadlineReached(Exception):
    """The time of this call is up."""


@contextlib.contextmanager
def interrupt_after(seconds: float) -> Iterator[None]:
    """Raise `DeadlineReached` in the main thread after so many seconds."""
    if seconds == float("inf"):
        yield
        return

    def stop(*_):
        raise DeadlineReached

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_chains(options: RunOptions, chains: list[Chain], bar: tqdm) -> dict[Run, str]:
    """Run all chains. Returns run -> why it has no record, but for those that the deadline stopped.

    When a process dies, joblib does not say which: the chains that were under way are repeated, one
    at a time. One that kills its process when it is alone is the cause; the others go on from their
    states.
    """
    failed: dict[Run, str] = {}
    batches = [(chains, False)]
    with contextlib.suppress(DeadlineReached), interrupt_after(options.seconds_left()):
        while batches:
            batch, alone = batches.pop(0)
            started: list[Chain] = []
            ended: list[Chain] = []
            try:
                for chain, records, errors in _start(batch, options, started):
                    # On a cluster without a shared disk the record is only where it was made.
                    for record in records:
                        write_if_longer(record, options.results, options.study)
                    ended.append(chain)
                    failed |= errors
                    bar.update(len(chain.runs))
            except TerminatedWorkerError as error:
                if alone:
                    failed |= _died(batch[0], 2, f" ({str(error).splitlines()[0]})")
                    bar.update(len(batch[0].runs))
                else:
                    tqdm.write("A process died; its run is tried once more.", file=sys.stderr)
                    batches += [([chain], True) for chain in started if chain not in ended]
                    batches.append(([chain for chain in batch if chain not in started], False))
    return failed


def _start(chains: list[Chain], options: RunOptions, started: list[Chain]) -> Iterator[Done]:
    """Run chains in processes; yield each as it ends. `started` grows meanwhile."""

    def tasks() -> Iterator[Task]:
        for chain in chains:
            started.append(chain)
            yield chain, options

    return _POOLS[options.engine](tasks(), options.jobs) if chains else iter(())


def _died(chain: Chain, times: int, reason: str = "") -> dict[Run, str]:
    return dict.fromkeys(chain.runs, f"its process died {times} times{reason}")


def _loky(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    # A single job would run in this very process. Asking for two and handing out one keeps each
    # run in its own process, so a crash kills only that run.
    return call_in_processes(run_chain, tasks, max(2, jobs), at_once=jobs)


def call_in_processes(
    function: Callable, calls: Iterable[tuple], jobs: int, at_once: int | None = None
) -> Iterator:
    """Call `function` with each tuple of arguments; yield what it returns, as each call ends.

    The processes compute with one thread and end with this one. A single job is this process.
    """
    call = joblib.delayed(functools.partial(_call_in_worker, os.getpid(), function))
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(
            jobs, batch_size=1, pre_dispatch=at_once or jobs, return_as="generator_unordered"
        )
        yield from parallel(call(*arguments) for arguments in calls)


def _call_in_worker(parent: int, function: Callable, *arguments):
    if os.getpid() != parent:
        end_with_parent(parent)
        use_one_thread()
    return function(*arguments)


@functools.cache
def end_with_parent(parent: int) -> None:
    """Kill this process as soon as its parent has ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They reach every process of a terminal or a job; the parent alone decides what to do.
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)

    def watch() -> None:  # other systems, and a parent that ended before
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


_PATIENCE = 600  # seconds without a worker after which a cluster counts as lost


def _dask(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    """Dask's own calls: on a single worker joblib's would train in this very process."""
    _need("distributed", "cluster")
    from distributed import CancelledError

    with _dask_client(jobs) as client:
        address = client.scheduler.address
        try:
            client.wait_for_workers(1, timeout=_PATIENCE)
            yield from _dask_results(client, tasks)
        except TimeoutError as error:
            raise TimeoutError(
                f"Expected a worker of the dask scheduler at {address}. Received: none in "
                f"{_PATIENCE} s. Start one: dask worker {address} --nthreads 1"
            ) from error
        except (CancelledError, OSError) as error:
            raise ConnectionError(
                f"Expected the dask scheduler at {address} to answer until the end. Received: a "
                "closed connection. Finished records are kept: start the scheduler, then repeat "
                "the command."
            ) from error


def _dask_results(client, tasks: Iterator[Task]) -> Iterator[Done]:
    from distributed import wait
    from distributed.scheduler import KilledWorker

    waiting, seen = {}, time.monotonic()
    while True:
        if threads := sum(client.nthreads().values()):
            seen = time.monotonic()
        elif time.monotonic() - seen > _PATIENCE:
            raise TimeoutError
        # No more than run at once: what only waits on a worker that dies counts as killed.
        free = threads - len(waiting)
        for task in itertools.islice(tasks, max(free, not waiting)):
            waiting[client.submit(run_chain, *task, pure=False)] = task[0]
        if not waiting:
            return
        try:
            done = wait([*waiting], timeout=5, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            continue  # more workers may have come meanwhile
        for future in done:
            chain = waiting.pop(future)
            try:
                yield future.result()
            except KilledWorker as error:
                yield chain, [], _died(chain, error.allowed_failures + 1)


def _dask_client(jobs: int):
    """The cluster that `DASK_SCHEDULER_ADDRESS` names, or one of `jobs` processes made here."""
    import dask
    import distributed

    # What distributed logs of a lost scheduler is a page of tracebacks; we raise one line.
    for name in ("distributed", "distributed.client", "asyncio", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if address := dask.config.get("scheduler-address", None):
        try:
            return distributed.Client()
        except OSError as error:
            raise ConnectionError(
                f"Expected a dask scheduler at {address}. Received: no answer ({error}). Start it, "
                "or correct DASK_SCHEDULER_ADDRESS."
            ) from error
    # Any free port will do: the default one may be another cluster's.
    own = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    # A worker that dies while it is started again would be given up after 15 seconds.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        return distributed.Client(**own)


def _ray(tasks: Iterator[Task], jobs: int) -> Iterator[Done]:
    """Ray's own calls: its backend of joblib hands out no result before all are there."""
    _need("ray", "ray")
    import ray

    # The cluster that RAY_ADDRESS names, or one of `jobs` processes made here.
    own = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
    with ray.init(log_to_driver=False, logging_level="error", **own):
        remote = ray.remote(num_cpus=1, max_retries=1)(run_chain)
        waiting = {remote.remote(*task): task[0] for task in tasks}
        while waiting:
            (ready,), _ = ray.wait([*waiting])
            chain = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.WorkerCrashedError:
                yield chain, [], _died(chain, 2)


_POOLS = {"loky": _loky, "dask": _dask, "ray": _ray}


def _need(module: str, extra: str) -> None:
    try:
        __import__(module)
    except ImportError as error:
        install = f"pip install 'mnist-attention[{extra}]'"
        raise ImportError(f"This engine needs {module}: {install}") from error


def run_chain(chain: Chain, options: RunOptions) -> Done:
    """Make the runs of one chain in this process; an error ends the chain, not the study."""
    use_one_thread()
    records: list[dict] = []
    for run in chain.runs:
        try:
            records.append(chain.make(run, options))
            gc.collect()  # graphs hold each other: without this a process grows with every run
        except Exception as error:  # TensorFlow's own errors have no closer common class
            reason = f"{type(error).__name__}: {error}"
            return chain, records, dict.fromkeys(chain.runs[len(records) :], reason)
    return chain, records, {}


def make_network(protocol: Protocol, options: RunOptions) -> dict:
    """Train a network and return its record."""
    from .. import train

    return train(
        protocol,
        results=options.results,
        study=options.study,
        budget_minutes=options.budget_minutes,
        seconds_elsewhere=options.seconds_elsewhere.get(protocol, 0.0),
        verbose=False,
    )


def use_one_thread() -> None:
    """Make TensorFlow use one thread, if it is not imported yet.

    Two processes of one thread finish twice the runs of one process of two threads.
    """
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"


def run_lanes(
    options: RunOptions, lanes: list[Protocol], pending: list[Protocol], bar: tqdm
) -> dict[Run, str]:
    """Train the programs that have a pending run, until the deadline. Returns as `run_chains`."""
    _need("jax", "jax")
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "jax"
    from .lanes import by_program, train_program

    failed: dict[Run, str] = {}
    for group in by_program(lanes):
        if set(group).isdisjoint(pending) or options.seconds_left() <= 0:
            continue
        try:
            bar.update(len(train_program(group, options).keys() & {*pending}))
        except (RuntimeError, MemoryError, OSError, ValueError) as error:  # too large, say
            failed |= dict.fromkeys(group, f"{type(error).__name__}: {error}")
    return failed
