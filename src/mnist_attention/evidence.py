"""What the records say: rows of the tables, worth of each open choice, cost, verdict on each claim.

Accuracies are in percent and differences in percentage points. Reads no TensorFlow.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .data import MNIST_DIGEST, Dataset
from .inference import Difference, Sample, paired_difference, summarise
from .protocol import PAPER, PROPERLY

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
        f"{name}, properly": {"model": model, **PROPERLY}
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

MULTIPLY_ACCUMULATES = {
    "lenet5": 416_520,
    "lenet5_attention": 422_824,
    "alexnet": 76_455_936,
    "vgg16": 330_932_224,
    "resnet18": 35_410_944,
    "resnet50": 77_107_200,
}
"""Network of Table 1 -> `zoo.multiply_accumulates` of it, kept here so that reading needs no
Keras."""


def changes_of(row: str) -> Changes:
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
        if len(self.records) < seeds:
            return f"{len(self.records)} of at least {seeds} seeds"
        return ""


def runs_of(changes: Changes, records: list[dict]) -> Runs:
    """The records of a setting. Runs that were cut short stand in where there are no whole ones.

    Args:
        changes: The setting.
        records: Any records. Those of other digits than MNIST are never used.
    """
    wanted = {**DEFAULTS, **changes}
    usable = [r for r in records if is_mnist(r) and _agrees(r, wanted, {"seed"})]
    if not usable:
        others = sum(_agrees(record, wanted, {"seed", "dataset"}) for record in records)
        elsewhere = f"{plural(others, 'run')} on other digits" if others else ""
        return Runs((), wanted["epochs"], 0, elsewhere)
    done = max(_length(record) for record in usable)
    longest = {protocol_of(record)["seed"]: record for record in usable if _length(record) == done}
    return Runs(tuple(longest[seed] for seed in sorted(longest)), wanted["epochs"], done)


def protocol_of(record: dict) -> dict:
    """The protocol of a record; a field that is younger than the record has its default there."""
    return {**DEFAULTS, **record["protocol"]}


def _agrees(record: dict, wanted: Changes, free: set[str]) -> bool:
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


def sample(runs: Runs, metric: str = "test_accuracy") -> Sample:
    """Mean, spread and interval of the runs' accuracy in percent."""
    return summarise([100 * record["result"][metric] for record in runs.records])


def difference(first: Runs, second: Runs, metric: str = "test_accuracy") -> Difference:
    """First minus second, paired by seed, in points. Runs cut short differently are no pairs."""
    comparable = first.done * second.asked == second.done * first.asked
    ours, theirs = (
        {protocol_of(record)["seed"]: 100 * record["result"][metric] for record in runs.records}
        for runs in (first, second)
    )
    shared = [seed for seed in ours if seed in theirs] if comparable else []
    return paired_difference([ours[seed] - theirs[seed] for seed in shared])


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
    predictions = predicted(record)
    if predictions.shape != labels.shape:
        raise ValueError(
            f"Expected {len(labels)} predictions, one per label. Received: {len(predictions)}"
        )
    known = labels >= 0
    return 100 * float(np.mean(predictions[known] == labels[known]))


def predicted(record: dict) -> np.ndarray:
    """The class that the trained net gave each test image, integers of shape `(n,)`."""
    return np.array(list(record["test_predictions"]), int)


# The assumption ledger


@dataclasses.dataclass(frozen=True)
class Choice:
    """Something that the paper leaves open.

    Attributes:
        name: What is open.
        ours: How it is read here.
        options: Other readings -> how they change the protocol.
        base: Setting in which they are compared.
    """

    name: str
    ours: str
    options: Mapping[str, Changes]
    base: Changes = dataclasses.field(default_factory=dict)


