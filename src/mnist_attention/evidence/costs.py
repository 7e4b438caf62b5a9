"""Cost of the runs, and of the systems of Table 1."""

import collections
from collections.abc import Iterable

import numpy as np
import pandas as pd

from .runs import Records, Runs

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
    """Sum up the cost of the runs, a row for each study, dataset, model and device.

    Further columns: runs, epochs, core_hours (a GPU counts as one core), images_per_second
    (training images of one run). Epochs that a longer run took over from a shorter one count once.
    """
    rows = []
    for record in _without_prefixes(records):
        environment, seconds = record["environment"], _epoch_seconds(record)
        device = str(environment.get("device", "cpu"))
        cores = 1 if device == "gpu" else environment.get("threads", 1)
        spent = cores * (sum(seconds) or environment.get("seconds", 0)) / 3600
        images = record["dataset"].get("train_size", 0) * len(seconds)
        dataset, model = (record["protocol"][name] for name in ("dataset", "model"))
        kind = environment.get("study", ""), dataset, model, device
        rows.append((*kind, 1, len(seconds), spent, sum(seconds), images))
    kinds = ["study", "dataset", "model", "device"]
    columns = [*kinds, "runs", "epochs", "core_hours", "seconds", "images"]
    table = pd.DataFrame(rows, columns=columns).groupby(kinds, as_index=False).sum()
    seconds = table.pop("seconds")
    return table.assign(images_per_second=table.pop("images") / seconds.where(seconds > 0))


def median_seconds(runs: Runs) -> float:
    """Of an epoch of some runs; of classical methods, of the whole run. NaN without times."""
    seconds: list[float] = []
    for record in runs.records:
        seconds += _epoch_seconds(record) or [record["environment"].get("seconds", np.nan)]
    return float(np.median(seconds or np.nan))


def _without_prefixes(records: Iterable[dict]) -> Iterable[dict]:
    """The records less those whose every epoch is part of a longer run of the same trajectory."""
    trajectories: dict[tuple, list[dict]] = collections.defaultdict(list)
    for record in records:
        fields = {k: str(v) for k, v in record["protocol"].items() if k != "epochs"}
        trajectories[record["dataset"]["digest"], *sorted(fields.items())].append(record)
    for runs in trajectories.values():
        longer: list[list[float]] = []
        for record in sorted(runs, key=lambda record: -len(_epoch_seconds(record))):
            seconds = _epoch_seconds(record)
            if not seconds or all(other[: len(seconds)] != seconds for other in longer):
                yield record
            longer.append(seconds)


def _epoch_seconds(record: dict) -> list[float]:
    return record["environment"].get("epoch_seconds") or []
