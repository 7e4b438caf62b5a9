"""Judge the claims of the paper by the rules of `results/PLAN.md`, from records only.

A claim has one or more sub-claims. A rule returns an outcome and the facts that it rests on;
`report` turns both into sentences.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from .attention import COMPARED_MAPS, trained_on_noise
from .runs import (
    ENOUGH_SEEDS,
    Metric,
    Records,
    Runs,
    RunTable,
    accuracy_after,
    difference,
    differences,
    is_failed,
    is_mnist,
    reported_gain,
    reported_value,
    sample,
    setting_of,
    value_of,
    whole_runs,
)
from .statistics import (
    LEVEL,
    MARGIN,
    NO_RUNS,
    Difference,
    Sample,
    holm,
    paired_difference,
    runs_for_range,
    runs_needed,
    summarise,
)

Outcome = Literal[
    "reproduced",
    "direction only",
    "not reproduced (higher)",
    "not reproduced (lower)",
    "not reproduced",
    "contradicted",
    "inconclusive",
    "not tested",
]

ROUNDING = 0.05
"""The paper rounds to 0.1: its number may be this far from what was measured."""

WIDEST = 1.6
"""Points: the gain that the paper reports for its mask. A range wider than this confirms nothing,
and one or two runs refute a number only if each is farther away."""

PLAN_FIXED = "2026-11-26T15:27:21Z"
"""When `results/PLAN.md` was committed. Runs that finished later are new."""

LAST_EPOCHS = 10
"""Epochs over which Claim 6 takes its mean, so that it does not depend on the very last."""

PUBLISHED = {
    "LeNet-5 (LeCun et al. 1998)": 99.05,
    "LeNet-5 trained with distortions (LeCun et al. 1998)": 99.2,
    "a committee of 35 convolutional networks (Ciresan et al. 2012)": 99.77,
}
"""Test accuracy on MNIST in percent, published before the paper: it cites no date, but measures
VGG16 and ResNet, which are of 2014 and 2015.

LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, Proc. IEEE
86(11), 1998, Section III (errors 0.95 % and 0.8 %).
Ciresan, Meier, Schmidhuber: Multi-column deep neural networks for image classification, CVPR 2012
(error 0.23 %).
"""


@dataclasses.dataclass(frozen=True)
class Test:
    """A paired comparison of a sub-claim.

    Attributes:
        name: What is compared, e.g. "0.01 minus 0.001".
        difference: Its difference.
        p_value: After Holm's correction within the claim; NaN if it was not tested.
    """

    __test__ = False  # not a test of ours to pytest

    name: str
    difference: Difference
    p_value: float = math.nan

    @property
    def direction(self) -> int:
        """1 if the difference is shown to be above zero, -1 if below, 0 if neither."""
        return self.difference.direction_at(self.p_value)


@dataclasses.dataclass(frozen=True)
class Facts:
    """What an outcome rests on.

    Attributes:
        n: Runs or pairs; of several comparisons the fewest.
        records: Of all runs that were used. Diverged ones and those at chance are among them.
        ours: Our number, in `unit`.
        paper: The paper's number, `None` where it has none.
        unit: Of the numbers and of the differences.
        tests: Paired comparisons.
        epochs: Epochs done and epochs asked for, where runs were cut short.
        needed: Of an inconclusive sub-claim, the runs with which its rule would have power 0.8;
            `None` where no number of runs up to a thousand would do.
    """

    n: int = 0
    records: Sequence[dict] = dataclasses.field(default=(), repr=False)
    ours: Sample = NO_RUNS
    paper: float | None = None
    unit: str = "%"
    tests: tuple[Test, ...] = ()
    epochs: tuple[int, int] | None = None
    needed: int | None = None

    @property
    def new(self) -> int:
        """How many of the runs finished after the plan was fixed."""
        finished = (record["environment"].get("finished") or "" for record in self.records)
        return sum(time > PLAN_FIXED for time in finished)

    @property
    def failed(self) -> int:
        """How many of the runs diverged or ended below `runs.AT_CHANCE`."""
        return sum(map(is_failed, self.records))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of one sub-claim.

    Attributes:
        claim: 1 to 11.
        part: Name of the sub-claim within the claim.
        says: What the paper says.
        outcome: See `results/PLAN.md`, "Words".
        facts: What it rests on.
    """

    claim: int
    part: str
    says: str
    outcome: Outcome
    facts: Facts


