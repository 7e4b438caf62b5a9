"""``verify``: train runs again and say whether their records come out again."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..protocol import PAPER, Protocol
from ..records import read_records, reproducible_text
from .engines import call_in_processes, use_one_thread
from .options import count_jobs

PAPERS_PAIR = (PAPER, dataclasses.replace(PAPER, model="lenet5"))

LIMIT = 3.0  # standard deviations between a run of another machine and the mean of the seeds


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A run made again (model and seed), beside the records of its setting."""

    name: str
    equal: bool  # byte for byte, but for `environment`
    distance: float | None  # from the mean of the seeds, in their standard deviations

    @property
    def reproduced(self) -> bool:
        return self.equal or (self.distance is not None and abs(self.distance) <= LIMIT)

    def __str__(self) -> str:
        if self.equal:
            return f"{self.name}: equal, byte for byte"
        if self.distance is None:
            return f"{self.name}: not reproduced: too few records to compare with"
        outcome = "within the spread of seeds" if self.reproduced else "not reproduced"
        away = f"{self.distance:+.1f} standard deviations from the mean of the recorded seeds"
        return f"{self.name}: {outcome}: {away} (limit {LIMIT:g})"


def compare(record: dict, recorded: Sequence[dict]) -> Comparison:
    """Compare a run with its own record, and with those that differ from it in the seed alone."""
    name = f"{record['protocol']['model']}, seed {record['protocol']['seed']}"
    seeds = [there for there in recorded if _setting(there) == _setting(record)]
    own = [there for there in seeds if there["run_id"] == record["run_id"]]
    equal = any(reproducible_text(there) == reproducible_text(record) for there in own)
    if not own or len(seeds) < 3:
        return Comparison(name, equal, None)
    accuracies = [there["result"]["test_accuracy"] for there in seeds]
    away = record["result"]["test_accuracy"] - np.mean(accuracies)
    spread = np.std(accuracies, ddof=1)
    return Comparison(name, equal, float(away / spread) if spread else np.sign(away) * np.inf)


def _setting(record: dict) -> dict:
    return {**record["protocol"], "seed": None, "digest": record["dataset"]["digest"]}


def verify(
    results: Path | str,
    folder: Path | str,
    *,
    protocols: Sequence[Protocol] = PAPERS_PAIR,
    jobs: int | None = None,
    verbose: bool = True,
) -> list[Comparison]:
    """Train `protocols` into `folder` and compare with the records in `results`.

    Interrupted, it goes on when called again. `jobs`: processes at a time, each of one thread; by
    default one for each core. 1: this one. OSError if the data are missing or `folder` cannot be
    written.
    """
    recorded, _ = read_records(Path(results))
    calls = [(protocol, Path(folder), verbose) for protocol in protocols]
    jobs = min(count_jobs(jobs), len(calls))
    made = dict(call_in_processes(_train, calls, jobs))
    return [compare(made[protocol], recorded) for protocol in protocols]


def _train(protocol: Protocol, folder: Path, verbose: bool) -> tuple[Protocol, dict]:
    use_one_thread()  # as the recorded runs had
    from .. import train

    return protocol, train(protocol, results=folder, study="verify", verbose=verbose)
