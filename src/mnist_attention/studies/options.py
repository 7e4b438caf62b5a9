"""``RunOptions``: how runs are made and where their records go."""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path

import joblib

from ..protocol import expect
from ..records import check_budget, check_study, is_finished
from ..storage.machine import describe_device

ENGINES = ("loky", "dask", "ray", "lanes")

LOWERINGS = ("grouped", "patches")
"""How the engine `lanes` computes a convolution whose kernel differs by lane."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `run_study` and `train_lanes`.

    Args:
        study: Subfolder of the records.
        results: Folder of the records and states; `None` keeps neither (`lanes` only).
        engine: Processes of this machine (`loky`) or a cluster (`dask`, `ray`); `lanes`: one JAX
            program, for a GPU.
        jobs: Processes at a time; by default one for each core that this process may use.
        budget_minutes: End each run with the epoch in which its training has taken so long; epochs
            of earlier calls count, those of another engine or device do not.
        deadline_minutes: End this call after so long. Each run keeps its last state.
        lowering: One of `LOWERINGS`, for `lanes`.
        checkpoint_every: Epochs of `lanes` between states; by default 10, 1 for large networks.
        verbose: Whether to show progress bars.
        seconds_elsewhere: Run -> training time of its epochs made elsewhere.
        started: When the call began, by `time.monotonic`.

    Raises:
        ValueError: for an unknown engine or lowering, no job or no time.
    """

    study: str = "single"
    results: Path | None = None
    engine: str = "loky"
    jobs: int | None = None
    budget_minutes: float | None = None
    deadline_minutes: float | None = None
    lowering: str = "grouped"
    checkpoint_every: int | None = None
    verbose: bool = True
    seconds_elsewhere: Mapping = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self):
        jobs = joblib.cpu_count() if self.jobs is None else self.jobs
        # Workers may have another working folder.
        results = None if self.results is None else Path(self.results).resolve()
        vars(self).update(jobs=jobs, results=results)
        check_study(self.study)
        expect(jobs >= 1, "at least one job", f"{jobs=}")
        check_budget(self.budget_minutes)
        for name, names in (("engine", ENGINES), ("lowering", LOWERINGS)):
            value = getattr(self, name)
            expect(value in names, f"{name} among {', '.join(names)}", f"{name}={value!r}")
        checkpoint_every, deadline_minutes = self.checkpoint_every, self.deadline_minutes
        enough = checkpoint_every is None or checkpoint_every >= 1
        expect(enough, "checkpoint_every to be at least 1", f"{checkpoint_every=}")
        enough = deadline_minutes is None or deadline_minutes > 0
        expect(enough, "a deadline above 0 minutes", f"{deadline_minutes=}")

    def seconds_left(self) -> float:
        """Seconds until the deadline; infinity without one."""
        minutes = math.inf if self.deadline_minutes is None else self.deadline_minutes
        return self.started + 60 * minutes - time.monotonic()

    def budget_of(self, run) -> float | None:
        """Minutes that a run may train, those elsewhere included; `None` for no budget."""
        elsewhere = self.seconds_elsewhere.get(run, 0) / 60
        return None if self.budget_minutes is None else self.budget_minutes + elsewhere

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