Judged = tuple[Outcome, Facts]
SubClaim = tuple[str, str, Outcome, Facts]
"""Part, what the paper says, outcome and facts."""


def judge(claim: int, records: Records) -> list[Verdict]:
    """Judge the sub-claims of a claim.

    Args:
        claim: 1 to 11.
        records: Any records; those of other digits than MNIST are not used.

    Raises:
        ValueError: for a claim that the paper does not make.
    """
    if claim not in CLAIMS:
        raise ValueError(f"Expected a claim from 1 to {len(CLAIMS)}. Received: claim={claim!r}")
    _, rule = CLAIMS[claim]
    return [Verdict(claim, *judged) for judged in rule(RunTable.of(records))]


def verdicts(records: Records) -> list[Verdict]:
    """The verdict on every sub-claim, in the paper's order."""
    table = RunTable.of(records)
    return [verdict for claim in CLAIMS for verdict in judge(claim, table)]


# Rules that several claims share


def number_rule(values: Sequence[float], paper: float) -> Outcome:
    """Whether a published number could be one more run of ours.

    Args:
        values: Ours, in percent.
        paper: The paper's.
    """
    return _in_range(values, paper, _prediction(summarise(values)))


def _in_range(values: Sequence[float], paper: float, reach: tuple[float, float]) -> Outcome:
    """The number rule for a given range; below three values by the distance of each."""
    if not len(values):
        return "not tested"
    low, high = reach if len(values) >= ENOUGH_SEEDS else (-math.inf, math.inf)
    if len(values) < ENOUGH_SEEDS:
        low, high = max(values) - paper < -WIDEST, min(values) - paper > WIDEST
        return _beyond(higher=high, lower=low, inside="inconclusive")
    inside = "inconclusive" if high - low > WIDEST else "reproduced"
    return _beyond(higher=paper < low, lower=paper > high, inside=inside)


def _beyond(*, higher: bool, lower: bool, inside: Outcome) -> Outcome:
    if higher:
        return "not reproduced (higher)"
    return "not reproduced (lower)" if lower else inside


def _prediction(ours: Sample) -> tuple[float, float]:
    return ours.prediction_low - ROUNDING, ours.prediction_high + ROUNDING


def _needed_for_number(ours: Sample) -> int | None:
    """Runs with which the range of one more run is narrow enough to confirm a number."""
    if ours.n < 2:
        return ENOUGH_SEEDS
    found = runs_for_range(ours.deviation, WIDEST - 2 * ROUNDING)
    return found and max(found, ours.n + 1)


def _number(row: str, table: RunTable) -> Judged:
    """A number of Table 1, by runs of full length."""
    runs, paper = table.runs(setting_of(row)), reported_value(row)
    if not runs.whole:
        return "not tested", _facts_of(runs, paper)
    values = [value_of(record) for record in runs.records]
    outcome, ours = number_rule(values, paper), summarise(values)
    needed = _needed_for_number(ours) if outcome == "inconclusive" else None
    return outcome, Facts(ours.n, runs.records, ours, paper, needed=needed)


def _facts_of(runs: Runs, paper: float | None = None) -> Facts:
    """Facts of runs that cannot be judged: why not, and no number of theirs."""
    cut = (runs.done, runs.asked) if runs.records else None
    return Facts(paper=paper, epochs=cut)


