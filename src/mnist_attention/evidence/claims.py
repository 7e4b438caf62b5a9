"""Judge the claims of the paper by the rules of `results/PLAN.md`, from records only.

A claim has one or more sub-claims. Its rule returns a `Verdict` on each, with the facts that the
outcome rests on; `report` turns them into sentences.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ..noise import TRAINING_CONDITIONS
from . import runs as evidence
from . import statistics
from .attention import plain_and_masked, trained_on_noise
from .runs import ENOUGH_SEEDS, Records, Runs, RunTable, difference, reported_value, value_of
from .statistics import LEVEL, MARGIN, Difference, Sample, holm, paired_difference, summarise

Outcome = Literal[
    "reproduced", "direction only", "not reproduced (higher)", "not reproduced (lower)",
    "not reproduced", "contradicted", "inconclusive", "not tested",
]  # fmt: skip

ROUNDING = 0.05
"""The paper rounds to 0.1: its number may be this far from what was measured."""

WIDEST = 1.6
"""Points: the gain that the paper reports for its mask. A range wider than this confirms nothing,
and one or two runs refute a number only if each is farther away."""

PLAN_FIXED = "2026-11-26T15:27:21Z"
"""When `results/PLAN.md` was committed. Runs that finished later are new."""

FULL_NOISE = tuple(condition for condition in TRAINING_CONDITIONS if condition.strength == 1)
"""The backgrounds by which Claim 9 is judged."""

PUBLISHED = {
    "LeNet-5 (LeCun et al. 1998)": 99.05,
    "LeNet-5 trained with distortions (LeCun et al. 1998)": 99.2,
    "a committee of 35 convolutional networks (Ciresan et al. 2012)": 99.77,
}
"""Test accuracy on MNIST in percent, published before the paper: it measures ResNet, of 2015.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE
86(11), 1998, Section III (errors 0.95 % and 0.8 %).
Ciresan, Meier, Schmidhuber: Multi-column deep neural networks for image classification, CVPR 2012
(error 0.23 %).
"""


@dataclasses.dataclass(frozen=True)
class Test:
    """A paired comparison, e.g. "0.01 minus 0.001", with Holm's p value of "it is `bound`".

    `level` is what Holm's correction leaves to the first of its tests.
    """

    __test__ = False  # not a test of ours to pytest

    name: str
    difference: Difference
    bound: float = 0
    p_value: float = math.nan
    level: float = LEVEL

    @property
    def direction(self) -> int:
        """1 if the difference is shown to be above zero, -1 if below, 0 if neither."""
        return self.difference.direction_at(self.p_value)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of one sub-claim, and what it rests on.

    Attributes:
        part: Name of the sub-claim within the claim.
        says: What the paper says.
        outcome: See `results/PLAN.md`, "Words".
        n: Runs or pairs; of several comparisons the fewest.
        records: Of all runs that were used, diverged ones and those at chance too.
        ours: Our number in `unit`, as are the paper's and the differences.
        tests: Paired comparisons, corrected within the claim.
        beside: Others, which are shown and not judged.
        epochs: Where runs were cut short: "2 of 100".
        needed: Where the outcome is inconclusive: runs with which the rule would have power 0.8;
            `None` if no number up to a thousand would do.
    """

    claim: int
    part: str
    says: str
    outcome: Outcome
    n: int = 0
    records: Sequence[dict] = dataclasses.field(default=(), repr=False)
    ours: Sample = statistics.NO_RUNS
    paper: float | None = None
    unit: str = "%"
    tests: Sequence[Test] = ()
    beside: Sequence[Test] = ()
    epochs: str = ""
    needed: int | None = None

    @property
    def new(self) -> int:
        """How many of the runs finished after the plan was fixed."""
        finished = (str(record["environment"].get("finished") or "") for record in self.records)
        return sum(time > PLAN_FIXED for time in finished)

    @property
    def failed(self) -> int:
        """How many of the runs diverged or ended below `runs.AT_CHANCE`."""
        return sum(map(evidence.is_failed, self.records))


def judge(claim: int, records: Records) -> list[Verdict]:
    """Judge the sub-claims of a claim from 1 to 11; ValueError for another."""
    if claim not in CLAIMS:
        raise ValueError(f"Expected a claim from 1 to {len(CLAIMS)}. Received: claim={claim!r}")
    _, rule = CLAIMS[claim]
    return rule(RunTable.of(records))


