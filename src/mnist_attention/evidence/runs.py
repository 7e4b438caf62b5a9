"""Records by setting: their runs, accuracies in percent, and differences in percentage points."""

import collections
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from ..protocol import MOMENTUM_AND_HE, PAPER
from ..records import read_records
from ..storage.mnist import MNIST_DIGEST
from ..storage.record_format import mnist_test_labels
from .statistics import Difference, Sample, paired_difference, summarise

ENOUGH_SEEDS = 3
"""Seeds below which no number is judged by its spread."""

Changes = Mapping[str, object]
"""Fields of `Protocol` that differ from `PAPER`: how a setting is named here."""

DEFAULTS = dataclasses.asdict(PAPER)


# The paper's numbers and their settings


@functools.cache
def reported() -> pd.DataFrame:
    """Every number of the paper's four tables: columns table, row, metric, value_percent."""
    return pd.read_csv(Path(__file__).with_name("reported.csv"))


@functools.cache
def reported_value(row: str, metric: str = "test_accuracy") -> float | None:
    """The paper's number for a row in percent, or `None` where it has none."""
    numbers = reported().set_index(["row", "metric"]).value_percent
    return float(numbers[row, metric]) if (row, metric) in numbers.index else None


def reported_gain() -> float:
    """The gain that the paper reports for its mask, in points, to one decimal."""
    return round(reported_value("LeNet+Attention") - reported_value("LeNet"), 1)


NETWORKS: dict[str, Changes] = {
    "LeNet": {"model": "lenet5"},
    "AlexNet": {"model": "alexnet"},
    "VGG16": {"model": "vgg16"},
    "ResNet": {"model": "resnet50"},
    "LeNet+Attention": {},
}
"""Row of Table 1 -> setting. The paper does not say which ResNet; our default is ResNet-50."""

_DEEP = ("AlexNet", "VGG16", "ResNet-18", "ResNet-50")
BEYOND: dict[str, dict[str, Changes]] = {
    "another depth": {"ResNet-18": {"model": "resnet18"}},
    "with momentum 0.9 and He initialisation": {
        f"{name}, momentum and He": {"model": name.lower().replace("-", ""), **MOMENTUM_AND_HE}
        for name in _DEEP
    },
    "no network": {
        "k-nearest neighbours": {"model": "nearest_neighbours"},
        "RBF SVM on 50 principal components": {"model": "svm"},
        "LBP + linear SVM": {"model": "lbp_svm"},
        "sparse coding + linear SVM": {"model": "sparse_coding"},
    },
}
"""Rows that Table 1 gains here, by heading."""


def setting_of(row: str) -> Changes:
    """The setting of a row of the tables, e.g. "batch_size=48"; ValueError for an unknown row."""
    if row in NETWORKS:
        return NETWORKS[row]
    field, _, value = row.partition("=")
    if row not in set(reported().row):
        raise ValueError(f"Expected a row of Tables 1 to 4. Received: row={row!r}")
    return {field: type(DEFAULTS[field])(value)}


# Records, indexed