def _needed(paired: Difference, effect: float | None = None, sides: int = 2) -> int | None:
    """Pairs with which the effect would be found; by default the observed one, or `MARGIN`."""
    if paired.n < 2:
        return ENOUGH_SEEDS
    effect = max(abs(paired.mean), MARGIN) if effect is None else effect
    found = runs_needed(paired.deviation, effect, sides=sides)
    return found and max(found, paired.n + 1)


def _needed_by(tests: Iterable[Test]) -> int | None:
    """Pairs with which all comparisons that show nothing yet would."""
    needed = [_needed(test.difference) for test in tests if not test.direction]
    return None if None in needed else max(needed, default=None)


def _worse(test: Test, values: Sequence[float], paper: float, records: Iterable[dict]) -> Judged:
    """A setting is worse than the paper's choice (`test`: that minus this), and by how much."""
    ours, paired, number = summarise(values), test.difference, number_rule(values, paper)
    if not (ours.n and paired.n):
        return "not tested", Facts(paper=paper)
    facts = Facts(min(ours.n, paired.n), records, ours, paper, tests=(test,))
    if test.direction < 0:
        return "contradicted", facts
    if test.direction > 0 and number == "inconclusive":
        return number, dataclasses.replace(facts, needed=_needed_for_number(ours))
    if test.direction > 0:
        return "reproduced" if number == "reproduced" else "direction only", facts
    if paired.equivalent:
        return "not reproduced", facts
    return "inconclusive", dataclasses.replace(facts, needed=_needed(paired))


def _bound_p(paired: Difference) -> float:
    """p value of "better by exactly `MARGIN`", on the side on which the mean is."""
    return min(paired.p_below(MARGIN), paired.p_above(MARGIN))


def _no_better(test: Test, paper: float, groups: Sequence[Runs]) -> Judged:
    """More is no better: reproduced if better by less than `MARGIN`, contradicted if by more."""
    paired = test.difference
    if not paired.n:
        return "not tested", Facts(paper=paper)
    records = [record for runs in groups for record in runs.records]
    facts = Facts(paired.n, records, paper=paper, unit="points", tests=(test,))
    if test.p_value < LEVEL:
        return "reproduced" if paired.mean < MARGIN else "contradicted", facts
    needed = _needed(paired, paired.mean - MARGIN, sides=1)
    return "inconclusive", dataclasses.replace(facts, needed=needed)


# The claims


def _numbers(table: RunTable, **rows: str) -> list[SubClaim]:
    """Claims 1, 2 and 4: part -> row of Table 1."""
    return [
        (part, f"{row} reaches {reported_value(row)} %", *_number(row, table))
        for part, row in rows.items()
    ]


def _gain(table: RunTable) -> list[SubClaim]:
    """Claim 3: the sign of the mask's gain by pairs, its size by single runs."""
    masked, plain = (whole_runs(setting_of(row), table) for row in ("LeNet+Attention", "LeNet"))
    paper = reported_gain()
    by_seed = differences(masked, plain)
    paired = paired_difference([*by_seed.values()])
    test = Test("with minus without the mask", paired, *holm([paired.sign_p]))
    facts = Facts(paired.n, masked.records + plain.records, unit="points", tests=(test,))
    if not paired.n:
        outcome, facts = "not tested", Facts(unit="points")
    elif test.direction:
        outcome = "reproduced" if test.direction > 0 else "contradicted"
    elif paired.equivalent:
        outcome = "not reproduced"
    else:
        outcome, facts = "inconclusive", dataclasses.replace(facts, needed=_needed(paired))
    size = "size", f"the mask is worth {paper:+} points"
    return [
        ("sign", "the mask helps", outcome, facts),
        (*size, *_size(masked, plain, by_seed, paper)),
    ]