CHOICES = (
    Choice(
        "where the mask sits",
        "behind C1 and C3, before pooling",
        {
            "behind C1 only": {"mask_placement": "c1"},
            "behind C3 only": {"mask_placement": "c3"},
            "after pooling": {"mask_placement": "after_pooling"},
        },
    ),
    Choice("channels of the mask", "one", {"one per feature": {"mask_channels": None}}),
    Choice(
        "activation of the mask",
        "sigmoid",
        {"softmax": {"mask_activation": "softmax"}, "none": {"mask_activation": "linear"}},
    ),
    Choice(
        "units of the backbone",
        "ReLU",
        {"tanh": {"activation": "tanh"}, "sigmoid": {"activation": "sigmoid"}},
    ),
    Choice("pooling of the backbone", "max", {"average": {"pooling": "average"}}),
    Choice(
        "initialisation",
        "Glorot uniform",
        {
            "LeCun normal": {"initializer": "lecun_normal"},
            "He normal": {"initializer": "he_normal"},
            "normal, deviation 0.01": {"initializer": "narrow_normal"},
        },
    ),
    Choice("momentum", "0", {"0.9": {"momentum": 0.9}}),
    Choice(
        "augmentation",
        "flip, and shift by up to 2 pixels",
        {
            "flip only": {"shift": 0},
            "shift only": {"flip": False},
            "none": {"flip": False, "shift": 0},
        },
    ),
    Choice("depth of ResNet", "50", {"18": {"model": "resnet18"}}, {"model": "resnet50"}),
)


def ledger(records: list[dict]) -> pd.DataFrame:
    """What each choice that the paper leaves open is worth.

    Returns:
        One row for each option and each number of epochs at which it was measured. Columns
        choice, ours, option, metric, epochs, n (paired seeds), effect (option minus ours, in
        points), low, high (95 % interval), p_value (sign-flip test), detectable. Without
        measurement epochs is missing, n is 0 and the rest NaN.
    """
    rows = []
    for choice in CHOICES:
        for option, changes in choice.options.items():
            named = {"choice": choice.name, "ours": choice.ours, "option": option}
            rows += [
                {**named, "metric": "test accuracy", "epochs": epochs, **_effect(paired)}
                for epochs, paired in _measured(choice.base, changes, records)
            ]
    rows.append(
        {
            "choice": "images that training accuracy is measured on",
            "ours": "clean, at the end",
            "option": "augmented, over the last epoch",
            "metric": "training accuracy",
            **_running_accuracy(records),
        }
    )
    rows.append(
        {
            "choice": "seeds",
            "ours": "the mean of all",
            "option": "the best of n",
            "metric": "test accuracy",
            **_best_seed(records),
        }
    )
    table = pd.DataFrame(rows)
    return table.astype({"epochs": "Int64"})


def _measured(
    base: Changes, changes: Changes, records: list[dict]
) -> list[tuple[int | None, Difference]]:
    """Option minus ours at every length at which there are pairs; once nil if there are none."""
    wanted = {**DEFAULTS, **base, **changes}
    option = [r for r in records if is_mnist(r) and _agrees(r, wanted, {"seed", "epochs"})]
    measured = []
    for epochs in sorted({protocol_of(record)["epochs"] for record in option}):
        ours = runs_of({**base, "epochs": epochs}, records)
        theirs = runs_of({**base, **changes, "epochs": epochs}, records)
        paired = difference(theirs, ours)
        if paired.n and theirs.done == epochs:
            measured.append((epochs, paired))
    return measured or [(None, Difference(0))]


def _effect(paired: Difference) -> dict:
    return {
        "n": paired.n,
        "effect": paired.mean,
        "low": paired.low,
        "high": paired.high,
        "p_value": paired.p_value,
        "detectable": paired.detectable,
    }


def _running_accuracy(records: list[dict]) -> dict:
    """How much the last epoch's running accuracy differs from that on clean images at the end."""
    runs = runs_of({}, records)
    paired = paired_difference(
        [
            100 * (record["history"]["accuracy"][-1] - record["result"]["train_accuracy"])
            for record in runs.records
            if record["history"].get("accuracy") and not record["result"].get("diverged")
        ]
    )
    return {"epochs": runs.done or None, **_effect(paired)}


