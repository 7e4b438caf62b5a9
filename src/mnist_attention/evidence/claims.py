"""A verdict on each of the paper's claims, by a rule in code, from records only.

The paper names no number of runs and no spread, so its numbers are read as one run each: a number
is held against the range in which one more run of ours would fall, not against the interval of our
mean. A verdict on the paper's tables needs three seeds of full length for every setting that it is
about; until then the claim is "not yet tested", and no number of ours is given.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

from .attention import SHORT_RUNS, trained_on_noise
from .runs import (
    Runs,
    difference,
    is_mnist,
    lack_of_pairs,
    lacks,
    plural,
    reported_gain,
    reported_value,
    runs_of,
    sample,
    setting_of,
    too_few,
)
from .statistics import (
    ENOUGH_PAIRS,
    MARGIN,
    ONE_SIDE,
    Difference,
    Sample,
    paired_difference,
    with_interval,
)

Outcome = Literal[
    "reproduced", "not reproduced", "contradicted", "cannot be tested", "not yet tested"
]
Records = list[dict]

ROUNDING = 0.05
"""The paper rounds to 0.1: its number may be this far from what was measured."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the records say of a claim.

    Attributes:
        claim: "C1" to "C11".
        text: What the paper says.
        verdict: "reproduced"; "not reproduced": another number came out; "contradicted": the
            opposite came out; "cannot be tested"; "not yet tested".
        sentence: Why, with numbers, in plain words.
    """

    claim: str
    text: str
    verdict: Outcome
    sentence: str

    def __str__(self) -> str:
        return f"{self.verdict}: {self.sentence}"


def verdict(claim: str, records: Records) -> Verdict:
    """Judge a claim.

    Args:
        claim: A key of `CLAIMS`.
        records: Any records; those of other digits than MNIST are not used.

    Raises:
        ValueError: for a claim that the paper does not make.
    """
    if claim not in CLAIMS:
        raise ValueError(f"Expected a claim among {', '.join(CLAIMS)}. Received: claim={claim!r}")
    text, judge = CLAIMS[claim]
    return Verdict(claim, text, *judge(records))


def verdicts(records: Records) -> list[Verdict]:
    """The verdict on every claim, in the paper's order."""
    return [verdict(claim, records) for claim in CLAIMS]


# Words


def in_percent(runs: Runs, metric: str = "test_accuracy") -> str:
    """A setting's accuracy in words: "98.93 % [98.88, 98.98], 10 seeds"."""
    ours = sample(runs, metric)
    return (
        f"{ours.mean:.2f} % [{ours.low:.2f}, {ours.high:.2f}], {plural(ours.n, 'seed')}"
        f"{_diverged(runs)}"
    )


def in_points(paired: Difference) -> str:
    """A difference in words: "+0.04 points [-0.02, 0.11], 10 paired seeds"."""
    shown = with_interval(paired.mean, paired.low, paired.high, unit=" points")
    return f"{shown}, {plural(paired.n, 'paired seed')}"


