"""What the records say of a setting: its runs, their accuracy, and differences between settings.

Accuracies are in percent and differences in percentage points. Reads no TensorFlow.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ..data import Dataset
from ..protocol import MOMENTUM_AND_HE, PAPER
from ..storage.mnist import MNIST_DIGEST
from .statistics import Difference, McNemar, Sample, mcnemar, paired_difference, summarise

ENOUGH_SEEDS = 3
"""Seeds below which no verdict is given."""

Changes = Mapping[str, object]
"""Fields of `Protocol` that differ from `PAPER`: how a setting is named here."""

DEFAULTS = dataclasses.asdict(PAPER)


# The paper's numbers and the settings behind them


@functools.cache
def reported() -> pd.DataFrame:
    """Every number of the paper's four tables: columns table, row, metric, value_percent."""
    return pd.read_csv(Path(__file__).with_name("reported.csv"))


def reported_value(row: str, metric: str = "test_accuracy") -> float | None:
    """The paper's number for a row in percent, or `None` where it has none."""
    numbers = reported()
    found = numbers[(numbers.row == row) & (numbers.metric == metric)].value_percent
    return float(found.iloc[0]) if len(found) else None


def reported_gain() -> float:
    """What the paper says its mask is worth, in points; its numbers have one decimal."""
    return round(reported_value("LeNet+Attention") - reported_value("LeNet"), 1)


NETWORKS: dict[str, Changes] = {
    "LeNet": {"model": "lenet5"},
    "AlexNet": {"model": "alexnet"},
    "VGG16": {"model": "vgg16"},
    "ResNet": {"model": "resnet50"},
    "LeNet+Attention": {},
}
"""Row of Table 1 -> setting. The paper does not say which ResNet; it is read as ResNet-50."""