class RunTable:
    """Records, indexed by setting once, so that each question is a lookup.

    Args:
        records: As `read_records` gives them, which checks them.
        problems: One line for each file or record that cannot be used.
    """

    def __init__(self, records: Iterable[dict], problems: Iterable[str] = ()):
        self.records, self.problems = list(records), list(problems)
        self._mnist: dict[tuple, dict[int, list[dict]]] = {}  # setting -> epochs -> records
        self._elsewhere: collections.Counter[tuple] = collections.Counter()
        for record in self.records:
            setting, epochs = _key(record["protocol"]), protocol_of(record)["epochs"]
            if is_mnist(record):
                self._mnist.setdefault(setting, {}).setdefault(epochs, []).append(record)
            else:
                self._elsewhere[setting, epochs] += 1

    def __iter__(self) -> Iterator[dict]:
        return iter(self.records)

    @classmethod
    def of(cls, records: "Records") -> "RunTable":
        """The table of a list of records; a table is returned as it is."""
        return records if isinstance(records, cls) else cls(records)

    @classmethod
    def read(cls, results: Path) -> "RunTable":
        """Read a results folder; a folder that cannot be read is a problem."""
        results = Path(results)
        records, problems = read_records(results)
        if not results.is_dir():
            problems = [f"{results} is no folder", *problems]
        for path in sorted(results.glob("[!.]*")):
            if path.is_symlink() and not path.exists():
                problems.append(f"{path} cannot be read: No such file or directory")
        return cls(records, problems)

    def lengths(self, changes: Changes) -> dict[int, list[dict]]:
        """Epochs that runs of a setting on MNIST ask for, ascending -> these runs."""
        return dict(sorted(self._mnist.get(_key(changes), {}).items()))

    def runs(self, changes: Changes) -> "Runs":
        """The runs of a setting; see `runs_of`."""
        asked = changes.get("epochs", PAPER.epochs)
        usable = self.lengths(changes).get(asked, [])
        others = 0 if usable else self._elsewhere[_key(changes), asked]
        done = max(map(_length, usable), default=0)
        longest = {protocol_of(r)["seed"]: r for r in usable if _length(r) == done}
        return Runs(tuple(longest[seed] for seed in sorted(longest)), asked, done, others)

    def after(self, changes: Changes, epochs: int) -> dict[int, float]:
        """Seed -> test accuracy in percent after some epochs, of the shortest run that gets there.

        With a constant learning rate a longer run passes through what a shorter one ends at.
        """
        found: dict[int, float] = {}
        for length, records in self.lengths(changes).items():
            for record in records if length >= epochs else ():
                if not math.isnan(accuracy := accuracy_after(record, epochs)):
                    found.setdefault(protocol_of(record)["seed"], accuracy)
        return found


Records = list[dict] | RunTable

_SETTING = {k: v for k, v in DEFAULTS.items() if k not in ("dataset", "epochs", "seed")}


def _key(changes: Changes) -> tuple:
    return tuple(changes.get(name, default) for name, default in _SETTING.items())


# The runs of a setting


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of one setting, one per seed, all on MNIST and of the same length.

    Attributes:
        records: Sorted by seed. Diverged runs are among them.
        asked: Epochs that the setting asks for.
        done: Epochs of these runs; 0 without runs.
        elsewhere: Where there are none: how many there are on other digits.
    """

    records: tuple[dict, ...]
    asked: int
    done: int
    elsewhere: int = 0

    @property
    def whole(self) -> bool:
        """Whether there are runs, of full length."""
        return bool(self.records) and self.done >= self.asked

    @property
    def cut_short(self) -> bool:
        """Whether there are runs, none of full length."""
        return bool(self.records) and self.done < self.asked

    @property
    def progress(self) -> str:
        """Epochs in words: "2 of 100"."""
        return f"{self.done} of {self.asked}"

    @property
    def by_seed(self) -> dict[int, dict]:
        """Seed -> record."""
        return {protocol_of(record)["seed"]: record for record in self.records}

    @property
    def diverged(self) -> int:
        """How many of them diverged."""
        return sum(map(is_diverged, self.records))

    def lack(self, seeds: int = ENOUGH_SEEDS) -> str | None:
        """What keeps these runs from being judged, in words; `None` if nothing does."""
        if self.elsewhere:
            return f"missing ({plural(self.elsewhere, 'run')} on other digits)"
        if not self.records:
            return "missing"
        if self.cut_short:
            return f"{self.progress} epochs"
        return too_few(len(self.records), seeds)


def runs_of(changes: Changes, records: Records) -> Runs:
    """The runs of a setting. The longest that were cut short stand in where none is whole."""
    return RunTable.of(records).runs(changes)


def whole_runs(changes: Changes, records: Records) -> Runs:
    """The runs of a setting, none where they were cut short."""
    runs = runs_of(changes, records)
    return runs if runs.whole else dataclasses.replace(runs, records=())


def too_few(count: int, needed: int = ENOUGH_SEEDS) -> str | None:
    """How many there are, in words: "2 of at least 3 seeds"; `None` if there are enough."""
    return f"{count} of at least {needed} seeds" if count < needed else None


def plural(count: int, noun: str) -> str:
    """A number and its noun: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'s' * (count != 1)}"


# One run


def protocol_of(record: dict) -> dict:
    """The protocol of a record; a field that is younger than the record has its default there."""
    return {**DEFAULTS, **record["protocol"]}


def is_mnist(record: dict) -> bool:
    """Whether a run was made on MNIST, every byte of it."""
    return record["dataset"]["digest"] == MNIST_DIGEST


def is_diverged(record: dict) -> bool:
    """Whether a run diverged. It has ended: more epochs would change nothing."""
    return bool(record["result"].get("diverged"))


