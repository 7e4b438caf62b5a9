"""``verify``: train runs again and say whether their records come out again."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..checks import expect
from ..data import load_dataset
from ..protocol import PAPER, Protocol
from ..records import finished_record, read_records, record_path, reproducible_text
from ..storage.states import checkpoint_path
from .engines import call_in_processes, use_one_thread
from .options import count_jobs

PAPERS_PAIR = (PAPER, dataclasses.replace(PAPER, model="lenet5"))

STUDY = "verify"
LIMIT = 3.0  # standard deviations between a run of another machine and the mean of the seeds


def compare(record: dict, recorded: Sequence[dict]) -> tuple[bool, str]:
    """Whether a run comes out again, and a line that says so.

    It is compared with its own record, byte for byte but for `environment`, and with the mean of
    those that differ from it in the seed alone.
    """
    name = f"{record['protocol']['model']}, seed {record['protocol']['seed']}"
    seeds = [there for there in recorded if _setting(there) == _setting(record)]
    own = [there for there in seeds if there["run_id"] == record["run_id"]]
    if any(reproducible_text(there) == reproducible_text(record) for there in own):
        return True, f"{name}: equal, byte for byte"
    if not own or len(seeds) < 3:
        return False, f"{name}: not reproduced: too few records to compare with"
    accuracies = [there["result"]["test_accuracy"] for there in seeds]
    away = record["result"]["test_accuracy"] - np.mean(accuracies)
    away /= np.std(accuracies, ddof=1) or 1e-9  # all seeds may be stuck at chance
    near = bool(abs(away) <= LIMIT)
    outcome = "within the spread of seeds" if near else "not reproduced"
    text = f"{outcome}: {away:+.1f} standard deviations from the mean of the recorded seeds"
    return near, f"{name}: {text} (limit {LIMIT:g})"


def _setting(record: dict) -> dict:
    return {**record["protocol"], "seed": None, "digest": record["dataset"]["digest"]}


def verify(
    results: Path | str,
    folder: Path | str,
    *,
    protocols: Sequence[Protocol] = PAPERS_PAIR,
    jobs: int | None = None,
    verbose: bool = True,
) -> list[tuple[bool, str]]:
    """Train `protocols` into `folder` and `compare` with the records in `results`.

    Interrupted, it goes on when called again; once it has ended, a call trains again. `jobs`:
    processes at a time, each of one thread; by default one for each core. 1: this one. ValueError
    if `folder` is that of the records; OSError if the data are missing or `folder` cannot be
    written.
    """
    apart = Path(folder).resolve() != Path(results).resolve()
    expect(apart, "another folder than that of the records", f"{folder=}")
    _forget_last_call(protocols, Path(folder))
    recorded, _ = read_records(Path(results))
    calls = [(protocol, Path(folder), verbose) for protocol in protocols]
    jobs = min(count_jobs(jobs), len(calls))
    made = dict(call_in_processes(_train, calls, jobs))
    return [compare(made[protocol], recorded) for protocol in protocols]


def _forget_last_call(protocols: Sequence[Protocol], folder: Path) -> None:
    """Delete records and states of `protocols` if all are finished: they would be read again."""
    digests = [load_dataset(protocol.dataset).digest for protocol in protocols]
    runs = [*zip(protocols, digests, strict=True)]
    paths = [record_path(folder, STUDY, run.run_id(digest)) for run, digest in runs]
    if all(map(finished_record, paths)):
        for path, run in zip(paths, runs, strict=True):
            path.unlink()
            shutil.rmtree(checkpoint_path(folder, *run).parent, ignore_errors=True)


def _train(protocol: Protocol, folder: Path, verbose: bool) -> tuple[Protocol, dict]:
    use_one_thread()  # as the recorded runs had
    from .. import train

    return protocol, train(protocol, results=folder, study=STUDY, verbose=verbose)
