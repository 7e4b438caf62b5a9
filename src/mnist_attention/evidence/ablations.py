"""The assumption ledger: what each choice that the paper leaves open is worth, and which reading of
the paper comes nearest to its numbers.

Accuracies are in percent and differences in percentage points. Reads no TensorFlow.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..protocol import PAPER, SHORT
from .runs import (
    DEFAULTS,
    ENOUGH_SEEDS,
    Changes,
    Runs,
    agrees,
    difference,
    is_mnist,
    protocol_of,
    reported_value,
    runs_of,
    sample,
    setting_name,
    setting_of,
    too_few,
)
from .statistics import Difference, paired_difference

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
            "shift only, against the text": {"flip": False},
            "none, against the text": {"flip": False, "shift": 0},
        },
    ),
    Choice("depth of ResNet", "50", {"18": {"model": "resnet18"}}, {"model": "resnet50"}),
)


GUESSING = 20.0
"""Percent of test accuracy below which a network of ten classes is said to guess."""


def ledger(records: list[dict]) -> pd.DataFrame:
    """What each choice that the paper leaves open is worth.

    Returns:
        One row for each option and each number of epochs at which it was measured. Columns
        choice, ours, option, metric, epochs, n (paired seeds), accuracy (mean with the option, in
        percent), effect (option minus ours, in points), low, high (95 % interval), p_value
        (sign-flip test), detectable, guessing (runs of the option that end below `GUESSING`: after
        so few epochs the effect says nothing of longer training), lack (why the numbers must not be
        quoted; empty if they may be), gain, gain_low, gain_high, gain_shown (of the option over
        LeNet-5 trained alike; the last is `Difference.direction`). Without measurement epochs is
        missing, n is 0 and the numbers are NaN.
    """
    rows = []
    for choice in CHOICES:
        for option, changes in choice.options.items():
            named = {"choice": choice.name, "ours": choice.ours, "option": option}
            rows += [
                {**named, "metric": "test accuracy", **measured}
                for measured in _measured(choice.base, changes, records)
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
    return pd.DataFrame(rows).astype({"epochs": "Int64"})


def _measured(base: Changes, changes: Changes, records: list[dict]) -> list[dict]:
    """Option minus ours at every length at which there are pairs; once nil if there are none."""
    wanted = {**DEFAULTS, **base, **changes}
    option = [r for r in records if is_mnist(r) and agrees(r, wanted, {"seed", "epochs"})]
    measured = []
    for epochs in sorted({protocol_of(record)["epochs"] for record in option}):
        ours = runs_of({**base, "epochs": epochs}, records)
        theirs = runs_of({**base, **changes, "epochs": epochs}, records)
        paired = difference(theirs, ours)
        if paired.n and theirs.done == epochs:
            measured.append(
                {
                    **_effect(paired),
                    **_over_lenet(theirs, {**base, **changes, "epochs": epochs}, records),
                    "epochs": epochs,
                    "accuracy": sample(theirs).mean,
                    "guessing": _guessing(theirs),
                }
            )
    if measured:
        return measured
    ours, theirs = runs_of(base, records), runs_of({**base, **changes}, records)
    return [{**_effect(Difference(0)), "lack": theirs.lack() or ours.lack() or "no pair of seeds"}]


def _over_lenet(option: Runs, changes: Changes, records: list[dict]) -> dict:
    """What the mask is worth under an option: over LeNet-5 trained alike. {} of other networks."""
    if changes.get("model", DEFAULTS["model"]) != DEFAULTS["model"]:
        return {}
    without = {name: value for name, value in changes.items() if not name.startswith("mask_")}
    gain = difference(option, runs_of({**without, **setting_of("LeNet")}, records))
    return _gain(gain) if gain.n >= ENOUGH_SEEDS else {}


def _gain(gain: Difference) -> dict:
    return {
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "gain_shown": gain.direction,
    }


def _effect(paired: Difference) -> dict:
    return {
        **_gain(Difference(0)),
        "epochs": None,
        "accuracy": math.nan,
        "n": paired.n,
        "effect": paired.mean,
        "low": paired.low,
        "high": paired.high,
        "p_value": paired.p_value,
        "detectable": paired.detectable,
        "guessing": 0,
        "lack": too_few(paired.n),
    }


def _guessing(runs: Runs) -> int:
    return sum(100 * record["result"]["test_accuracy"] < GUESSING for record in runs.records)


def _running_accuracy(records: list[dict]) -> dict:
    """How much the last epoch's running accuracy differs from that on clean images at the end."""
    runs = runs_of({}, records)
    paired = paired_difference(
        [
            100 * (record["history"]["accuracy"][-1] - record["result"]["train_accuracy"])
            for record in runs.records
            if record["history"].get("accuracy")  # a run may diverge in its first epoch
        ]
    )
    return {**_effect(paired), "epochs": runs.done or None}