def _size(masked: Runs, plain: Runs, by_seed: dict[int, float], paper: float) -> Judged:
    """Whether the reported gain could be that of one more run of each network.

    The paper does not say that its two networks shared a seed, so the spreads add up.
    """
    both = [sample(runs) for runs in (masked, plain)]
    n, mean = min(one.n for one in both), both[0].mean - both[1].mean
    if not by_seed:
        return "not tested", Facts(paper=paper, unit="points")
    spread = math.hypot(*(one.prediction_high - one.mean for one in both)) + 2 * ROUNDING
    values = [*by_seed.values()] if n < ENOUGH_SEEDS else [mean] * n
    outcome = _in_range(values, paper, (mean - spread, mean + spread))
    apart = Sample(n, mean, math.hypot(*(one.deviation for one in both)))
    needed = _needed_for_number(apart) if outcome == "inconclusive" else None
    records = masked.records + plain.records
    return outcome, Facts(n, records, apart, paper, "points", needed=needed)


def _resnet(table: RunTable) -> list[SubClaim]:
    """Claim 5: runs that were cut short may refute the number, but confirm nothing."""
    runs, paper = table.runs(setting_of("ResNet")), reported_value("ResNet")
    outcome, facts = _number("ResNet", table)
    values = [value_of(record) for record in runs.records]
    if values and not runs.whole and min(values) - paper > WIDEST:
        outcome, ours = "not reproduced (higher)", summarise(values)
        facts = Facts(ours.n, runs.records, ours, paper, epochs=(runs.done, runs.asked))
    half = (reported_value("LeNet") - paper) / 2
    says = f"because it overfits: training would be {half:.1f} points above test, or more"
    return [
        ("number", f"ResNet reaches only {paper} %", outcome, facts),
        ("reason", says, *_overfitting(runs, half)),
    ]


def _overfitting(runs: Runs, half: float) -> Judged:
    """A reason for the shortfall if it is at least half of it, in every run."""
    if not runs.whole:
        return "not tested", _facts_of(runs)
    gaps = [value_of(r, "train_accuracy") - value_of(r) for r in runs.records]
    facts = Facts(len(gaps), runs.records, summarise(gaps), unit="points")
    if min(gaps) >= half:
        return "reproduced", facts
    # Every run must agree, so more runs do not help.
    return "contradicted" if max(gaps) < WIDEST else "inconclusive", facts


def late_accuracy(record: dict, history: str = "test_accuracy") -> float:
    """Mean of the last ten epochs in percent; of a diverged run what it ended at.

    Args:
        record: A run.
        history: "test_accuracy", or "accuracy": of the training images, while they are learned.
    """
    last = [
        value for value in record["history"].get(history, ())[-LAST_EPOCHS:] if value is not None
    ]
    if record["result"].get("diverged") or not last:
        return value_of(record, history if history == "test_accuracy" else "train_accuracy")
    return 100 * sum(last) / len(last)


def late_training_accuracy(record: dict) -> float:
    """`late_accuracy` of the running training accuracy."""
    return late_accuracy(record, "accuracy")


def _learning_rate(table: RunTable) -> list[SubClaim]:
    """Claim 6. That 0.01 is best repeats the tests of the other two, so Holm counts two tests."""
    rates = (0.01, 0.1, 0.001)
    best, *others = (whole_runs({"learning_rate": rate}, table) for rate in rates)
    high, low = _tests("0.01 minus {}", rates[1:], best, others, late_accuracy)
    judged = []
    for part, effect, test, rate, runs in (
        ("low", "is worse than 0.01", low, 0.001, others[1]),
        ("high", "collapses", high, 0.1, others[0]),
    ):
        paper = reported_value(f"learning_rate={rate}")
        values = [late_accuracy(record) for record in runs.records]
        found = _worse(test, values, paper, (*best.records, *runs.records))
        judged.append((part, f"rate {rate} {effect} ({paper} %)", *found))
    training = _tests("training, 0.01 minus {}", rates[1:], best, others, late_training_accuracy)
    n = min(test.difference.n for test in (high, low))
    records = [record for runs in (best, *others) for record in runs.records]
    facts = Facts(n, records, unit="points", tests=(high, low, *training))
    found = _best((high, low), facts) if n else ("not tested", Facts())
    return [*judged, ("best", "rate 0.01 is best", *found)]


