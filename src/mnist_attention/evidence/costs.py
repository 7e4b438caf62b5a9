"""Cost of the runs, and of each system of Table 1."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .runs import BEYOND, DEFAULTS, NETWORKS, Changes, Records, Runs, RunTable

MULTIPLY_ACCUMULATES = {
    "lenet5": 416_520,
    "lenet5_attention": 422_824,
    "alexnet": 76_455_936,
    "vgg16": 330_932_224,
    "resnet18": 35_410_944,
    "resnet50": 77_107_200,
}
"""Network of Table 1 -> multiply-accumulates of one image; here, so that reading needs no Keras."""


def cost(records: Records) -> pd.DataFrame:
    """Sum up the cost of the runs.

    Returns:
        One row for each study, dataset, model and device. Columns study, dataset, model, device,
        runs, epochs, core_hours (a GPU counts as one core), images_per_second (training images
        per second of one run). Epochs that a longer run took over from a shorter one count once.
    """
    rows = []
    for record in _without_prefixes(records):
        environment = record["environment"]
        seconds = _epoch_seconds(record)
        spent = sum(seconds) or environment.get("seconds", 0)
        device = environment.get("device", "cpu")
        threads = 1 if device == "gpu" else environment.get("threads", 1)
        rows.append(
            {
                "study": environment.get("study", ""),
                "dataset": record["protocol"]["dataset"],
                "model": record["protocol"]["model"],
                "device": device,
                "runs": 1,
                "epochs": len(seconds),
                "core_hours": spent * threads / 3600,
                "seconds": sum(seconds),
                "images": record["dataset"].get("train_size", 0) * len(seconds),
            }
        )
    kinds = ["study", "dataset", "model", "device"]
    columns = [*kinds, "runs", "epochs", "core_hours", "seconds", "images"]
    table = pd.DataFrame(rows, columns=columns).groupby(kinds, as_index=False).sum()
    table["images_per_second"] = table.images / table.seconds.where(table.seconds > 0)
    return table.drop(columns=["images", "seconds"])


@dataclasses.dataclass(frozen=True)
class System:
    """Cost and runs of a row of Table 1.

    Attributes:
        name: The row.
        heading: Its heading in `BEYOND`; empty for the paper's own rows.
        runs: Its runs.
        parameters: Weights of the network; `None` without runs or network.
        multiply_accumulates: Per image; `None` without network.
        seconds: Median over the epochs; of a classical method, from choosing to scoring. NaN
            without runs.
        device: What they ran on.
    """

    name: str
    heading: str
    runs: Runs
    parameters: int | None
    multiply_accumulates: int | None
    seconds: float
    device: str


def systems(records: Records) -> list[System]:
    """Every row of Table 1, the paper's first."""
    table, rows = RunTable.of(records), {"": NETWORKS, **BEYOND}
    return [
        _system(name, heading, changes, table.runs(changes))
        for heading, settings in rows.items()
        for name, changes in settings.items()
    ]


def _system(name: str, heading: str, changes: Changes, runs: Runs) -> System:
    environments = [record["environment"] for record in runs.records]
    seconds = [
        second
        for environment in environments
        for second in environment.get("epoch_seconds") or [environment.get("seconds", math.nan)]
    ]
    devices = {f"{e.get('device', 'cpu')}, {e.get('engine', 'fit')}" for e in environments}
    return System(
        name,
        heading,
        runs,
        next((record["result"].get("parameters") for record in runs.records), None),
        MULTIPLY_ACCUMULATES.get({**DEFAULTS, **changes}["model"]),
        float(np.median(seconds)) if seconds else math.nan,
        "; ".join(sorted(devices)),
    )


def _without_prefixes(records: Iterable[dict]) -> list[dict]:
    """The records less those whose every epoch is part of a longer run of the same trajectory."""
    trajectories: dict[tuple, list[dict]] = {}
    for record in records:
        fields = {k: str(v) for k, v in record["protocol"].items() if k != "epochs"}
        key = (record["dataset"]["digest"], *sorted(fields.items()))
        trajectories.setdefault(key, []).append(record)
    kept = []
    for runs in trajectories.values():
        runs = sorted(runs, key=lambda record: -len(_epoch_seconds(record)))
        for place, record in enumerate(runs):
            seconds = _epoch_seconds(record)
            longer = (_epoch_seconds(other) for other in runs[:place])
            if not seconds or all(other[: len(seconds)] != seconds for other in longer):
                kept.append(record)
    return kept


def _epoch_seconds(record: dict) -> list[float]:
    return record["environment"].get("epoch_seconds") or []
