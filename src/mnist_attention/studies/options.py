"""``RunOptions``: how runs are made and where their records go."""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path

import joblib

from ..checks import expect
from ..records import add_seconds, check_budget, check_study, is_finished
from ..storage.machine import describe_device

ENGINES = ("loky", "dask", "ray", "lanes")

LOWERINGS = ("grouped", "patches")
"""How the engine `lanes` computes a convolution whose kernel differs by lane."""


def count_jobs(jobs: int | None) -> int:
    """So many jobs; by default one for each core that this process may use. ValueError below 1."""
    jobs = joblib.cpu_count() if jobs is None else jobs
    expect(jobs >= 1, "at least one job", f"{jobs=}")
    return jobs


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `run_study`.

    Raises:
        ValueError: for an unknown engine or lowering, no job or no time.
    """

    results: Path  # folder of records and states
    study: str = "single"  # subfolder of the records
    engine: str = "loky"  # processes of this machine or (dask, ray) of a cluster; lanes: for a GPU
    jobs: int | None = None  # processes at a time; by default one for each usable core
    # End each run with the epoch in which its training has taken so long; epochs of earlier calls
    # count, those of another engine or device do not.
    budget_minutes: float | None = None
    deadline_minutes: float | None = None  # end this call after so long; runs keep their states
    lowering: str = "grouped"  # one of `LOWERINGS`, for lanes
    checkpoint_every: int | None = None  # epochs of lanes between states; default: 10, 1 if large
    verbose: bool = True  # show progress bars
    seconds_elsewhere: Mapping = dataclasses.field(default_factory=dict)  # run -> that do not count
    started: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self):
        # Workers may have another working folder.
        vars(self).update(jobs=count_jobs(self.jobs), results=Path(self.results).resolve())
        check_study(self.study)
        check_budget(self.budget_minutes)
        for name, names in (("engine", ENGINES), ("lowering", LOWERINGS)):
            value = getattr(self, name)
            expect(value in names, f"{name} among {', '.join(names)}", f"{name}={value!r}")
        every, minutes = self.checkpoint_every, self.deadline_minutes
        enough = every is None or every >= 1
        expect(enough, "checkpoint_every to be at least 1", f"checkpoint_every={every}")
        enough = minutes is None or minutes > 0
        expect(enough, "a deadline above 0 minutes", f"deadline_minutes={minutes}")

    def seconds_left(self) -> float:
        """Seconds until the deadline; infinity without one."""
        minutes = math.inf if self.deadline_minutes is None else self.deadline_minutes
        return self.started + 60 * minutes - time.monotonic()

    def budget_of(self, run) -> float | None:
        """Minutes that a run may train, those elsewhere included; `None` for no budget."""
        return add_seconds(self.budget_minutes, self.seconds_elsewhere.get(run, 0))

    def is_done(self, run, record: dict | None) -> bool:
        """Whether a run with this record needs no more epochs."""
        return record is not None and is_finished(record, self.budget_of(run))

    def count_elsewhere(self, record: dict | None) -> float:
        """Seconds in a record that another engine or another device trained for."""
        if self.budget_minutes is None or record is None:
            return 0.0
        environment = record["environment"]
        engine = "lanes" if self.engine == "lanes" else "fit"
        if environment.get("engine") == engine and environment.get("device") == device_of(engine):
            return environment.get("seconds_elsewhere", 0.0)
        return sum(environment.get("epoch_seconds") or [])


@functools.cache
def device_of(engine: str) -> str:
    """What an engine computes on in this process, as records name it: `"cpu"` or `"gpu"`."""
    if engine != "lanes":
        return describe_device()["device"]
    import jax

    return jax.default_backend()