def _best(tests: Sequence[Test], facts: Facts) -> Judged:
    """Best if shown better than each other."""
    if any(test.direction < 0 for test in tests):
        return "contradicted", facts
    if all(test.direction > 0 for test in tests):
        return "reproduced", facts
    if any(not test.direction and test.difference.equivalent for test in tests):
        return "not reproduced", facts
    return "inconclusive", dataclasses.replace(facts, needed=_needed_by(tests))


def _tests(
    name: str, values: Sequence, first: Runs, others: Sequence[Runs], metric: Metric
) -> list[Test]:
    """One setting minus each of the others, corrected for their number."""
    paired = [difference(first, other, metric) for other in others]
    corrected = holm([one.sign_p for one in paired])
    return [
        Test(name.format(value), one, p)
        for value, one, p in zip(values, paired, corrected, strict=True)
    ]


def _batch_size(table: RunTable) -> list[SubClaim]:
    """Claim 7, of training accuracy at the end."""
    metric, larger = "train_accuracy", (128, 256)
    found = {size: whole_runs({"batch_size": size}, table) for size in (96, 48, *larger)}
    paper = {size: reported_value(f"batch_size={size}", metric) for size in found}
    worse = difference(found[96], found[48], metric)
    more = [difference(found[size], found[96], metric) for size in larger]
    p_small, *p_more = holm([worse.sign_p, *map(_bound_p, more)])
    judged = []
    for size, paired, p_value in zip(larger, more, p_more, strict=True):
        test = Test(f"{size} minus 96, training", paired, p_value)
        apart = round(paper[size] - paper[96], 1)
        verdict = _no_better(test, apart, (found[size], found[96]))
        judged.append((str(size), f"batch 96 is as good as {size}", *verdict))
    test = Test("96 minus 48, training", worse, p_small)
    values = [value_of(record, metric) for record in found[48].records]
    verdict = _worse(test, values, paper[48], (*found[96].records, *found[48].records))
    return [*judged, ("small", f"batch 48 is worse ({paper[48]} % in training)", *verdict)]


def _epochs(table: RunTable) -> list[SubClaim]:
    """Claim 8. The runs of 100 epochs passed through 50, so they are their own pairs."""
    ours, longer = (whole_runs({"epochs": epochs}, table) for epochs in (100, 150))
    halfway = [(accuracy_after(record, 50), record) for record in ours.records]
    halfway = [(accuracy, record) for accuracy, record in halfway if accuracy is not None]
    before = paired_difference([value_of(record) - accuracy for accuracy, record in halfway])
    after = difference(longer, ours)
    p_before, p_after = holm([before.sign_p, _bound_p(after)])
    paper = {epochs: reported_value(f"epochs={epochs}") for epochs in (50, 100, 150)}
    fifty = _worse(
        Test("100 minus 50 epochs", before, p_before),
        [accuracy for accuracy, _ in halfway],
        paper[50],
        [record for _, record in halfway],
    )
    test = Test("150 minus 100 epochs", after, p_after)
    more = _no_better(test, round(paper[150] - paper[100], 1), (longer, ours))
    return [
        ("fifty", f"50 epochs are worse ({paper[50]} %)", *fifty),
        ("more", "150 epochs are no better than 100", *more),
    ]


_NOISE_PARTS = {
    "where": ("the mask looks at the important regions", "AUROC"),
    "ratio": ("it raises the signal-to-noise ratio", "dB"),
    "accuracy": ("noise hurts less with it", "points"),
}
"""Part of Claim 9 -> what the paper says, and the unit of its comparisons."""


