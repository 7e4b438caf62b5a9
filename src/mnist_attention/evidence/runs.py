"""Records by setting: their runs, accuracies, and differences between settings.

Accuracies are in percent and differences in percentage points.
"""

import collections
import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import Dataset
from ..protocol import MOMENTUM_AND_HE, PAPER
from ..records import read_records
from ..storage.mnist import MNIST_DIGEST
from .statistics import Difference, McNemar, Sample, mcnemar, paired_difference, summarise

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

BEYOND: dict[str, dict[str, Changes]] = {
    "another depth": {"ResNet-18": {"model": "resnet18"}},
    "with momentum 0.9 and He initialisation": {
        f"{name}, momentum and He": {"model": model, **MOMENTUM_AND_HE}
        for name, model in (
            ("AlexNet", "alexnet"),
            ("VGG16", "vgg16"),
            ("ResNet-18", "resnet18"),
            ("ResNet-50", "resnet50"),
        )
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
    """The setting of a row of the tables: `replace(PAPER, **setting_of(row))`.

    Args:
        row: As in `reported.csv`: a network, or `field=value`.

    Raises:
        ValueError: for a row that no table has.
    """
    if row in NETWORKS:
        return NETWORKS[row]
    field, _, value = row.partition("=")
    if row not in set(reported().row):
        raise ValueError(f"Expected a row of Tables 1 to 4. Received: row={row!r}")
    return {field: type(DEFAULTS[field])(value)}


# Records, indexed


class RunTable:
    """Records, checked and indexed by setting once, so that each question is a lookup.

    Args:
        records: As `read_records` gives them.
        problems: What could not be read.

    Attributes:
        records: Those that can be used.
        problems: One line for each file or record that cannot.
    """

    def __init__(self, records: Iterable[dict], problems: Iterable[str] = ()):
        self.records: list[dict] = []
        self.problems = list(problems)
        self._mnist: dict[tuple, list[dict]] = {}
        self._lengths: dict[tuple, set[int]] = {}
        self._elsewhere: collections.Counter[tuple] = collections.Counter()
        for record in records:
            try:
                _check(record)
            except ValueError as error:
                self.problems.append(str(error))
            else:
                self._add(record)

    def _add(self, record: dict) -> None:
        self.records.append(record)
        protocol = protocol_of(record)
        setting, epochs = _key(protocol), protocol["epochs"]
        if is_mnist(record) and protocol["dataset"] == DEFAULTS["dataset"]:
            self._mnist.setdefault((setting, epochs), []).append(record)
            self._lengths.setdefault(setting, set()).add(epochs)
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
        problems = [] if results.is_dir() else [f"{results} is no folder"]
        for path in [results, *sorted(results.glob("[!.]*"))] if results.is_dir() else ():
            try:
                if path.is_dir() or path.is_symlink():
                    os.scandir(path).close()
            except OSError as error:
                problems.append(f"{path} cannot be read: {error.strerror}")
        records, unreadable = read_records(results)
        return cls(records, dict.fromkeys([*problems, *unreadable]))

    def runs(self, changes: Changes) -> "Runs":
        """The runs of a setting; see `runs_of`."""
        wanted = {**DEFAULTS, **changes}
        key = _key(wanted), wanted["epochs"]
        usable = self._mnist.get(key, [])
        if not usable:
            others = self._elsewhere[key]
            elsewhere = f"{plural(others, 'run')} on other digits" if others else ""
            return Runs((), wanted["epochs"], 0, elsewhere)
        done = max(map(_length, usable))
        longest = {protocol_of(r)["seed"]: r for r in usable if _length(r) == done}
        return Runs(tuple(longest[seed] for seed in sorted(longest)), wanted["epochs"], done)

    def lengths(self, changes: Changes) -> list[int]:
        """Numbers of epochs that runs of a setting ask for, ascending."""
        return sorted(self._lengths.get(_key({**DEFAULTS, **changes}), ()))

    def after(self, changes: Changes, epochs: int) -> dict[int, float]:
        """Seed -> test accuracy in percent after some epochs, of a run of at least that length.

        With a constant learning rate a longer run passes through what a shorter one ends at. The
        shortest such run is taken.
        """
        found: dict[int, float] = {}
        for length in reversed([length for length in self.lengths(changes) if length >= epochs]):
            for record in self._mnist[_key({**DEFAULTS, **changes}), length]:
                if (accuracy := accuracy_after(record, epochs)) is not None:
                    found[protocol_of(record)["seed"]] = accuracy
        return found


Records = list[dict] | RunTable

_SETTING = [name for name in DEFAULTS if name not in ("dataset", "epochs", "seed")]


def _key(protocol: Changes) -> tuple:
    return tuple(protocol[name] for name in _SETTING)


def _check(record: dict) -> None:
    """Check what the evidence uses of a record.

    Raises:
        ValueError: naming the record and the part that is wrong.
    """
    name = "a record"
    try:
        name = f"{record['environment'].get('study', '')}/{record['run_id']}.json"
        result, environment, protocol = (record[k] for k in ("result", "environment", "protocol"))
        accuracies = [result["train_accuracy"], result["test_accuracy"]]
        times = [environment.get(name) for name in ("seconds", "threads")]
        times += environment.get("epoch_seconds") or []
        texts = [environment.get(name, "") for name in ("device", "engine", "finished")]
        hash(_key(protocol_of(record)))
        wrong = [
            f"{part}={values!r:.80}"
            for part, values in {
                "accuracies": accuracies,
                "result": [result.get(name) for name in ("epochs", "parameters")],
                "protocol": [protocol.get(name) for name in ("epochs", "seed")],
                "history": [one for values in record["history"].values() for one in [*values]],
                "seconds and threads": times,
                "measured": record.get("measured", {}),
            }.items()
            if not _holds_numbers(values)
        ]
        if not all(0 <= accuracy <= 1 for accuracy in accuracies):
            wrong.append(f"accuracies={accuracies}")
        if not all(isinstance(text, str) for text in texts):
            wrong.append(f"device, engine, finished={texts!r:.80}")
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name}: Expected numbers. Received a wrong part: {error}") from error
    if wrong:
        raise ValueError(f"{name}: Expected numbers, in range. Received: {'; '.join(wrong)}")


def _holds_numbers(value) -> bool:
    """Whether all leaves are finite numbers or `None`, which JSON has for what is not finite."""
    if isinstance(value, dict):
        return all(map(_holds_numbers, value.values()))
    if isinstance(value, list):
        return all(one is None or math.isfinite(one) for one in value)
    return value is None or math.isfinite(value)


# The runs of a setting


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of one setting, one per seed, all on the same digits and of the same length.

    Attributes:
        records: Sorted by seed. Diverged runs are among them.
        asked: Epochs that the setting asks for.
        done: Epochs of these runs; 0 without runs.
        elsewhere: Which records of the setting cannot be used, in words.
    """

    records: tuple[dict, ...]
    asked: int
    done: int
    elsewhere: str = ""

    @property
    def whole(self) -> bool:
        """Whether there are runs, of full length."""
        return bool(self.records) and self.done >= self.asked

    @property
    def by_seed(self) -> dict[int, dict]:
        """Seed -> record."""
        return {protocol_of(record)["seed"]: record for record in self.records}

    @property
    def diverged(self) -> int:
        """How many of them diverged."""
        return sum(bool(record["result"].get("diverged")) for record in self.records)

    def lack(self, seeds: int = ENOUGH_SEEDS) -> str | None:
        """What keeps these runs from being judged, in words; `None` if nothing does."""
        if not self.records:
            return f"missing ({self.elsewhere})" if self.elsewhere else "missing"
        if not self.whole:
            return f"{self.done} of {self.asked} epochs"
        return too_few(len(self.records), seeds)


def runs_of(changes: Changes, records: Records) -> Runs:
    """The records of a setting. Runs that were cut short stand in where there are no whole ones.

    Args:
        changes: The setting.
        records: Any records. Those of other digits than MNIST are never used.
    """
    return RunTable.of(records).runs(changes)


def whole_runs(changes: Changes, records: Records) -> Runs:
    """The runs of a setting, none where they were cut short."""
    runs = runs_of(changes, records)
    return runs if runs.whole else dataclasses.replace(runs, records=())


def protocol_of(record: dict) -> dict:
    """The protocol of a record; a field that is younger than the record has its default there."""
    return {**DEFAULTS, **record["protocol"]}


def is_mnist(record: dict) -> bool:
    """Whether a run was made on MNIST, every byte of it."""
    return record["dataset"]["digest"] == MNIST_DIGEST


AT_CHANCE = 20.0
"""Percent of test accuracy below which a run counts as stuck at chance."""


def is_failed(record: dict) -> bool:
    """Whether a run diverged or is stuck at chance."""
    return bool(record["result"].get("diverged")) or value_of(record) < AT_CHANCE


def _length(record: dict) -> int:
    """Epochs of a run. A run that diverged has ended: more epochs would change nothing."""
    asked = protocol_of(record)["epochs"]
    return asked if record["result"].get("diverged") else record["result"].get("epochs", asked)


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


# Numbers of runs

Metric = str | Callable[[dict], float]
"""A key of `result` that holds a fraction, or a function from a record to percent."""


def value_of(record: dict, metric: Metric = "test_accuracy") -> float:
    """A metric of one run in percent."""
    return metric(record) if callable(metric) else 100 * record["result"][metric]


def accuracy_after(record: dict, epochs: int) -> float | None:
    """Test accuracy in percent after some epochs; `None` if the run did not get there.

    A diverged run stays at its last accuracy.
    """
    history = record["history"].get("test_accuracy", [])
    if epochs == _length(record) or (record["result"].get("diverged") and len(history) < epochs):
        return value_of(record)
    return 100 * history[epochs - 1] if len(history) >= epochs else None


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
        for seed, (ours, theirs) in _pairs(first, second).items()
    }


def _pairs(first: Runs, second: Runs) -> dict[int, tuple[dict, dict]]:
    """Seed -> the record of either setting, for the seeds that both have."""
    ours, theirs = first.by_seed, second.by_seed
    return {seed: (ours[seed], theirs[seed]) for seed in ours if seed in theirs}


def difference_over_epochs(
    first: Runs, second: Runs, epochs: Iterable[int] | None = None
) -> pd.DataFrame:
    """First minus second after each epoch, from the histories of paired runs.

    Args:
        first: Runs of one setting, of full length.
        second: Runs of another.
        epochs: Which epochs; by default all.

    Returns:
        Columns epoch, n, mean, low, high (points of test accuracy, 95 % interval) and p (sign-flip
        test; below 6 pairs the t test).
    """
    rows = []
    for epoch in epochs if epochs is not None else range(1, first.done + 1):
        pairs = [
            [accuracy_after(record, epoch) for record in pair]
            for pair in _pairs(first, second).values()
        ]
        found = paired_difference([a - b for a, b in pairs if a is not None and b is not None])
        ends = {"mean": found.mean, "low": found.low, "high": found.high, "p": found.sign_p}
        rows.append({"epoch": epoch, "n": found.n, **ends})
    return pd.DataFrame(rows, columns=["epoch", "n", "mean", "low", "high", "p"])


def lacks(found: Mapping[str, Runs]) -> str | None:
    """What keeps settings from being judged: "VGG16: missing"; `None` if nothing does.

    Args:
        found: Name of a setting -> its runs.
    """
    lacking = {name: runs.lack() for name, runs in found.items()}
    return "; ".join(f"{name}: {lack}" for name, lack in lacking.items() if lack) or None


def too_few(count: int, needed: int = ENOUGH_SEEDS) -> str | None:
    """How many there are of how many: "2 of at least 3 seeds"; `None` if there are enough."""
    return f"{count} of at least {needed} seeds" if count < needed else None


# Test labels that people doubt


@functools.cache
def label_errors() -> pd.DataFrame:
    """The 15 MNIST test images whose given label most of five human raters did not confirm.

    Columns: test_index (canonical order, which TensorFlow Datasets does not keep), given_label,
    proposed_label, votes_given, votes_proposed, votes_neither, image_sha256 (of the 784 raw
    bytes).

    Source: Northcutt, Athalye, Mueller: Pervasive Label Errors in Test Sets Destabilize Machine
    Learning Benchmarks, NeurIPS Datasets and Benchmarks, 2021, and the votes published with it.
    """
    return pd.read_csv(Path(__file__).with_name("test_label_errors.csv"))


def corrected_labels(dataset: Dataset) -> np.ndarray:
    """The test labels as the raters see them.

    Args:
        dataset: MNIST, in any order.

    Returns:
        Integers of shape `(10000,)`: the proposed label where at least three of five raters chose
        it, -1 (no label) for the other doubtful images, the given label for the rest.

    Raises:
        ValueError: if an image is not among the test images, or has another label there.
    """
    labels = dataset.test_labels.astype(int)
    digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in dataset.test_images]
    position = {digest: index for index, digest in enumerate(digests)}
    for error in label_errors().itertuples():
        index = position.get(error.image_sha256)
        if index is None or labels[index] != error.given_label:
            raise ValueError(
                f"Expected the test images of MNIST, with image {error.image_sha256[:12]}... "
                f"labelled {error.given_label}. Received: {dataset.name!r} without it"
            )
        labels[index] = error.proposed_label if error.votes_proposed >= 3 else -1
    return labels


def corrected_accuracy(record: dict, labels: np.ndarray) -> float:
    """Test accuracy in percent against `corrected_labels`; images without label do not count.

    Raises:
        ValueError: if the record has not one prediction per label.
    """
    predictions = predictions_of(record)
    if predictions.shape != labels.shape:
        raise ValueError(
            f"Expected {len(labels)} predictions, one per label. Received: {len(predictions)}"
        )
    known = labels >= 0
    return 100 * float(np.mean(predictions[known] == labels[known]))


def relabelled(runs: Runs, labels: np.ndarray) -> Runs:
    """The same runs, scored against `corrected_labels`.

    Raises:
        ValueError: if a record has not one prediction per label.
    """
    scored = []
    for record in runs.records:
        accuracy = {"test_accuracy": corrected_accuracy(record, labels) / 100}
        scored.append({**record, "result": {**record["result"], **accuracy}})
    return dataclasses.replace(runs, records=tuple(scored))


def disagreements(first: Runs, second: Runs, labels: np.ndarray) -> pd.DataFrame:
    """McNemar's exact test for each pair of trained nets with the same seed.

    Args:
        first: Runs of one setting.
        second: Runs of another.
        labels: The true class of each test image, shape `(n,)`.

    Returns:
        One row a seed, columns only_first, only_second (images that only the one or the other gets
        right) and p_value. It is about these nets, not about their settings.

    Raises:
        ValueError: if a record has not one prediction per label.
    """
    pairs = _pairs(first, second)
    tests = [mcnemar(*map(predictions_of, pair), labels) for pair in pairs.values()]
    return pd.DataFrame(tests, columns=McNemar._fields, index=pd.Index(pairs, name="seed"))


def predictions_of(record: dict) -> np.ndarray:
    """The class that the trained net gave each test image, integers of shape `(n,)`."""
    return np.array(list(record["test_predictions"]), int)


def plural(count: int, noun: str) -> str:
    """A number and its noun: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
