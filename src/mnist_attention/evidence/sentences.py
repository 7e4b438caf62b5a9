"""The evidence in words: the finding, the verdicts, and what the tables add up to."""

import math
import re
from collections.abc import Mapping
from typing import get_args

import numpy as np
import pandas as pd

from ..noise import CLEAN
from ..protocol import PAPER
from . import ablations, attention
from . import runs as evidence
from .claims import CLAIMS, PUBLISHED, ROUNDING, Outcome, Verdict, judge, noise_outcome, verdicts
from .runs import ENOUGH_SEEDS, Records, plural
from .statistics import LEVEL, Difference


def finding(records: Records) -> str:
    """The main result in one sentence: two numbers and their n, beside the paper's."""
    rows = "LeNet", "LeNet+Attention"
    plain, masked = (evidence.runs_of(evidence.setting_of(row), records) for row in rows)
    paper = "the paper reports {} and {}.".format(*map(evidence.reported_value, rows))
    lacks = {"without the mask": plain.lack(), "with it": masked.lack()}
    if lacking := [f"{name}: {lack}" for name, lack in lacks.items() if lack]:
        return f"Not tested yet: {'; '.join(lacking)}; {paper}"
    pairs = evidence.pairs(plain, masked).values()
    ours = [np.mean([evidence.value_of(run) for run in runs]) for runs in zip(*pairs, strict=True)]
    said = "LeNet-5 reaches {:.2f} % without the mask and {:.2f} % with it".format(*ours)
    return f"{said} ({plural(len(pairs), 'pair')}, alike but for the mask); {paper}"


def clause(verdict: Verdict) -> str:
    """Why a sub-claim has its outcome, in one clause: ours, n, the paper's number."""
    if verdict.outcome == "not tested":
        return "no run of full length" + f" ({verdict.epochs} epochs)" * bool(verdict.epochs)
    said, ours, unit = [], verdict.ours, verdict.unit
    form, paper_form = {"images": (",.0f", ","), "points": ("+z.2f", "+")}.get(unit, (".2f", ""))
    paper = "" if verdict.paper is None else f"; paper {verdict.paper:{paper_form}}"
    paper = paper.replace("+0.0", "0.0")
    if ours.n:
        cut = f" after {verdict.epochs} epochs" if verdict.epochs else ""
        n = f" (n = {verdict.n}{_one_more(verdict)})" if verdict.n else ""
        said.append(f"{ours.mean:{form}} {unit}{cut}{n}{paper}")
    if tests := _tests(verdict):
        said.append(tests + ("" if ours.n else paper))
    if failed := verdict.failed:
        said.append(f"{failed} of {len(verdict.records)} runs diverged or stayed at chance")
    if verdict.outcome == "inconclusive":
        seeds = f"about {plural(verdict.needed, 'seed')}" if verdict.needed else None
        said.append(f"{seeds or 'no number of runs up to 1,000'} would give power 0.8")
    return "; ".join([*said, *_NOTES.get(verdict.claim, ())])


def _one_more(verdict: Verdict) -> str:
    """The range of the number rule, in which one more run would fall."""
    ours = verdict.ours
    if verdict.unit != "%" or verdict.paper is None or ours.n < ENOUGH_SEEDS:
        return ""
    ends = ours.prediction_low - ROUNDING, ours.prediction_high + ROUNDING
    return "; one more run: {:.2f} to {:.2f}".format(*ends)


def _tests(verdict: Verdict) -> str:
    """Each comparison with its mean and p values; more than four are counted."""
    unit = "points" if verdict.unit == "%" else verdict.unit
    if len(verdict.tests) > 4:
        sizes = [test.difference.n for test in verdict.tests]
        n = str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        directions = [test.direction for test in verdict.tests]
        means = [test.difference.mean for test in verdict.tests]
        form = "+z.3f" if unit == "AUROC" else "+z.2f"
        return (
            f"higher in {directions.count(1)} and lower in {directions.count(-1)} of "
            f"{len(means)} comparisons (n = {n}), {min(means):{form}} to "
            f"{max(means):{form}} {unit}"
        )
    said: dict[str, list[str]] = {}  # two questions may be asked about one difference
    for test in (*verdict.tests, *verdict.beside):
        mean = f"{test.name}: {test.difference.mean:+z.2f} {unit}"
        n = f"n = {test.difference.n}{';' if test.bound else ','} "
        n = "" if verdict.ours.n or mean in said else n
        no = "" if test.p_value < LEVEL else "not "
        below = test.difference.mean < test.bound  # the side that was tested
        what = f"of {test.bound} is {no}ruled out" if below else f"above {test.bound} is {no}shown"
        zero = "against zero, " * (mean in said)
        bound = f"a gain {what}, " if test.bound else zero
        said.setdefault(mean, []).append(f"{n}{bound}{p_text(test.p_value)}")
    return "; ".join(f"{mean} ({'; '.join(p_values)})" for mean, p_values in said.items())