def verdicts(records: Records) -> list[Verdict]:
    """The verdict on every sub-claim, in the paper's order."""
    return [verdict for claim in CLAIMS for verdict in judge(claim, records)]


# Rules that several claims share

Said = tuple[int, str, str]
"""Claim, part, and what the paper says: the start of a `Verdict`."""


def number_rule(values: Sequence[float], paper: float) -> Outcome:
    """Whether a published number could be one more run of ours, all in percent."""
    ours = summarise(values)
    return _in_range(values, paper, ours.prediction_low - ROUNDING, ours.prediction_high + ROUNDING)


def _in_range(values: Sequence[float], paper: float, low: float, high: float) -> Outcome:
    """The number rule for a given range; below three values by the distance of each."""
    inside = "reproduced" if high - low <= WIDEST else "inconclusive"
    if len(values) < ENOUGH_SEEDS:
        low, high, inside = min(values) - WIDEST, max(values) + WIDEST, "inconclusive"
    if low <= paper <= high:
        return inside
    return "not reproduced (higher)" if paper < low else "not reproduced (lower)"


def _sign_rule(tests: Sequence[Test]) -> Outcome:
    """Shown to be better in every comparison; contradicted if shown to be worse in one."""
    directions = {test.direction for test in tests}
    if -1 in directions:
        return "contradicted"
    if directions == {1}:
        return "reproduced"
    equal = any(not test.direction and test.difference.equivalent for test in tests)
    return "not reproduced" if equal else "inconclusive"


def _needed_for_number(ours: Sample, rounding: float = ROUNDING) -> int | None:
    """Runs with which the range of one more run is narrow enough to confirm a number."""
    if ours.n < 2:
        return ENOUGH_SEEDS
    found = statistics.runs_for_range(ours.deviation, WIDEST - 2 * rounding)
    return found and max(found, ours.n + 1)


def _needed(test: Test, least: float = MARGIN) -> int | None:
    """Pairs with which the effect that was seen, or at least `least`, would be found."""
    paired = test.difference
    if paired.n < 2:
        return ENOUGH_SEEDS
    effect = paired.mean - test.bound if test.bound else max(abs(paired.mean), least)
    options = {"sides": 1 if test.bound else 2, "level": test.level}
    found = statistics.runs_needed(paired.deviation, effect, **options)
    return found and max(found, paired.n + 1)


def _corrected(*tests: Test) -> list[Test]:
    """All comparisons of a claim with their p values, corrected for their number."""
    corrected = holm([_p_value(test.difference, test.bound) for test in tests])
    level = LEVEL / max(1, len(tests) - np.isnan(corrected).sum())
    found = zip(tests, corrected, strict=True)
    return [dataclasses.replace(test, p_value=p, level=level) for test, p in found]


def _p_value(paired: Difference, bound: float) -> float:
    """Of zero two-sided; of another bound on the side on which the mean is."""
    return min(paired.p_below(bound), paired.p_above(bound)) if bound else paired.sign_p


def _not_tested(said: Said, runs: Runs | None = None) -> Verdict:
    return Verdict(*said, "not tested", epochs=runs.progress if runs and runs.cut_short else "")


def _number(claim: int, part: str, row: str, table: RunTable, reaches: str = "reaches") -> Verdict:
    """A number of Table 1, by runs of full length."""
    runs, paper = table.runs(evidence.setting_of(row)), reported_value(row)
    said = claim, part, f"{row} {reaches} {paper} %"
    if not runs.whole:
        return _not_tested(said, runs)
    values, ours = [value_of(record) for record in runs.records], evidence.sample(runs)
    facts = {"paper": paper, "needed": _needed_for_number(ours)}
    return Verdict(*said, number_rule(values, paper), ours.n, runs.records, ours, **facts)


def _compared(
    said: Said, outcome: Outcome, tests: list[Test], records: list[dict], unit: str = "points"
) -> Verdict:
    """A verdict on differences; `needed` are the pairs with which all of them would be shown."""
    least = MARGIN if unit == "points" else 0.0
    needed = [_needed(test, least) for test in tests if not test.direction]
    most = None if None in needed else max(needed, default=None)
    n = min(test.difference.n for test in tests)
    return Verdict(*said, outcome, n, records, unit=unit, tests=tests, needed=most)