AT_CHANCE = 20.0
"""Percent of test accuracy below which a run counts as stuck at chance."""


def is_failed(record: dict) -> bool:
    """Whether a run diverged or is stuck at chance."""
    return is_diverged(record) or value_of(record) < AT_CHANCE


def _length(record: dict) -> int:
    """Epochs of a run, of a diverged one all that were asked for."""
    asked = protocol_of(record)["epochs"]
    return asked if is_diverged(record) else record["result"].get("epochs", asked)


def setting_name(record: dict, leave_out: tuple[str, ...] = ()) -> str:
    """How a record's protocol differs from `PAPER` in words: "momentum=0.9" or "our default".

    The model, the digits, the length and the seed are not part of it, nor is `leave_out`.
    """
    apart = {"dataset", "model", "epochs", "seed", *leave_out}
    changed = [
        f"{name}={value}"
        for name, value in protocol_of(record).items()
        if name not in apart and value != DEFAULTS.get(name)
    ]
    return ", ".join(changed) or "our default"


Metric = str | Callable[[dict], float]
"""A key of `result` that holds a fraction, or a function from a record to percent."""


def value_of(record: dict, metric: Metric = "test_accuracy") -> float:
    """A metric of one run in percent."""
    return metric(record) if callable(metric) else 100 * record["result"][metric]


def accuracy_after(record: dict, epochs: int) -> float:
    """Test accuracy in percent after some epochs; NaN if the run did not get there.

    A diverged run stays at its last accuracy.
    """
    history = record["history"].get("test_accuracy", [])
    if epochs == _length(record) or (is_diverged(record) and len(history) < epochs):
        return value_of(record)
    return 100 * history[epochs - 1] if len(history) >= epochs else math.nan


def predictions_of(record: dict) -> np.ndarray:
    """The class that the trained net gave each test image, integers of shape `(n,)`."""
    return np.array(list(record["test_predictions"]), int)


# Numbers of several runs


def sample(runs: Runs, metric: Metric = "test_accuracy") -> Sample:
    """Mean, spread and interval of a metric of the runs in percent."""
    return summarise([value_of(record, metric) for record in runs.records])


def difference(first: Runs, second: Runs, metric: Metric = "test_accuracy") -> Difference:
    """First minus second, paired by seed, in points. Runs cut short differently are no pairs."""
    return paired_difference([*differences(first, second, metric).values()])


def differences(first: Runs, second: Runs, metric: Metric = "test_accuracy") -> dict[int, float]:
    """Seed -> first minus second in points. Runs cut short differently are no pairs."""
    if first.done * second.asked != second.done * first.asked:
        return {}
    return {
        seed: value_of(ours, metric) - value_of(theirs, metric)
        for seed, (ours, theirs) in pairs(first, second).items()
    }


def pairs(first: Runs, second: Runs) -> dict[int, tuple[dict, dict]]:
    """Seed -> the record of either setting, for the seeds that both have."""
    ours, theirs = first.by_seed, second.by_seed
    return {seed: (ours[seed], theirs[seed]) for seed in ours if seed in theirs}


def mcnemar(first: dict, second: dict) -> tuple[int, int, float]:
    """McNemar's exact test of two trained nets on MNIST, not of their settings.

    Returns the test images that only the first gets right, those that only the second does, and p.
    """
    labels = mnist_test_labels().astype(int)
    ours, theirs = (predictions_of(record) == labels for record in (first, second))
    counts = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return *counts, min(1.0, 2 * float(special.bdtr(min(counts), sum(counts), 0.5)))


# Test labels that people doubt


def corrected_labels() -> np.ndarray:
    """The test labels of MNIST as human raters see them, integers of shape `(10000,)`.

    Most of five raters did not confirm the labels of 15 images: their proposal stands where at
    least three agree on one, else -1 (no label).

    Reference: Northcutt, Athalye, Mueller: Pervasive Label Errors in Test Sets Destabilize Machine
    Learning Benchmarks, NeurIPS Datasets and Benchmarks, 2021, and the votes published with it.
    """
    labels = mnist_test_labels().astype(int)
    errors = pd.read_csv(Path(__file__).with_name("test_label_errors.csv"))
    labels[errors.index_here] = errors.proposed_label.where(errors.votes_proposed >= 3, -1)
    return labels
