"""The choices that the paper leaves open: what each is worth, and whether one explains its numbers.

Accuracies are in percent and differences in percentage points.
"""

import dataclasses
import itertools
import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..protocol import PAPER, SHORT
from . import runs as evidence
from .attention import MASKED, PLAIN
from .runs import DEFAULTS, ENOUGH_SEEDS, Changes, Records, RunTable, too_few, value_of, whole_runs
from .statistics import NO_PAIRS, Difference, paired_difference

# The ablation table


class Option(NamedTuple):
    """Another interpretation, `name`, of a choice: how it changes the protocol `base`."""

    choice: str
    ours: str
    name: str
    changes: Changes
    base: Changes = {}  # noqa: RUF012 (never changed)


_PLACE = ("where the mask sits", "after C1 and C3, before pooling")
_BOUND = ("activation of the mask", "sigmoid")
_UNITS = ("units of the backbone", "ReLU")
_START = ("initialisation", "Glorot uniform")
_DRAWS = ("augmentation", "flip, and shift by up to 2 pixels")
OPTIONS = (
    Option(*_PLACE, "after C1 only", {"mask_placement": "c1"}),
    Option(*_PLACE, "after C3 only", {"mask_placement": "c3"}),
    Option(*_PLACE, "after pooling", {"mask_placement": "after_pooling"}),
    Option("channels of the mask", "one", "one per feature", {"mask_channels": None}),
    Option(*_BOUND, "softmax", {"mask_activation": "softmax"}),
    Option(*_BOUND, "none", {"mask_activation": "linear"}),
    Option(*_UNITS, "tanh", {"activation": "tanh"}),
    Option(*_UNITS, "sigmoid", {"activation": "sigmoid"}),
    Option("pooling of the backbone", "max", "average", {"pooling": "average"}),
    Option(*_START, "LeCun normal", {"initializer": "lecun_normal"}),
    Option(*_START, "He normal", {"initializer": "he_normal"}),
    Option(*_START, "normal, deviation 0.01", {"initializer": "narrow_normal"}),
    Option("momentum", "0", "0.9", {"momentum": 0.9}),
    Option("momentum at rate 0.1", "0", "0.9", {"momentum": 0.9}, {"learning_rate": 0.1}),
    Option("momentum at rate 0.001", "0", "0.9", {"momentum": 0.9}, {"learning_rate": 0.001}),
    Option(*_DRAWS, "flip only", {"shift": 0}),
    Option(*_DRAWS, "shift only, against the text", {"flip": False}),
    Option(*_DRAWS, "none, against the text", {"flip": False, "shift": 0}),
    Option(*_DRAWS, "flip, and brightness by up to 40 %", {"shift": 0, "brightness": 0.4}),
    Option("weight decay", "0", "1e-4", {"weight_decay": 1e-4}),
    Option("dense layers", "three: C5, F6, OUTPUT", "two, without F6", {"dense_layers": 2}),
    Option("size of the input", "32x32, padded", "28x28", {"canvas": 28}),
    Option("scale of the pixels", "0 to 1", "0 to 255", {"pixel_scale": 255}),
    Option("order of the images", "new every epoch", "one for all", {"reshuffle": False}),
    Option("depth of ResNet", "50", "18", {"model": "resnet18"}, {"model": "resnet50"}),
)

NOT_RUN = "not run yet"

_OF_THE_MASK = ("mask_placement", "mask_channels", "mask_activation")
"""Fields that LeNet-5 alone does not have."""


@dataclasses.dataclass(frozen=True)
class Row:
    """An option at one number of epochs: a row of the ablation table.

    Attributes:
        epochs: Of training; `None` without runs.
        accuracy: Mean test accuracy with the option in percent; NaN without runs.
        effect: Option minus ours, paired by seed, in points of `metric`.
        gain: With the option, LeNet+Attention minus LeNet-5 trained the same way.
        stuck: Runs of the option that diverged or are stuck at chance.
        stuck_alone: The same of LeNet-5 trained the same way.
        missing: What keeps it from having pairs.
    """

    choice: str
    ours: str
    option: str
    epochs: int | None = None
    accuracy: float = math.nan
    effect: Difference = NO_PAIRS
    gain: Difference = NO_PAIRS
    stuck: int = 0
    stuck_alone: int = 0
    metric: str = "test accuracy"
    missing: str = NOT_RUN

    @property
    def lack(self) -> str | None:
        """Why the numbers must not be quoted; `None` if they may be."""
        return too_few(self.effect.n) if self.effect.n else self.missing


def effects(records: Records) -> list[Row]:
    """What each choice that the paper leaves open is worth: rows for each length of its runs.

    Where the default was not run for so many epochs, its longer runs stand in, at that epoch.
    """
    table = RunTable.of(records)
    rows = [row for option in OPTIONS for row in _measured(option, table)]
    return [*rows, _running_accuracy(table), _best_seed(table)]