def _worse(
    said: Said, test: Test, values: Sequence[float], paper: float, records: Sequence[dict]
) -> Verdict:
    """A setting is worse than the paper's choice (`test`: that minus this), and by how much."""
    n = min(len(values), test.difference.n)
    if not n:
        return _not_tested(said)
    ours, outcome = summarise(values), _sign_rule([test])
    if outcome == "reproduced":
        number = number_rule(values, paper)
        outcome = number if number in ("reproduced", "inconclusive") else "direction only"
    needed = _needed_for_number(ours) if test.direction else _needed(test)
    return Verdict(*said, outcome, n, records, ours, paper, tests=(test,), needed=needed)


def _no_better(said: Said, test: Test, paper: float, *groups: Runs) -> Verdict:
    """More is no better: reproduced if better by less than `MARGIN`, contradicted if by more."""
    paired, outcome = test.difference, "inconclusive"
    if not paired.n:
        return _not_tested(said)
    if test.p_value < LEVEL:
        outcome = "reproduced" if paired.mean < MARGIN else "contradicted"
    facts = {"unit": "points", "paper": round(paper, 1), "tests": (test,), "needed": _needed(test)}
    return Verdict(*said, outcome, paired.n, _paired(*groups), **facts)


def _paired(first: Runs, *others: Runs) -> list[dict]:
    """The records of `first` and of others that have a partner of the same seed."""
    pairs = [pair for other in others for pair in evidence.pairs(first, other).values()]
    return [*{record["run_id"]: record for pair in pairs for record in pair}.values()]


# The claims


def _gain(table: RunTable) -> list[Verdict]:
    """Claim 3: the sign of the mask's gain by pairs, its size by single runs.

    The paper does not say that its two networks shared a seed, so their spreads add up.
    """
    paper = evidence.reported_gain()
    sign, size = (3, "sign", "the mask helps"), (3, "size", f"the mask is worth {paper:+} points")
    plain, masked = plain_and_masked({}, table)
    by_seed = [*evidence.differences(masked, plain).values()]
    if not by_seed:
        return [_not_tested(sign), _not_tested(size)]
    tests = _corrected(Test("with minus without the mask", difference(masked, plain)))
    signed = _compared(sign, _sign_rule(tests), tests, _paired(plain, masked))
    p_value = _p_value(tests[0].difference, MARGIN)
    bound = dataclasses.replace(tests[0], bound=MARGIN, p_value=p_value)
    signed = dataclasses.replace(signed, beside=(bound,))

    both = [evidence.sample(runs) for runs in (masked, plain)]
    mean, deviation = both[0].mean - both[1].mean, math.hypot(*(one.deviation for one in both))
    apart = Sample(min(one.n for one in both), mean, deviation)
    spread = math.hypot(*(one.prediction_high - one.mean for one in both)) + 2 * ROUNDING
    values = by_seed if apart.n < ENOUGH_SEEDS else [mean] * apart.n
    outcome = _in_range(values, paper, mean - spread, mean + spread)
    facts = {"unit": "points", "needed": _needed_for_number(apart, 2 * ROUNDING)}
    return [signed, Verdict(*size, outcome, apart.n, signed.records, apart, paper, **facts)]


def _resnet(table: RunTable) -> list[Verdict]:
    """Claim 5: runs that were cut short may refute the number, but confirm nothing.

    Overfitting is a reason for the shortfall if it is at least half of it, in every run.
    """
    runs, paper = table.runs(evidence.setting_of("ResNet")), reported_value("ResNet")
    number, found = _number(5, "number", "ResNet", table, "reaches only"), evidence.sample(runs)
    if runs.cut_short and min(map(value_of, runs.records)) - paper > WIDEST:
        facts = {"n": found.n, "records": runs.records, "ours": found, "paper": paper}
        number = dataclasses.replace(number, outcome="not reproduced (higher)", **facts)
    half = (reported_value("LeNet") - paper) / 2
    says = f"because it overfits: training would be {half:.1f} points above test, or more"
    said = 5, "reason", says
    if not runs.whole:
        return [number, _not_tested(said, runs)]
    gaps = [value_of(r, "train_accuracy") - value_of(r) for r in runs.records]
    # Every run must agree, so more runs do not help.
    outcome = "contradicted" if max(gaps) < WIDEST else "inconclusive"
    outcome = "reproduced" if min(gaps) >= half else outcome
    gap = summarise(gaps)
    return [number, Verdict(*said, outcome, gap.n, runs.records, gap, unit="points")]