def _best_seed(records: list[dict]) -> dict:
    """How much the best seed is above the mean: what reporting one chosen run is worth."""
    runs = runs_of({}, records)
    ours = sample(runs)
    if ours.n < 2:  # the best of one is the mean
        return _effect(Difference(0))
    best = max(100 * record["result"]["test_accuracy"] for record in runs.records)
    return {**_effect(Difference(ours.n, best - ours.mean)), "epochs": runs.done}


# Which protocol explains the paper's numbers


EXPLAINED = (
    "LeNet",
    "LeNet+Attention",
    "learning_rate=0.1",
    "learning_rate=0.001",
    "epochs=50",
)
"""Rows of the tables that one reading of the paper should give together."""

LENGTHS = (SHORT.epochs, PAPER.epochs)
"""Epochs that are held against the paper's 100."""

_LEAST_ERROR = 0.01
"""One of the 10,000 test images, in percent: what an error is taken for that is nil."""


def nearest(records: list[dict]) -> pd.DataFrame:
    """How near each protocol that was tried comes to the paper's numbers.

    A training of 20 epochs may stand in for 100. It is then held against all of the paper's
    numbers at a fifth of their length: 10 of 20 epochs against the paper's 50 of 100.

    Returns:
        One row for each reading of what the paper leaves open and each of `LENGTHS` for which all
        of `EXPLAINED` were run with three seeds; the nearest first. Columns setting, epochs, n
        (seeds with which all were run), one per row of `EXPLAINED` (mean test accuracy in percent),
        factor (by which our error rates are off, up or down, on geometric average: the
        exponential of the root mean square of the logarithm of ours over the paper's), least,
        most (the same of single seeds).
    """
    rows = []
    for (setting, reading), epochs in itertools.product(_readings(records).items(), LENGTHS):
        found = {row: _accuracies(setting_of(row), epochs, reading) for row in EXPLAINED}
        found = pd.DataFrame(found).dropna()
        if len(found) >= ENOUGH_SEEDS:
            ours = found.mean()
            factors = [_factor(seed) for _, seed in found.iterrows()]
            named = {"setting": setting, "epochs": epochs, "n": len(found)}
            spread = {"factor": _factor(ours), "least": min(factors), "most": max(factors)}
            rows.append({**named, **ours, **spread})
    names = ["setting", "epochs", "n", *EXPLAINED, "factor", "least", "most"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values(["factor", "setting"], ignore_index=True)


def _factor(ours: pd.Series) -> float:
    paper = 100 - np.array([reported_value(row) for row in ours.index])
    apart = np.log(np.maximum(100 - ours.to_numpy(), _LEAST_ERROR) / paper)
    return float(np.exp(np.sqrt(np.mean(apart**2))))


_FREE = ("model", "learning_rate", "epochs")
"""What the rows of `EXPLAINED` set."""


def _accuracies(row: Changes, epochs: int, reading: list[dict]) -> dict[int, float]:
    """Seed -> test accuracy in percent when a run has had `epochs` of 100, and so of any length.

    With a constant learning rate a longer run passes through what a shorter one ends at.
    """
    wanted = {name: {**DEFAULTS, **row}[name] for name in _FREE}
    last = epochs * wanted["epochs"] // PAPER.epochs
    found = {}
    for record in reading:
        if agrees(record, wanted, {"epochs"}):
            history = record["history"].get("test_accuracy", [])
            if record["result"].get("diverged") and len(history) < last:
                found[protocol_of(record)["seed"]] = 100 * record["result"]["test_accuracy"]
            elif len(history) >= last:
                found[protocol_of(record)["seed"]] = 100 * history[last - 1]
    return found


def _readings(records: list[dict]) -> dict[str, list[dict]]:
    """Name of every reading that LeNet was trained in -> its records."""
    readings: dict[str, list[dict]] = {}
    for record in filter(is_mnist, records):
        if protocol_of(record)["model"] in (setting_of("LeNet")["model"], DEFAULTS["model"]):
            readings.setdefault(setting_name(record, leave_out=_FREE), []).append(record)
    return dict(sorted(readings.items()))
