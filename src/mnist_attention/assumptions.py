"""The assumption ledger: what each choice that the paper leaves open is worth, and which reading of
the paper comes nearest to its numbers.

Accuracies are in percent and differences in percentage points. Reads no TensorFlow.
"""

import dataclasses
import math
from collections.abc import Mapping

import pandas as pd

from .evidence import (
    DEFAULTS,
    Changes,
    agrees,
    changes_of,
    difference,
    is_mnist,
    protocol_of,
    reported_value,
    runs_of,
    sample,
    setting_name,
)
from .inference import Difference, paired_difference

# The ledger


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
    option = [r for r in records if is_mnist(r) and agrees(r, wanted, {"seed", "epochs"})]
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
    rows = []
    for (setting, epochs), changes in sorted(_readings(records).items()):
        found = {row: runs_of({**changes, **changes_of(row)}, records) for row in EXPLAINED}
        if all(runs.records and runs.done == runs.asked for runs in found.values()):
            ours = {row: sample(runs).mean for row, runs in found.items()}
            n = min(len(runs.records) for runs in found.values())
            apart = math.dist(ours.values(), map(reported_value, EXPLAINED))
            distance = apart / math.sqrt(len(EXPLAINED))
            rows.append(
                {"setting": setting, "epochs": epochs, "n": n, **ours, "distance": distance}
            )
    table = pd.DataFrame(rows, columns=["setting", "epochs", "n", *EXPLAINED, "distance"])
    return table.sort_values(["distance", "setting"], ignore_index=True)


def _readings(records: list[dict]) -> dict[tuple[str, int], Changes]:
    """Name and epochs of every reading that LeNet was trained in -> its setting."""
    free = ("model", "learning_rate")  # what the rows of `EXPLAINED` set
    readings = {}
    for record in filter(is_mnist, records):
        protocol = protocol_of(record)
        if protocol["model"] in (changes_of("LeNet")["model"], DEFAULTS["model"]):
            key = setting_name(record, leave_out=free), protocol["epochs"]
            readings[key] = {name: protocol[name] for name in DEFAULTS if name not in free}
    return readings