_NOTES = {
    1: [f"LeNet-5 of 1998, without distortions: {next(iter(PUBLISHED.values()))} %"],
    10: [f"published before: {max(PUBLISHED, key=PUBLISHED.get)}"],
}


def claim_text(claim: int, records: Records) -> str:
    """A claim and the verdicts on its sub-claims, as Markdown."""
    judged = judge(claim, records)
    lines = [f"- {each.says}: **{each.outcome}**. {clause(each)}." for each in judged]
    return "\n".join([f"**Claim {claim}**: {CLAIMS[claim][0]}.\n", *lines])


def outcomes(records: Records) -> str:
    """Which sub-claims came out how, as Markdown."""
    judged = verdicts(records)
    lines = [f"{len(judged)} sub-claims of {len(CLAIMS)} claims:\n"]
    for outcome in get_args(Outcome):
        parts = [f"Claim {v.claim} ({v.part})" for v in judged if v.outcome == outcome]
        lines += [f"- {outcome}: {', '.join(parts)}"] * bool(parts)
    return "\n".join(lines)


def answer(records: Records) -> str:
    """Whether the mask attends, and what would change if the tests shared no level."""
    leads = attention.rivals(records)
    shared, alone = (attention.standings(leads, shared=each) for each in (True, False))
    two_sided = attention.attends(attention.standings(leads, sides=2))
    two_sided = "the same" if two_sided == attention.attends(shared) else f'"{two_sided}"'

    def those(state: str) -> str:
        return "; ".join(name for name, stands in shared.items() if stands == state)

    said = {
        "yes": "Yes: the network does worse without the mask, with anything simpler in its place, "
        "and with a mask that looks elsewhere.",
        "no": f"No: the network does as well with {those('as good')}.",
        "undecided": f"Undecided: no comparison yet with {those('missing')}."
        if those("missing")
        else f"Undecided: the seeds differ too much to tell the mask from {those('open')}.",
    }[attention.attends(shared)]
    changes = []
    for state in ("beaten", "as good"):
        names = [
            re.split("[:,]", name)[0] for name in leads if shared[name] != alone[name] == state
        ]
        too = " too" * (state in shared.values())
        listed = " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
        changes += [f"{listed} would be {state}{too}"] * bool(names)
    return (
        f"**{said}** {_word(len(leads)).capitalize()} comparisons share a level of {LEVEL} (Holm). "
        f"At {LEVEL} for each test, {'; '.join(changes) or 'nothing would change'}. With two-sided "
        f'tests of "as good" the answer would be {two_sided}.'
    )


def gains_text(records: Records) -> str:
    """How often a mask helped or hurt among the options of the ablation table."""
    gains = {_option_name(row): row.gain for row in ablations.effects(records) if row.gain.n}
    below = [gain.mean for gain in gains.values() if gain.mean < 0]
    return (
        f"In {len(gains)} comparisons of an option with LeNet alone, trained the same way, the "
        f"mask is shown to gain in {_shown(gains, 1)} and to lose in {_shown(gains, -1)}. Its mean "
        f"is below zero in {len(below)}, down to {min(below, default=0):+.2f} points. The tests "
        "are not corrected for their number."
    )


def _option_name(row: ablations.Row) -> str:
    stuck = {"the mask": row.stuck, "LeNet alone": row.stuck_alone}
    at_chance = "".join(f", {name} stuck at chance" for name, count in stuck.items() if count)
    return f"{row.choice}: {row.option}, {row.epochs} epochs{at_chance}"


