"""``run_study`` makes the missing records of a study, ``measure_studies`` measures its networks,
``merge_records`` copies the records of another folder."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from ..data import load_dataset
from ..protocol import Protocol, by_trajectory
from ..records import (
    MEASUREMENTS,
    is_finished,
    read_record,
    read_records,
    record_path,
    write_if_longer,
)
from ..storage.files import require_writable
from . import classical
from .catalogue import study_protocols, study_runs
from .engines import Chain, call_in_processes, make_network, run_chains, run_lanes
from .options import RunOptions, count_jobs


@dataclasses.dataclass(frozen=True)
class StudyResult:
    """How far a study is, runs of earlier calls included."""

    finished: int
    failed: dict[str, str]  # run id -> why it has no record
    cut_short: int = 0  # runs that the budget ended early
    unfinished: int = 0  # runs that the deadline stopped
    problems: tuple[str, ...] = ()  # one line for each JSON file that is no record


def run_study(
    name: str,
    *,
    results: Path | str,
    seeds: int = 1,
    first_seed: int = 0,
    models: Collection[str] = (),
    epochs: int | None = None,
    **options,
) -> StudyResult:
    """Make the missing records of a study. Interrupted, it goes on when called again.

    A run that another study has finished counts as finished. Each run has one thread, so its
    record does not depend on `jobs` or on the engine that ran the process. With a budget each
    network is trained for at least one epoch; called again with more, the study goes on and
    replaces the records of shorter runs.

    `name` to `epochs` are those of `study_runs`, `options` further fields of `RunOptions`.

    Raises:
        ValueError: for an unknown study, model or engine, no job or no time; for a deadline of
            processes outside the main thread.
        OSError: if data are missing, `results` cannot be written, or a cluster does not answer.
        ImportError: if the engine is not installed.
    """
    options = RunOptions(study=name, results=results, **options)
    runs = study_runs(name, seeds, epochs, first_seed=first_seed, models=models)
    protocols = [run for run in runs if isinstance(run, Protocol)]
    require_writable(options.results)
    ids = _run_ids(runs)
    records = {record["run_id"]: record for record in read_records(options.results)[0]}
    elsewhere = _count_elsewhere(options, protocols, ids, records)
    options = dataclasses.replace(options, seconds_elsewhere=elsewhere)

    pending = [run for run in ids if not options.is_done(run, records.get(ids[run]))]
    networks = [run for run in protocols if run in pending]
    chains = [Chain((run,), classical.fit) for run in pending if run not in networks]
    bar = {"total": len(ids), "initial": len(ids) - len(pending), "disable": not options.verbose}
    with tqdm(desc=name, unit="run", **bar) as bar:
        if options.engine == "lanes":
            # Lanes of finished runs stay in: without them the others' last bits would change.
            paths = {run: record_path(options.results, name, ids[run]) for run in protocols}
            lanes = [run for run in protocols if run in pending or paths[run].exists()]
            reasons = run_lanes(options, lanes, networks, bar)
            reasons |= run_chains(dataclasses.replace(options, engine="loky"), chains, bar)
        else:
            chains += [Chain(runs, make_network) for runs in by_trajectory(networks)]
            reasons = run_chains(options, chains, bar)

    # Read again: other processes may have made or repaired records meanwhile.
    found, problems = read_records(options.results)
    records = {record["run_id"]: record for record in found}
    undone = [run for run in ids if not options.is_done(run, records.get(ids[run]))]
    if options.deadline_minutes is None:
        # A shorter run does not replace a record: the budget ended it.
        undone = [run for run in undone if run in reasons or ids[run] not in records]
        reasons = dict.fromkeys(undone, "its record is gone") | reasons
    failed = {ids[run]: reasons[run] for run in undone if run in reasons}
    finished = sum(is_finished(records[ids[run]]) for run in ids if run not in undone)
    return StudyResult(
        finished=finished,
        failed=failed,
        cut_short=len(ids) - len(undone) - finished,
        unfinished=len(undone) - len(failed),
        problems=tuple(problems),
    )


def _run_ids(runs: Iterable[Protocol | classical.ClassicalProtocol]) -> dict:
    # Loading here makes the cache once, before many processes want it at the same time.
    digests = {name: load_dataset(name).digest for name in {run.dataset for run in runs}}
    return {run: run.run_id(digests[run.dataset]) for run in runs}


def _count_elsewhere(
    options: RunOptions, protocols: list[Protocol], ids: dict, records: dict[str, dict]
) -> dict[Protocol, float]:
    """Seconds of each run that no budget counts; a longer run goes on from a shorter one."""
    seconds = {}
    for chain in by_trajectory(protocols):
        counts = (options.count_elsewhere(records.get(ids[run])) for run in chain)
        seconds |= zip(chain, itertools.accumulate(counts, max), strict=True)
    return seconds


def merge_records(source: Path | str, results: Path | str) -> tuple[int, int, list[str]]:
    """Copy the records of another results folder; of two of the same run the longer one stays.

    Returns how many records were copied, how many were there already, and one line for each file
    that is damaged or no record: those are not copied. OSError if `results` cannot be written.
    """
    copied, kept, refused = 0, 0, []
    results = require_writable(results)
    for path in sorted(Path(source).glob("[!.]*/[!.]*.json")):
        study = path.parent.name
        if study == MEASUREMENTS:
            continue
        try:
            record = read_record(path)
        except (ValueError, OSError) as error:
            refused.append(str(error))
            continue
        written = write_if_longer(record, results, study) is record
        copied, kept = copied + written, kept + (not written)
    return copied, kept, refused


def measure_studies(
    names: Sequence[str],
    *,
    jobs: int | None = None,
    results: Path | str,
    weights: Path | str | None = None,
    verbose: bool = True,
    **selection,
) -> tuple[int, dict[str, str]]:
    """Measure every network of some studies whose weights are here and that was not measured yet.

    They are in `weights`, or in the states that training left in `results`. One job is this
    process. `selection` are arguments of `study_runs`, which has the errors. Returns how many
    networks are measured now, and run id -> why one is not.
    """
    jobs = count_jobs(jobs)
    # The first seeds of all studies first, as they start from the same networks.
    protocols = {run for name in names for run in study_protocols(name, **selection)}
    protocols = sorted(protocols, key=lambda run: (run.seed, run.model))
    results = require_writable(results)
    ids = _run_ids(protocols)
    outcomes = call_in_processes(_measure, ((run, results, weights) for run in protocols), jobs)
    bar = {"total": len(protocols), "unit": "network", "disable": not verbose}
    lacking = {ids[run]: why for run, why in tqdm(outcomes, "measure", **bar) if why}
    return len(protocols) - len(lacking), lacking


def _measure(run: Protocol, results: Path, weights: Path | None) -> tuple[Protocol, str]:
    """Measure one network; say why it failed."""
    from ..probes.measure import load_conditions, measure_run

    try:
        measure_run(run, load_conditions(run.dataset), results, weights)
    except (OSError, ValueError) as error:  # a file of this network is damaged, say
        return run, str(error)
    return run, ""