def _best_seed(records: list[dict]) -> dict:
    """How much the best seed is above the mean: what reporting one chosen run is worth."""
    runs = runs_of({}, records)
    ours = sample(runs)
    if ours.n < 2:  # the best of one is the mean
        return {**_effect(Difference(0)), "epochs": None}
    best = max(100 * record["result"]["test_accuracy"] for record in runs.records)
    return {**_effect(Difference(ours.n, best - ours.mean)), "epochs": runs.done}


# Which protocol explains the paper's numbers


EXPLAINED = ("LeNet", "LeNet+Attention", "learning_rate=0.001", "epochs=50")
"""Rows of the tables that one reading of the paper should give together."""


def nearest(records: list[dict]) -> pd.DataFrame:
    """How near each protocol that was tried comes to the paper's numbers.

    Returns:
        One row for each reading of what the paper leaves open, and each length in place of the
        paper's 100 epochs, for which all of `EXPLAINED` were run; the nearest first. Columns
        setting, epochs, n (runs of the least covered row), one per row of `EXPLAINED` (mean test
        accuracy in percent; "epochs=50" has that length always), distance (root mean square of
        ours minus the paper's, in points).
    """
    paper = [reported_value(row) for row in EXPLAINED]
    readings: dict[str, list[dict]] = {}
    for record in filter(is_mnist, records):
        setting = setting_name(record, leave_out=("model", "learning_rate"))
        readings.setdefault(setting, []).append(record)
    rows = []
    for setting, runs in readings.items():
        for epochs in sorted({_length(record) for record in runs}):
            found = {row: _accuracies(row, epochs, runs) for row in EXPLAINED}
            if all(found.values()):
                ours = {row: float(np.mean(values)) for row, values in found.items()}
                distance = math.dist(ours.values(), paper) / math.sqrt(len(paper))
                n = min(map(len, found.values()))
                rows.append(
                    {"setting": setting, "epochs": epochs, "n": n, **ours, "distance": distance}
                )
    table = pd.DataFrame(rows, columns=["setting", "epochs", "n", *EXPLAINED, "distance"])
    return table.sort_values(["distance", "setting"], ignore_index=True)


def _accuracies(row: str, epochs: int, runs: list[dict]) -> list[float]:
    """Test accuracies, in percent, of the runs of a row; `epochs` unless the row has its own."""
    wanted = {**DEFAULTS, "epochs": epochs, **changes_of(row)}
    return [
        100 * record["result"]["test_accuracy"]
        for record in runs
        if _length(record) == wanted["epochs"]
        and all(protocol_of(record)[name] == wanted[name] for name in ("model", "learning_rate"))
    ]


def setting_name(record: dict, leave_out: tuple[str, ...] = ()) -> str:
    """How a record's protocol differs from the paper's, in words: "momentum=0.9".

    The model, the digits, the length and the seed are not part of it, nor is `leave_out`.
    """
    apart = {"dataset", "model", "epochs", "seed", *leave_out}
    changed = [
        f"{name}={value}"
        for name, value in protocol_of(record).items()
        if name not in apart and value != DEFAULTS.get(name)
    ]
    return ", ".join(changed) or "as the paper"


# Cost


def cost(records: list[dict]) -> pd.DataFrame:
    """What the runs cost.

    Returns:
        One row for each study, dataset, model and device. Columns study, dataset, model, device,
        runs, epochs, core_hours (a GPU counts as one core), images_per_second (training images
        per second of one run). Epochs that a longer run took over from a shorter one count once.
    """
    rows = []
    for record in _without_prefixes(records):
        environment = record["environment"]
        seconds = environment.get("epoch_seconds") or []
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
    """What a row of Table 1 costs and what it reaches.

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


def systems(records: list[dict]) -> list[System]:
    """Every row of Table 1, the paper's first."""
    rows = {"": NETWORKS, **BEYOND}
    return [
        _system(name, heading, changes, runs_of(changes, records))
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


def _without_prefixes(records: list[dict]) -> list[dict]:
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


def plural(count: int, noun: str) -> str:
    """A number and its noun: "1 seed", "3 seeds"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