BEYOND: dict[str, dict[str, Changes]] = {
    "another depth": {"ResNet-18": {"model": "resnet18"}},
    "trained properly: momentum 0.9, He normal": {
        f"{name}, properly": {"model": model, **MOMENTUM_AND_HE}
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
"""Rows that Table 1 gains here, under their headings."""


def setting_of(row: str) -> Changes:
    """The setting that a row of the tables stands for: `replace(PAPER, **changes_of(row))`.

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


# Which records belong to a setting


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of one setting, one per seed, all on the same digits and of the same length.

    Attributes:
        records: Sorted by seed. Diverged runs are among them.
        asked: Epochs that the setting asks for.
        done: Epochs of these runs; 0 without runs.
        elsewhere: Why there are none, if records of the setting exist that cannot be used.
    """

    records: tuple[dict, ...]
    asked: int
    done: int
    elsewhere: str = ""

    @property
    def diverged(self) -> int:
        """How many of them diverged."""
        return sum(bool(record["result"].get("diverged")) for record in self.records)

    def lack(self, seeds: int = ENOUGH_SEEDS) -> str:
        """What keeps these runs from being judged; empty if nothing does."""
        if not self.records:
            return f"missing ({self.elsewhere})" if self.elsewhere else "missing"
        if self.done < self.asked:
            return f"{self.done} of {self.asked} epochs"
        return too_few(len(self.records), seeds)


def runs_of(changes: Changes, records: list[dict]) -> Runs:
    """The records of a setting. Runs that were cut short stand in where there are no whole ones.

    Args:
        changes: The setting.
        records: Any records. Those of other digits than MNIST are never used.
    """
    wanted = {**DEFAULTS, **changes}
    usable = [r for r in records if is_mnist(r) and agrees(r, wanted, {"seed"})]
    if not usable:
        others = sum(agrees(record, wanted, {"seed", "dataset"}) for record in records)
        elsewhere = f"{plural(others, 'run')} on other digits" if others else ""
        return Runs((), wanted["epochs"], 0, elsewhere)
    done = max(map(_length, usable))
    longest = {protocol_of(record)["seed"]: record for record in usable if _length(record) == done}
    return Runs(tuple(longest[seed] for seed in sorted(longest)), wanted["epochs"], done)


def protocol_of(record: dict) -> dict:
    """The protocol of a record; a field that is younger than the record has its default there."""
    return {**DEFAULTS, **record["protocol"]}


def agrees(record: dict, wanted: Changes, free: set[str]) -> bool:
    """Whether a record's protocol is the wanted one up to the free fields."""
    protocol = protocol_of(record)
    return all(protocol[name] == value for name, value in wanted.items() if name not in free)


def is_mnist(record: dict) -> bool:
    """Whether a run was made on MNIST, every byte of it."""
    return record["dataset"]["digest"] == MNIST_DIGEST


def _length(record: dict) -> int:
    """Epochs of a run. A run that diverged has ended: more epochs would change nothing."""
    asked = protocol_of(record)["epochs"]
    return asked if record["result"].get("diverged") else record["result"].get("epochs", asked)


def setting_name(record: dict, leave_out: tuple[str, ...] = ()) -> str:
    """How a record's protocol differs from `PAPER`, our reading, in words: "momentum=0.9".

    The model, the digits, the length and the seed are not part of it, nor is `leave_out`.
    """
    apart = {"dataset", "model", "epochs", "seed", *leave_out}
    changed = [
        f"{name}={value}"
        for name, value in protocol_of(record).items()
        if name not in apart and value != DEFAULTS.get(name)
    ]
    return ", ".join(changed) or "as read here"


def sample(runs: Runs, metric: str = "test_accuracy") -> Sample:
    """Mean, spread and interval of the runs' accuracy in percent."""
    return summarise([100 * record["result"][metric] for record in runs.records])


def difference(first: Runs, second: Runs, metric: str = "test_accuracy") -> Difference:
    """First minus second, paired by seed, in points. Runs cut short differently are no pairs."""
    comparable = first.done * second.asked == second.done * first.asked
    pairs = _pairs(first, second).values() if comparable else ()
    return paired_difference(
        [100 * ours["result"][metric] - 100 * theirs["result"][metric] for ours, theirs in pairs]
    )


def _pairs(first: Runs, second: Runs) -> dict[int, tuple[dict, dict]]:
    """Seed -> the record of either setting, for the seeds that both have."""
    ours, theirs = (
        {protocol_of(record)["seed"]: record for record in runs.records} for runs in (first, second)
    )
    return {seed: (ours[seed], theirs[seed]) for seed in ours if seed in theirs}


def lacks(found: Mapping[str, Runs]) -> str:
    """What keeps settings from being judged: "VGG16: missing"; empty if nothing does.

    Args:
        found: Name of a setting -> its runs.
    """
    return "; ".join(f"{name}: {lack}" for name, runs in found.items() if (lack := runs.lack()))


def lack_of_pairs(*differences: Difference) -> str:
    """What keeps paired differences from being judged; empty if nothing does."""
    return too_few(min(paired.n for paired in differences), of="paired seeds")


def too_few(count: int, needed: int = ENOUGH_SEEDS, of: str = "seeds") -> str:
    """How many there are of how many: "2 of at least 3 seeds"; empty if there are enough."""
    return f"{count} of at least {needed} {of}" if count < needed else ""


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
    scored = tuple(
        {
            **record,
            "result": {
                **record["result"],
                "test_accuracy": corrected_accuracy(record, labels) / 100,
            },
        }
        for record in runs.records
    )
    return dataclasses.replace(runs, records=scored)


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
    tests = [
        mcnemar(predictions_of(ours), predictions_of(theirs), labels)
        for ours, theirs in pairs.values()
    ]
    names = [field.name for field in dataclasses.fields(McNemar)]
    return pd.DataFrame(
        map(dataclasses.asdict, tests), columns=names, index=pd.Index(pairs, name="seed")
    )


def predictions_of(record: dict) -> np.ndarray:
    """The class that the trained net gave each test image, integers of shape `(n,)`."""
    return np.array(list(record["test_predictions"]), int)


def plural(count: int, noun: str) -> str:
    """A number and its noun: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