def _p_value(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else "p < 0.001"


def _diverged(runs: Runs) -> str:
    return f" of which {runs.diverged} diverged" if runs.diverged else ""


def _one_run(ours: Sample) -> str:
    low, high = ours.prediction_low, ours.prediction_high
    return f"one more run would fall between {low:.2f} and {high:.2f} (95 times in 100)"


# Rules


def _rows(records: Records, *rows: str) -> tuple[list[Runs], str]:
    """The runs behind rows of the tables, and what is lacking before they can be judged."""
    found = [runs_of(setting_of(row), records) for row in rows]
    return found, lacks(dict(zip(rows, found, strict=True)))


def _within(ours: Sample, published: float) -> bool:
    """Whether a published number could be one more run of ours."""
    return ours.prediction_low - ROUNDING <= published <= ours.prediction_high + ROUNDING


def _numbers(records: Records, *rows: str) -> tuple[Outcome, str]:
    """C1, C2, C4: reproduced if each number of the paper could be one more run of ours.

    A range wider than the gain that the paper reports for its mask decides nothing.
    """
    found, lack = _rows(records, *rows)
    if lack:
        return "not yet tested", lack
    ours = [sample(runs) for runs in found]
    paper = [reported_value(row) for row in rows]
    sentence = "; ".join(
        f"{row} {in_percent(runs)}; {_one_run(sampled)}; the paper says {published} %"
        for row, runs, sampled, published in zip(rows, found, ours, paper, strict=True)
    )
    if not all(_within(*pair) for pair in zip(ours, paper, strict=True)):
        return "not reproduced", sentence
    if any(sampled.prediction_high - sampled.prediction_low > reported_gain() for sampled in ours):
        return "not yet tested", f"{sentence}; the seeds differ too much to tell"
    return "reproduced", sentence


def _mask_gain(records: Records) -> tuple[Outcome, str]:
    """C3: reproduced if the mask is shown to help and the paper's gain could be one more of ours.

    Contradicted if it is shown to harm; not reproduced if the paper's gain is out of range. The
    paper does not say that its two networks shared a seed, so the range is that of the difference
    between any run with the mask and any run without.
    """
    (masked, plain), lack = _rows(records, "LeNet+Attention", "LeNet")
    paired = difference(masked, plain)
    if lack or lack_of_pairs(paired):
        return "not yet tested", lack or lack_of_pairs(paired)
    gain = reported_gain()
    sentence = f"{in_points(paired)}; the paper says {gain:+}. {_certainty(paired)}"
    if paired.direction < 0:
        return "contradicted", sentence
    ours = [sample(runs) for runs in (masked, plain)]
    reach = math.hypot(*(one.prediction_high - one.mean for one in ours)) + 2 * ROUNDING
    if abs(gain - paired.mean) > reach:
        return "not reproduced", sentence
    if paired.direction > 0:
        return "reproduced", sentence
    return "not yet tested", f"{sentence}; the pairs differ too much to tell"


def _certainty(paired: Difference) -> str:
    """What the pairs show, and what they cannot."""
    shown = {1: "A gain", 0: "No gain", -1: "A loss"}[paired.direction]
    test = f"sign-flip test, {_p_value(paired.p_value)}"
    if paired.n < ENOUGH_PAIRS:
        test = f"t interval; a sign-flip test needs {ENOUGH_PAIRS} pairs"
    sentences = [f"{shown} is shown ({test})"]
    if paired.deviation > 0:
        sentences += [
            _against_nil(paired),
            f"{paired.n} pairs would find a true difference of {paired.detectable:.2f} points four "
            "times in five",
        ]
    return ". ".join(sentences)


def _against_nil(paired: Difference) -> str:
    """Whether a difference of `MARGIN` points, what counts as nil, can be excluded."""
    if paired.equivalent:
        return f"The difference is nil within {MARGIN} points ({_p_value(paired.equivalence)})"
    below = paired.p_below(MARGIN)
    if below < ONE_SIDE:
        excluded = f"A gain of {MARGIN} points or more is ruled out ({_p_value(below)})"
        return f"{excluded}, a loss of as much is not"
    return f"It is not shown to be nil within {MARGIN} points ({_p_value(paired.equivalence)})"


def _resnet(records: Records) -> tuple[Outcome, str]:
    """C5: the number, and the reason given for it.

    Overfitting explains a shortfall if at least half of it, here of the paper's ResNet to the
    paper's LeNet, is a gap between training and test accuracy. Contradicted if the gap is shown
    to be smaller; reproduced if it is larger and the number could be one more run of ours.
    """
    (runs,), lack = _rows(records, "ResNet")
    if lack:
        return "not yet tested", lack
    published = reported_value("ResNet")
    half = (reported_value("LeNet") - published) / 2
    gap = _overfit(runs)
    sentence = (
        f"test {in_percent(runs)}; the paper says {published} %; training accuracy is "
        f"{gap.mean:.2f} points [{gap.low:.2f}, {gap.high:.2f}] above it; were overfitting the "
        f"reason, it would be at least {half:.1f}"
    )
    if gap.p_below(half) < ONE_SIDE:
        return "contradicted", sentence
    if gap.p_above(half) < ONE_SIDE and _within(sample(runs), published):
        return "reproduced", sentence
    return "not reproduced", sentence


def _overfit(runs: Runs) -> Difference:
    """Training minus test accuracy of the same runs, in points."""
    results = [record["result"] for record in runs.records]
    return paired_difference([100 * (r["train_accuracy"] - r["test_accuracy"]) for r in results])


def _learning_rate(records: Records) -> tuple[Outcome, str]:
    """C6: reproduced if 0.01 is shown to be best and the others' numbers are in range.

    Contradicted if another rate is shown to be better.
    """
    rows = ("learning_rate=0.1", "learning_rate=0.001")
    (best, *others), lack = _rows(records, "learning_rate=0.01", *rows)
    paired = [difference(best, other) for other in others]
    if lack or lack_of_pairs(*paired):
        return "not yet tested", lack or lack_of_pairs(*paired)
    paper = [reported_value(row) for row in rows]
    sentence = "; ".join(
        f"0.01 minus {row.partition('=')[2]} is {in_points(pair)}; {row.partition('=')[2]} gives "
        f"{in_percent(other)} (the paper says {published} %)"
        for pair, row, other, published in zip(paired, rows, others, paper, strict=True)
    )
    if any(pair.direction < 0 for pair in paired):
        return "contradicted", sentence
    in_range = [_within(sample(other), value) for other, value in zip(others, paper, strict=True)]
    best_shown = all(pair.direction > 0 for pair in paired)
    return "reproduced" if best_shown and all(in_range) else "not reproduced", sentence


def _batch_size(records: Records) -> tuple[Outcome, str]:
    """C7, of training accuracy: reproduced if 96 is as good as 128 and 256, and 48 in range.

    As good: larger batches are shown to be better by less than 0.1 points, if at all. Contradicted
    if 48 is shown to be better than 96, which the paper has far above it.
    """
    rows = ("batch_size=48", "batch_size=128", "batch_size=256")
    (ours, *others), lack = _rows(records, "batch_size=96", *rows)
    paired = [difference(other, ours, "train_accuracy") for other in others]
    if lack or lack_of_pairs(*paired):
        return "not yet tested", lack or lack_of_pairs(*paired)
    small, *larger = paired
    as_good = [pair.p_below(MARGIN) < ONE_SIDE for pair in larger]
    published = reported_value("batch_size=48", "train_accuracy")
    apart = published - reported_value("batch_size=96", "train_accuracy")
    halves = "; ".join(
        f"{row.partition('=')[2]} minus 96 is {in_points(pair)}: that 96 is as good is "
        f"{'shown' if good else 'not shown'}"
        for row, pair, good in zip(rows[1:], larger, as_good, strict=True)
    )
    sentence = (
        f"in training accuracy batch 48 minus 96 is {in_points(small)}, where the paper has "
        f"{apart:+.1f}; {halves}; batch 48 gives {in_percent(others[0], 'train_accuracy')}, the "
        f"paper says {published} %"
    )
    if small.direction > 0:
        return "contradicted", sentence
    in_range = _within(sample(others[0], "train_accuracy"), published)
    return "reproduced" if in_range and all(as_good) else "not reproduced", sentence


def _epochs(records: Records) -> tuple[Outcome, str]:
    """C8: reproduced if 150 epochs give the same as 100, and all three what the paper says.

    The same: shown to be within 0.1 points. Contradicted if 150 epochs are shown to be better by
    more than that.
    """
    rows = ("epochs=50", "epochs=100", "epochs=150")
    found, lack = _rows(records, *rows)
    short, ours, long = found
    before, after = difference(ours, short), difference(long, ours)
    if lack or lack_of_pairs(before, after):
        return "not yet tested", lack or lack_of_pairs(before, after)
    sentence = "; ".join(
        f"{row.partition('=')[2]} epochs give {in_percent(runs)}, the paper says "
        f"{reported_value(row)} %"
        for row, runs in zip(rows, found, strict=True)
    )
    sentence += f"; from 50 to 100 {in_points(before)}; from 100 to 150 {in_points(after)}"
    if after.p_above(MARGIN) < ONE_SIDE:
        return "contradicted", sentence
    in_range = (
        _within(sample(runs), reported_value(row)) for row, runs in zip(rows, found, strict=True)
    )
    return "reproduced" if after.equivalent and all(in_range) else "not reproduced", sentence


CLAIMED = {
    "focus": ("ranks ink above background better than brightness does", "worse", "of AUROC"),
    "snr": ("raises the signal-to-noise ratio", "lowers it", "dB"),
}
"""What C9 says of the mask: key of `attention.trained_on_noise` -> the claim, its opposite, and the
unit."""

WORTH = {"gain": ("makes the network more accurate", "less", "points")}
"""What C9 does not say, and a reader wants to know."""


def _focus(records: Records) -> tuple[Outcome, str]:
    """C9, of the mask on C1, behind each background at full strength that networks were trained on.

    Reproduced if both parts of `CLAIMED` are shown everywhere; contradicted if the mask is shown
    everywhere to lower the signal-to-noise ratio. Brightness is what the first part is held against
    because the digit is brighter than any background: a mask must find more than that. That it
    finds less contradicts nothing, for brightness nearly solves the task.
    """
    entries = [e for e in trained_on_noise(records) if e["condition"].strength == 1]
    parts = {**CLAIMED, **WORTH}
    least = min(entry[part].n for entry in entries for part in parts)
    if lack := too_few(least):
        return "not yet tested", f"{lack}, trained and measured on each background"
    shown = {part: {entry[part].direction for entry in entries} for part in CLAIMED}
    sentence = (
        f"of {len(entries)} backgrounds, after {SHORT_RUNS['epochs']} epochs on each, {least} "
        "seeds, the mask on C1 "
    ) + "; ".join(_part(entries, *part) for part in parts.items())
    if all(directions == {1} for directions in shown.values()):
        return "reproduced", sentence
    return "contradicted" if shown["snr"] == {-1} else "not reproduced", sentence


def _part(entries: list[dict], part: str, said: tuple[str, str, str]) -> str:
    words, opposite, unit = said
    directions = [entry[part].direction for entry in entries]
    means = [entry[part].mean for entry in entries]
    return (
        f"{words} on {directions.count(1)} and {opposite} on {directions.count(-1)} "
        f"({min(means):+.2f} to {max(means):+.2f} {unit})"
    )


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


def _state_of_the_art(records: Records) -> tuple[Outcome, str]:
    """C10: contradicted if a better result was published before, whatever our own runs give."""
    best = max(PUBLISHED, key=PUBLISHED.get)
    claimed = reported_value("LeNet+Attention")
    sentence = f"the paper says {claimed} %; {best} had {PUBLISHED[best]} % before it"
    (runs,), lack = _rows(records, "LeNet+Attention")
    if not lack:
        sentence += f"; ours: {in_percent(runs)}"
    better = PUBLISHED[best] > claimed + ROUNDING
    return "contradicted" if better else "cannot be tested", sentence


def _sizes(records: Records) -> tuple[Outcome, str]:
    """C11: reproduced if the runs had as many digits as the paper says."""
    sizes = {
        (record["dataset"]["train_size"], record["dataset"]["test_size"])
        for record in filter(is_mnist, records)
    }
    if not sizes:
        return "not yet tested", "no record of a run on MNIST"
    train, test = max(sizes)
    sentence = (
        f"MNIST has {train + test:,} images, {train:,} + {test:,}; the paper says "
        "80,000, 60,000 + 20,000"
    )
    return "reproduced" if (train, test) == (60_000, 20_000) else "contradicted", sentence


Rule = Callable[[Records], tuple[Outcome, str]]

CLAIMS: dict[str, tuple[str, Rule]] = {
    "C1": ("LeNet-5 alone reaches 97.7 %", lambda records: _numbers(records, "LeNet")),
    "C2": (
        "LeNet-5 with the mask reaches 99.3 %",
        lambda records: _numbers(records, "LeNet+Attention"),
    ),
    "C3": ("the mask is worth +1.6 points", _mask_gain),
    "C4": (
        "AlexNet reaches 98.7 %, VGG16 98.9 %",
        lambda records: _numbers(records, "AlexNet", "VGG16"),
    ),
    "C5": ("ResNet reaches only 86.5 %, because a large network overfits MNIST", _resnet),
    "C6": ("learning rate 0.01 is best; 0.1 falls to 80.9 %, 0.001 to 79.8 %", _learning_rate),
    "C7": ("batch 96 is as good as 128 or 256; 48 reaches 95.9 % in training", _batch_size),
    "C8": ("100 epochs are enough: 50 give 93.4 %, 150 the same 99.3 %", _epochs),
    "C9": (
        "the mask focuses on the important regions, filters out background or noise and raises the "
        "signal-to-noise ratio",
        _focus,
    ),
    "C10": ("the result is state of the art", _state_of_the_art),
    "C11": ("the data has 80,000 images, 60,000 + 20,000", _sizes),
}
"""Claim -> what the paper says, and the rule that judges it."""
