"""A study is a named list of protocols. ``run_study`` trains what of it is not finished yet,
``measure_studies`` measures the trained networks."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import joblib
from tqdm import tqdm

from ..data import load_dataset
from ..protocol import Protocol, by_trajectory, run_id
from ..records import is_finished, read_records, record_path
from ..storage.files import require_writable
from ..storage.quiet import silence_stderr
from . import classical
from .catalogue import study_methods, study_protocols
from .engines import Order, Run, check_jobs, run_chains, run_lanes, use_one_thread


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
        jobs: Processes at a time; by default one for each core that this process may use.
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
    jobs = joblib.cpu_count() if jobs is None else jobs
    order = Order(name, Path(results), engine, jobs, budget_minutes, verbose)
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


def _run_ids(runs: list[Run]) -> dict[Run, str]:
    # Loading here makes the cache once, before many processes want it at the same time.
    digests = {name: load_dataset(name).digest for name in {run.dataset for run in runs}}
    return {
        run: (run_id if isinstance(run, Protocol) else classical.run_id)(run, digests[run.dataset])
        for run in runs
    }


def _run_all(
    order: Order, runs: list[Run], pending: list[Run], ids: dict[Run, str], bar: tqdm
) -> dict[Run, str]:
    """Make the pending runs. Returns what ended those that failed."""
    networks = [run for run in pending if isinstance(run, Protocol)]
    chains = [(run,) for run in pending if not isinstance(run, Protocol)]
    if order.engine != "lanes":
        chains += by_trajectory(networks)
        return run_chains(order, chains, bar)
    # Lanes of finished runs stay in: without them the others' last bits would change.
    here = {run for run in runs if record_path(order.results, order.study, ids[run]).exists()}
    lanes = [r for r in runs if isinstance(r, Protocol) and (r in networks or r in here)]
    failed = run_lanes(order, lanes, networks)
    bar.update(len(networks))
    others = dataclasses.replace(order, engine="loky")  # for what is no network
    return failed | run_chains(others, chains, bar)


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
        jobs: Processes at a time, each of one thread; by default as in `run_study`. 1: this one.
        results: Folder of the records and of the states that training left.
        weights: Folder of weights that were kept.
        verbose: Whether to show a progress bar over the networks.

    Returns:
        How many networks are measured now, and run id -> why one is not.

    Raises:
        ValueError: for an unknown study, fewer than one seed or no job.
        OSError: if the data cannot be had or `results` cannot be written.
    """
    jobs = joblib.cpu_count() if jobs is None else jobs
    check_jobs(jobs)
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
        use_one_thread()
    with silence_stderr():
        from ..probes.measure import load_conditions, measure_run
    try:
        measure_run(protocol, load_conditions(protocol.dataset), results, weights)
    except (OSError, ValueError) as error:  # a file of this network is damaged, say
        return protocol, str(error)
    return protocol, ""