def late_accuracy(record: dict) -> float:
    """Mean test accuracy of the last ten epochs in percent; of a diverged run what it ended at."""
    last = record["history"].get("test_accuracy", ())[-10:]
    if evidence.is_diverged(record) or not last:
        return value_of(record)
    return 100 * sum(last) / len(last)


def late_training_accuracy(record: dict) -> float:
    """Mean accuracy on the augmented training images over the last ten epochs in percent."""
    return 100 * float(np.mean(record["history"].get("accuracy", ())[-10:] or math.nan))


def _learning_rate(table: RunTable) -> list[Verdict]:
    """Claim 6. That 0.01 is best repeats the tests of the other two, so Holm counts two tests."""
    best, high, low = (
        evidence.whole_runs({"learning_rate": rate}, table) for rate in (0.01, 0.1, 0.001)
    )
    higher, lower = tests = _corrected(
        Test("0.01 minus 0.1", difference(best, high, late_accuracy)),
        Test("0.01 minus 0.001", difference(best, low, late_accuracy)),
    )
    judged = []
    for part, rate, effect, runs, test in (
        ("low", 0.001, "is worse than 0.01", low, lower),
        ("high", 0.1, "collapses", high, higher),
    ):
        paper = reported_value(f"learning_rate={rate}")
        said = 6, part, f"rate {rate} {effect} ({paper} %)"
        values = [late_accuracy(record) for record in runs.records]
        judged.append(_worse(said, test, values, paper, _paired(best, runs)))
    said = 6, "best", "rate 0.01 is best"
    found = _compared(said, _sign_rule(tests), tests, _paired(best, high, low))
    beside = [
        Test(f"in training {test.name}", difference(best, runs, late_training_accuracy))
        for test, runs in zip(tests, (high, low), strict=True)
    ]
    found = dataclasses.replace(found, beside=_corrected(*beside))
    return [*judged, found if found.n else _not_tested(said)]


def _batch_size(table: RunTable) -> list[Verdict]:
    """Claim 7, of training accuracy at the end."""
    metric, sizes = "train_accuracy", (48, 96, 128, 256)
    runs = {size: evidence.whole_runs({"batch_size": size}, table) for size in sizes}
    paper = {size: reported_value(f"batch_size={size}", metric) for size in sizes}

    def minus(first: int, second: int, bound: float = 0) -> Test:
        paired = difference(runs[first], runs[second], metric)
        return Test(f"{first} minus {second}, training", paired, bound)

    worse, *more = _corrected(minus(96, 48), minus(128, 96, MARGIN), minus(256, 96, MARGIN))
    judged = []
    for size, test in zip((128, 256), more, strict=True):
        said = 7, str(size), f"batch 96 is as good as {size}"
        judged.append(_no_better(said, test, paper[size] - paper[96], runs[size], runs[96]))
    said = 7, "batch 48", f"batch 48 is worse ({paper[48]} % in training)"
    values = [value_of(record, metric) for record in runs[48].records]
    return [*judged, _worse(said, worse, values, paper[48], _paired(runs[96], runs[48]))]


def _epochs(table: RunTable) -> list[Verdict]:
    """Claim 8. The runs of 100 epochs passed through 50, so they are their own pairs."""
    ours, longer = (evidence.whole_runs({"epochs": epochs}, table) for epochs in (100, 150))
    reached = [run for run in ours.records if not math.isnan(evidence.accuracy_after(run, 50))]
    values = [evidence.accuracy_after(run, 50) for run in reached]
    before = paired_difference([value_of(r) - v for r, v in zip(reached, values, strict=True)])
    worse, more = _corrected(
        Test("100 minus 50 epochs", before),
        Test("150 minus 100 epochs", difference(longer, ours), MARGIN),
    )
    paper = {epochs: reported_value(f"epochs={epochs}") for epochs in (50, 100, 150)}
    said = 8, "50 epochs", f"50 epochs are worse ({paper[50]} %)"
    fifty = _worse(said, worse, values, paper[50], reached)
    said = 8, "150 epochs", "150 epochs are no better than 100"
    no_better = _no_better(said, more, paper[150] - paper[100], longer, ours)
    shown = Test(more.name, more.difference, p_value=more.difference.sign_p)
    return [fifty, dataclasses.replace(no_better, beside=(shown,))]