def _noise(table: RunTable) -> list[SubClaim]:
    """Claim 9, of networks trained on each background at full strength; Holm over all tests."""
    entries = [entry for entry in trained_on_noise(table) if entry["condition"].strength == 1]
    found = {
        "where": [
            (f"{entry['condition']}, minus {name}", entry["over"][name])
            for entry in entries
            for name in COMPARED_MAPS
        ],
        "ratio": [(str(entry["condition"]), entry["snr_over_untrained"]) for entry in entries],
        "accuracy": [(str(entry["condition"]), entry["gain"]) for entry in entries],
    }
    corrected = iter(holm([paired.sign_p for pairs in found.values() for _, paired in pairs]))
    records = [record for entry in entries for record in entry["records"]]
    judged = []
    for part, (says, unit) in _NOISE_PARTS.items():
        tests = tuple(Test(*pair, next(corrected)) for pair in found[part])
        n = min(test.difference.n for test in tests)
        outcome = _NOISE_RULES[part]([test.direction for test in tests])
        needed = _needed_by(tests) if outcome == "inconclusive" else None
        facts = Facts(n, records, unit=unit, tests=tests, needed=needed)
        if n < 2:
            outcome, facts = "not tested", Facts(unit=unit)
        judged.append((part, says, outcome, facts))
    return judged


def _where(directions: Sequence[int]) -> Outcome:
    """Higher than every map on every background; contradicted: below one of them on each."""
    maps = len(COMPARED_MAPS)
    backgrounds = [directions[i : i + maps] for i in range(0, len(directions), maps)]
    return _majority(directions, opposite=all(-1 in one for one in backgrounds))


def _ratio(directions: Sequence[int]) -> Outcome:
    return _majority(directions, opposite=set(directions) == {-1})


def _majority(directions: Sequence[int], *, opposite: bool) -> Outcome:
    if set(directions) == {1}:
        return "reproduced"
    if opposite:
        return "contradicted"
    more = list(directions).count(1) > len(directions) / 2
    return "direction only" if more else "inconclusive"


def _accuracy(directions: Sequence[int]) -> Outcome:
    if 1 in directions:
        return "reproduced" if set(directions) == {1} else "direction only"
    losses = list(directions).count(-1) > len(directions) / 2
    return "contradicted" if losses else "not reproduced"


_NOISE_RULES = {"where": _where, "ratio": _ratio, "accuracy": _accuracy}


def _state_of_the_art(table: RunTable) -> list[SubClaim]:
    """Claim 10: contradicted if a better result was published before, whatever our runs give."""
    best, paper = max(PUBLISHED.values()), reported_value("LeNet+Attention")
    outcome = "contradicted" if best > paper + ROUNDING else "not tested"
    said = "published", f"{paper} % is state of the art"
    return [(*said, outcome, Facts(ours=Sample(1, best), paper=paper))]


def _sizes(table: RunTable) -> list[SubClaim]:
    """Claim 11: the number of digits that the runs had."""
    sizes = {
        (record["dataset"]["train_size"], record["dataset"]["test_size"])
        for record in table.records
        if is_mnist(record)
    }
    said = "count", "the data has 80,000 images, 60,000 + 20,000"
    if not sizes:
        return [(*said, "not tested", Facts(paper=80_000, unit="images"))]
    found = max(sizes)
    outcome = "reproduced" if found == (60_000, 20_000) else "contradicted"
    return [(*said, outcome, Facts(ours=Sample(1, sum(found)), paper=80_000, unit="images"))]


Rule = Callable[[RunTable], list[SubClaim]]

CLAIMS: dict[int, tuple[str, Rule]] = {
    1: ("LeNet-5 alone reaches 97.7 %", lambda table: _numbers(table, number="LeNet")),
    2: (
        "LeNet-5 with the mask reaches 99.3 %",
        lambda table: _numbers(table, number="LeNet+Attention"),
    ),
    3: ("the mask is worth +1.6 points", _gain),
    4: (
        "AlexNet reaches 98.7 %, VGG16 98.9 %",
        lambda table: _numbers(table, AlexNet="AlexNet", VGG16="VGG16"),
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