def _measured(option: Option, table: RunTable) -> list[Row]:
    """Option minus ours at every length at which there are pairs, or that there are none."""
    named = Row(option.choice, option.ours, option.name)
    wanted, rows = {**option.base, **option.changes}, []
    for epochs in table.lengths(wanted):
        changes, ours = {**wanted, "epochs": epochs}, table.after(option.base, epochs)
        theirs = whole_runs(changes, table)
        pairs = [value_of(run) - ours[seed] for seed, run in theirs.by_seed.items() if seed in ours]
        if pairs:
            row = dataclasses.replace(
                named,
                epochs=epochs,
                accuracy=evidence.sample(theirs).mean,
                effect=paired_difference(pairs),
                stuck=sum(map(evidence.is_failed, theirs.records)),
                **_over_lenet(changes, table),
            )
            rows.append(row)
    there = table.runs(wanted)
    lack = there.lack() if there.records else None
    return rows or [dataclasses.replace(named, missing=lack or NOT_RUN)]


def _over_lenet(changes: Changes, table: RunTable) -> dict:
    """What the mask is worth under an option: over LeNet-5 trained the same way."""
    if changes.get("model", MASKED) != MASKED:
        return {}
    without = {name: value for name, value in changes.items() if name not in _OF_THE_MASK}
    plain = table.runs({**without, "model": PLAIN})
    gain = evidence.difference(whole_runs(changes, table), plain)
    if gain.n < ENOUGH_SEEDS:
        return {}
    return {"gain": gain, "stuck_alone": sum(map(evidence.is_failed, plain.records))}


def _running_accuracy(table: RunTable) -> Row:
    """How much the last epoch's running accuracy differs from that on clean images at the end."""
    runs, metric = table.runs({}), "train_accuracy"
    running = [(run["history"].get("accuracy"), run["result"][metric]) for run in runs.records]
    # Without a history: a run may diverge in its first epoch.
    paired = paired_difference([100 * (epochs[-1] - end) for epochs, end in running if epochs])
    names = "images that training accuracy is measured on", "clean, at the end"
    options = {"effect": paired, "metric": "training accuracy"}
    return Row(*names, "augmented, over the last epoch", runs.done or None, **options)


def _best_seed(table: RunTable) -> Row:
    """How much the best seed is above the mean: what reporting one chosen run is worth."""
    named, runs = Row("seeds", "the mean of all", "the best of n"), table.runs({})
    if len(runs.records) < 2:  # the best of one is the mean
        return named
    ours = evidence.sample(runs)
    effect = Difference(ours.n, max(map(value_of, runs.records)) - ours.mean)
    return dataclasses.replace(named, epochs=runs.done, effect=effect)


# Which protocol explains the paper's numbers


EXPLAINED = ("LeNet", "LeNet+Attention", "learning_rate=0.1", "learning_rate=0.001", "epochs=50")
"""Rows of the tables that one interpretation of the paper should give together."""

NEAR = 1.6
"""Points within which a number counts as explained: the gain that the paper reports."""

_FREE = ("model", "learning_rate", "epochs")  # what these rows set


def explain(records: Records) -> pd.DataFrame:
    """Compare every protocol that was tried with the paper's numbers.

    A training of 20 epochs may stand in for 100. It is then compared with all of the paper's
    numbers at a fifth of their length: 10 of 20 epochs with the paper's 50 of 100.

    A row for each setting and 20 and 100 epochs, if all of `EXPLAINED` were run with three seeds.
    Columns setting, epochs, n (seeds with all runs), one per row of `EXPLAINED` (ours minus the
    paper's, in points) and explains (whether all but the last are within `NEAR`).
    """
    table, rows = RunTable.of(records), []
    paper = np.array([evidence.reported_value(row) for row in EXPLAINED])
    settings = {
        evidence.setting_name(record, leave_out=_FREE): evidence.protocol_of(record)
        for record in table
        if evidence.is_mnist(record) and record["protocol"]["model"] in (PLAIN, MASKED)
    }
    lengths = (SHORT.epochs, PAPER.epochs)
    for (name, setting), epochs in itertools.product(sorted(settings.items()), lengths):
        found = {row: _accuracies(row, epochs, setting, table) for row in EXPLAINED}
        found = pd.DataFrame(found).dropna()
        if len(found) >= ENOUGH_SEEDS:
            apart = found.mean() - paper
            explains = bool((apart.iloc[:-1].abs() <= NEAR).all())
            named = {"setting": name, "epochs": epochs, "n": len(found)}
            rows.append({**named, **apart, "explains": explains})
    columns = ["setting", "epochs", "n", *EXPLAINED, "explains"]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("explains", ascending=False, kind="stable")


def _accuracies(row: str, epochs: int, setting: Changes, table: RunTable) -> dict[int, float]:
    """Seed -> test accuracy in percent when a run has had `epochs` of 100."""
    of_row = {**DEFAULTS, **evidence.setting_of(row)}
    wanted = {**setting, **{name: of_row[name] for name in _FREE}}
    return table.after(wanted, epochs * wanted["epochs"] // PAPER.epochs)