def _noise(table: RunTable) -> list[Verdict]:
    """Claim 9, of networks trained on each background at full strength; Holm over all tests."""
    entries = {
        str(entry["condition"]): entry
        for entry in trained_on_noise(table)
        if entry["condition"] in FULL_NOISE
    }
    over = [
        Test(f"{background}, minus {name}", paired)
        for background, entry in entries.items()
        for name, paired in entry["over"].items()
    ]
    ratio = [Test(name, entry["snr_over_untrained"]) for name, entry in entries.items()]
    gains = [Test(name, entry["gain"]) for name, entry in entries.items()]
    corrected = iter(_corrected(*over, *ratio, *gains))
    judged = []
    for part, says, unit, count in (
        ("where", "the mask looks at the important regions", "AUROC", len(over)),
        ("ratio", "it raises the signal-to-noise ratio", "dB", len(ratio)),
        ("accuracy", "digits in noise are read better with it", "points", len(gains)),
    ):
        said, tests = (9, part, says), [*itertools.islice(corrected, count)]
        kind = "pairs" if part == "accuracy" else "with_mask"
        records = [record for entry in entries.values() for record in entry[kind]]
        found = _compared(said, noise_outcome(part, tests), tests, records, unit)
        judged.append(found if found.n >= 2 else _not_tested(said))
    return judged


def noise_outcome(part: str, tests: Sequence[Test], corrected: bool = True) -> Outcome:
    """How Claim 9 counts directions, by the tests' p values with their correction or without."""
    shown = [test.direction if corrected else test.difference.direction for test in tests]
    directions = np.reshape(shown, (len(FULL_NOISE), -1))  # a row a background
    higher, lower = directions == 1, directions == -1
    if higher.all():
        return "reproduced"
    if part != "accuracy":
        decided = "direction only" if higher.mean() > 0.5 else "inconclusive"
        return "contradicted" if lower.any(axis=1).all() else decided
    if higher.any():
        return "direction only"
    return "contradicted" if lower.mean() > 0.5 else "not reproduced"


def _state_of_the_art(table: RunTable) -> list[Verdict]:
    """Claim 10: contradicted if a better result was published before, whatever our runs give."""
    best, paper = max(PUBLISHED.values()), reported_value("LeNet+Attention")
    outcome = "contradicted" if best > paper + ROUNDING else "not tested"
    said = 10, "published", f"{paper} % is state of the art"
    return [Verdict(*said, outcome, ours=Sample(1, best), paper=paper)]


def _sizes(table: RunTable) -> list[Verdict]:
    """Claim 11: the number of digits that the runs had."""
    said = 11, "count", "the data has 80,000 images, 60,000 + 20,000"
    datasets = [record["dataset"] for record in table if evidence.is_mnist(record)]
    if not datasets:
        return [_not_tested(said)]
    found = max((each["train_size"], each["test_size"]) for each in datasets)
    outcome = "reproduced" if found == (60_000, 20_000) else "contradicted"
    return [Verdict(*said, outcome, ours=Sample(1, sum(found)), paper=80_000, unit="images")]


CLAIMS: dict[int, tuple[str, Callable[[RunTable], list[Verdict]]]] = {
    1: ("LeNet-5 alone reaches 97.7 %", lambda table: [_number(1, "number", "LeNet", table)]),
    2: (
        "LeNet-5 with the mask reaches 99.3 %",
        lambda table: [_number(2, "number", "LeNet+Attention", table)],
    ),
    3: ("the mask is worth +1.6 points", _gain),
    4: (
        "AlexNet reaches 98.7 %, VGG16 98.9 %",
        lambda table: [_number(4, row, row, table) for row in ("AlexNet", "VGG16")],
    ),
    5: ("ResNet reaches only 86.5 %, because a large network overfits MNIST", _resnet),
    6: ("learning rate 0.01 is best; 0.1 falls to 80.9 %, 0.001 to 79.8 %", _learning_rate),
    7: ("batch 96 is as good as 128 or 256; 48 reaches 95.9 % in training", _batch_size),
    8: ("100 epochs are enough: 50 give 93.4 %, 150 the same 99.3 %", _epochs),
    9: (
        "the mask focuses on the important regions, filters out background or noise and raises the "
        "signal-to-noise ratio",
        _noise,
    ),
    10: ("the result is state of the art", _state_of_the_art),
    11: ("the data has 80,000 images, 60,000 + 20,000", _sizes),
}
"""Claim -> what the paper says, and the rule that judges it."""