def _shown(gains: Mapping[str, Difference], sign: int) -> str:
    """How many gains have a sign that is shown, and which."""
    shown = [f"{name}, {g.mean:+.2f}" for name, g in gains.items() if g.direction == sign]
    return f"{len(shown)}" + f" ({'; '.join(shown)})" * bool(shown)


def disturbed_text(records: Records) -> str:
    """How often the mask helps on disturbed digits, of networks trained on clean ones."""
    gains = {
        str(row.condition).replace("_", " "): row.gain
        for row in attention.robustness({}, records).itertuples()
        if row.condition != CLEAN
    }
    if not gains:
        return "No pair of networks was tested on disturbed digits yet."

    below, whole = (sum(vars(g)[end] < 0 for g in gains.values()) for end in ("mean", "high"))
    worst = min(gains, key=lambda name: gains[name].mean)
    return (
        f"Of {len(gains)} disturbances the mask is shown to gain on {_shown(gains, 1)} and to lose "
        f"on {_shown(gains, -1)}. Its mean is below zero on {below}, down to "
        f"{gains[worst].mean:+.2f} points ({worst}); on {whole} the whole interval is below zero."
    )


def moved_text(records: Records) -> str:
    """What replacing the masks of trained networks changes, as Markdown."""
    changes = pd.DataFrame(attention.changed_by_seed({}, records))
    if changes.empty:
        return "No network was measured with its masks replaced yet."
    n, worse = len(changes), int((changes[[*attention.MOVED]] < 0).all(axis=1).sum())
    lines = [
        f"- {words}: {of.max():+.2f} to {of.min():+.2f} points, {of.mean():+.2f} on average"
        for name, words in {**attention.MOVED, "ones": "no mask"}.items()
        for of in [changes[name]]
    ]
    which = "All" if worse == n else f"{_word(worse).capitalize()} of"
    networks = f"{_word(n)} measured network{'s' * (n != 1)} of {PAPER.epochs} epochs"
    said = f"{which} {networks} got worse with every mask that looks elsewhere"
    return "\n".join([f"{said}. Change of accuracy:\n", *lines])


def mcnemar_text(records: Records) -> str:
    """How many pairs of networks differ in their answers, seed by seed."""
    pairs = evidence.pairs(*attention.plain_and_masked({}, records)).values()
    found = [evidence.mcnemar(*pair) for pair in pairs]
    differ = [masked > plain for plain, masked, p_value in found if p_value < LEVEL]
    return (
        f"By McNemar's exact test at a level of {LEVEL}, not corrected, the two networks differ in "
        f"their number of errors in {len(differ)} of {len(found)} pairs; in {sum(differ)} of these "
        "the mask has fewer."
    )


def points(paired: Difference, digits: int = 2, missing: str = "missing") -> str:
    """Print a difference, with its interval if it has one: "+0.04 [-0.02, 0.11]".

    An end near zero gets up to two digits more, so that its sign can be seen.
    """
    if not paired.n:
        return missing
    most, ends = digits + 2, (paired.low, paired.high)
    while digits < most and any(end and round(end, digits) == 0 for end in ends):
        digits += 1
    interval = " [{:z.{d}f}, {:z.{d}f}]".format(*ends, d=digits)
    return f"{paired.mean:+z.{digits}f}" + ("" if math.isnan(ends[0]) else interval)


def p_text(value: float) -> str:
    """A p value in print; NaN, where there is no test."""
    if math.isnan(value):
        return "too few for a test"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


_WORDS = "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)


def correction_text(records: Records) -> str:
    """What the verdicts on Claim 9 would be if its tests shared no level."""
    judged = [each for each in judge(9, records) if each.tests]
    if not judged:
        return "No network was trained on noise yet."
    alone = [noise_outcome(each.part, each.tests, corrected=False) for each in judged]
    changed = [
        f"{each.part} would be {other}"
        for each, other in zip(judged, alone, strict=True)
        if other != each.outcome
    ]
    count = sum(len(each.tests) for each in judged)
    return (
        f"{count} tests share a level of {LEVEL} (Holm). **At {LEVEL} for each test, "
        f"{', '.join(changed) or 'no verdict would change'}.**"
    )
