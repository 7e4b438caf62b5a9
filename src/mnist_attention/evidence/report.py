"""The evidence in words and tables: on the terminal, and as blocks of the Markdown files."""

import collections
import functools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from ..noise import CLEAN
from ..storage.files import write_atomically
from ..storage.paths import CHECKOUT
from . import ablations, attention, costs
from . import runs as evidence
from .claims import CLAIMS, PUBLISHED, Outcome, Verdict, judge, verdicts
from .runs import ENOUGH_SEEDS, Changes, Records, Runs, RunTable, plural
from .statistics import LEVEL, NO_PAIRS, Difference, Sample, summarise

CAPTIONS = {
    1: "Test accuracy in percent",
    2: "Accuracy of LeNet+Attention in percent under different learning rates",
    3: "Accuracy of LeNet+Attention in percent under different batch sizes",
    4: "Accuracy of LeNet+Attention in percent after different numbers of epochs",
}

NOTE = "Ours: mean of n seeds, and half the width of its 95 % interval (Student's t)."

METRICS = {"train_accuracy": "training", "test_accuracy": "test"}

CUT_SHORT = "not finished:"


# Tables, ready to be shown


def paper_table(records: Records, number: int) -> pd.DataFrame:
    """One of the paper's tables, 1 to 4, as strings, ours beside theirs; ValueError for another.

    Runs that are not finished stand apart, below the others, with their epochs and no number of
    the paper. Table 1 has the rows of `runs.BEYOND` too, under their headings.
    """
    if number not in CAPTIONS:
        raise ValueError(f"Expected a table from 1 to 4. Received: number={number!r}")
    reported = evidence.reported()
    names = dict.fromkeys(reported[reported.table == number].row)
    groups = {"": {name: evidence.setting_of(name) for name in names}}
    groups |= evidence.BEYOND if number == 1 else {}
    rows, cut = [], []
    for heading, settings in groups.items():
        found = {name: evidence.runs_of(changes, records) for name, changes in settings.items()}
        cut += [_row(name, runs) for name, runs in found.items() if runs.cut_short]
        shown = [
            _row(name, runs, beside_paper=True)
            for name, runs in found.items()
            if not (heading and runs.cut_short)
        ]
        rows += [{"network": f"not in the paper: {heading}"}] * bool(heading and shown) + shown
    return _with_cut_short(rows, cut, "network")


def _with_cut_short(rows: list[dict], cut: list[dict], column: str) -> pd.DataFrame:
    """A table that ends in the runs that are not finished, below a heading in `column`."""
    return pd.DataFrame(rows + [{column: CUT_SHORT}] * bool(cut) + cut).fillna("")


def _row(name: str, runs: Runs, beside_paper: bool = False) -> dict[str, str]:
    """A row of `paper_table`. Beside the paper's number stands none of an unfinished run."""
    field, _, value = name.partition("=")
    row = {field.replace("_", " "): value} if value else {"network": name}
    for metric, title in METRICS.items():
        ours = cell(runs, metric)
        if beside_paper:
            published = evidence.reported_value(name, metric)
            row[f"{title}, paper"] = "not reported" if published is None else f"{published:.1f}"
            ours = "not finished" if runs.cut_short else ours
        row[f"{title}, ours"] = ours
    row["n"] = str(len(runs.records) if runs.whole or not beside_paper else 0)
    return row if beside_paper else {**row, "epochs": runs.progress}


def cell(runs: Runs, metric: str = "test_accuracy") -> str:
    """A setting's accuracy as a table shows it. Epochs of unfinished runs need their own column."""
    if not runs.records:
        return runs.lack()
    ours = evidence.sample(runs, metric)
    notes = ["one run"] * (ours.n == 1 and runs.whole)
    notes += [f"{runs.diverged} of {ours.n} diverged"] * bool(runs.diverged)
    return _mean(ours, 2) + (f" ({', '.join(notes)})" if notes else "")


def _mean(ours: Sample, digits: int = 3) -> str:
    return f"{ours.mean:.{digits}f}" + (f" ± {ours.margin:.{digits}f}" if ours.n > 1 else "")


def systems5_table(records: Records) -> pd.DataFrame:
    """The five systems of the paper's Table 1: test accuracy, the paper's and ours."""
    rows = []
    for name, changes in evidence.NETWORKS.items():
        runs, paper = evidence.runs_of(changes, records), str(evidence.reported_value(name))
        ours, n = (cell(runs), str(len(runs.records))) if runs.whole else ("not run yet", "")
        if runs.cut_short:
            ours = f"not finished: {runs.lack()}"
        rows.append({"system": name, "paper": paper, "ours": ours, "n": n})
    return pd.DataFrame(rows)


def systems_table(records: Records) -> pd.DataFrame:
    """Cost and accuracy of each system of Table 1; runs that are not finished stand apart."""
    rows, cut = [], []
    groups = evidence.NETWORKS, *evidence.BEYOND.values()
    settings = {name: changes for group in groups for name, changes in group.items()}
    for name, changes in settings.items():
        runs = evidence.runs_of(changes, records)
        parameters = next((run["result"].get("parameters") for run in runs.records), None)
        operations = costs.MULTIPLY_ACCUMULATES.get(changes.get("model", attention.MASKED))
        time = f"{costs.median_seconds(runs):,.0f} s {'an epoch' if operations else 'in all'}"
        row = {
            "system": name,
            "parameters": f"{parameters:,}" if parameters else "",
            "multiply-accumulates per image": f"{operations:,}" if operations else "",
            "time": time if runs.records else "",
            "training accuracy": cell(runs, "train_accuracy"),
            "test accuracy": cell(runs),
        }
        if runs.cut_short:
            cut.append({**row, "epochs": runs.progress})
        else:
            rows.append(row)
    return _with_cut_short(rows, cut, "system")


def ablation_table(records: Records, only_measured: bool = False) -> pd.DataFrame:
    """The ablation table: effects in points, option minus ours; or only those with enough runs."""
    rows = ablations.effects(records)
    return pd.DataFrame(
        {
            "open choice": f"{row.choice} (ours: {row.ours})",
            "option": row.option,
            "accuracy with it": "" if row.lack else _decimals(row.accuracy),
            "effect in points [95 %]": row.lack
            or points(row.effect)
            + f" ({row.stuck} of {row.effect.n} stuck at chance)" * bool(row.stuck),
            "option over LeNet alone": points(row.gain, missing=""),
            "n": str(row.effect.n),
            "epochs": str(row.epochs or ""),
        }
        for row in rows
        if not (only_measured and row.lack)
    )


def _decimals(number: float, missing: str = "") -> str:
    return missing if math.isnan(number) else f"{number:.2f}"


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


def gains_text(records: Records) -> str:
    """How often a mask helped or hurt among the options of the ablation table."""
    every = [row for row in ablations.effects(records) if row.gain.n]
    stuck = [row.option for row in every if row.stuck]
    gains = {_option_name(row): row.gain for row in every if not row.stuck}
    below = [gain.mean for gain in gains.values() if gain.mean < 0]
    apart = f" In {len(stuck)} more, runs are stuck at chance ({', '.join(dict.fromkeys(stuck))})."
    return (
        f"In {len(gains)} comparisons of an option with LeNet alone, trained the same way, the "
        f"mask is shown to gain in {_shown(gains, 1)} and to lose in {_shown(gains, -1)}. Its mean "
        f"is below zero in {len(below)}, down to {min(below, default=0):+.2f} points."
        + apart
        * bool(stuck)
    )


def _option_name(row: ablations.Row) -> str:
    return f"{row.choice}: {row.option}, {row.epochs} epochs"


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


def disturbed_table(records: Records) -> pd.DataFrame:
    """Networks trained on clean digits: accuracy on each disturbance, without and with the mask."""
    return pd.DataFrame(
        {
            "disturbance": str(row.condition).replace("_", " "),
            "without the mask": _decimals(row.plain),
            "with": _decimals(row.masked),
            "gain in points [95 %]": points(row.gain),
            "n": str(row.n),
        }
        for row in attention.robustness({}, records).itertuples()
    )


def scores_table(records: Records, changes: Changes | None = None) -> pd.DataFrame:
    """Scores of the masks of LeNet+Attention and of maps without training, on clean digits.

    `changes` is the setting that the networks were trained in; by default the paper's.
    """
    rows, seeds = [], []
    for name, scores in attention.map_scores(changes or {}, records).items():
        rows.append({"map": name, **{SCORE_NAMES[s]: _mean(scores[s]) for s in scores}})
        n = max((sample.n for sample in scores.values()), default=0)
        seeds.append("" if n == 1 and name not in attention.LEARNED_MAPS else str(n))
    return pd.DataFrame(rows).fillna("").assign(n=seeds)


SCORE_NAMES = {
    "ink_auroc": "AUROC for ink",
    "relevance_mass": "mass on ink",
    "relevance_rank": "rank on ink",
    "pointing_game": "peak on ink",
    "snr_gain_db": "signal to noise, dB",
    "deletion": "deletion",
    "insertion": "insertion",
}
"""Score -> heading of its column."""


def controls_table(records: Records, changes: Changes = attention.SHORT_RUNS) -> pd.DataFrame:
    """The mask and its controls, trained in one setting, and LeNet-5 alone, paired by seed."""
    plain, masked = attention.plain_and_masked(changes, records)
    rows = []
    for model, name in attention.BLOCK_NAMES.items():
        runs = evidence.whole_runs({**changes, "model": model}, records)
        gain, under = evidence.difference(runs, plain), evidence.difference(masked, runs)
        under = NO_PAIRS if model == attention.MASKED else under
        row = {
            "after C1 and C3": name,
            "test accuracy": _decimals(evidence.sample(runs).mean) if gain.n else "missing",
            "over LeNet alone": points(gain),
            "the mask minus this": points(under, missing="" if gain.n else "missing"),
            "n": str(gain.n),
        }
        rows.append(row)
    return pd.DataFrame(rows)


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
    networks = f"{which} {_word(n)} network{'s' * (n != 1)} of {evidence.DEFAULTS['epochs']} epochs"
    said = f"{networks} got worse with every mask that looks elsewhere. Change of accuracy:\n"
    return "\n".join([said, *lines])


def mcnemar_text(records: Records) -> str:
    """How many pairs of networks differ in their answers, seed by seed."""
    pairs = evidence.pairs(*attention.plain_and_masked({}, records)).values()
    found = [evidence.mcnemar(*pair) for pair in pairs]
    differ = [masked > plain for plain, masked, p_value in found if p_value < LEVEL]
    return (
        f"By McNemar's exact test at a level of {LEVEL}, the networks of {len(differ)} of "
        f"{len(found)} pairs differ in the test images that they read; {sum(differ)} of these in "
        "favour of the mask."
    )


def noise_table(records: Records, maps: bool = False) -> pd.DataFrame:
    """Networks trained and tested on a background: accuracy and decibels, or AUROC of `maps`."""
    rows = []
    for entry in attention.trained_on_noise(records):
        if maps:
            found = {**entry["over"], "brightness (not judged)": entry["focus"]}
            shown = {f"AUROC minus {name}": points(paired, 3) for name, paired in found.items()}
        else:
            shown = {
                "without the mask": _decimals(entry["plain"].mean, "missing"),
                "with": _decimals(entry["masked"].mean, "missing"),
                "gain in points": points(entry["gain"]),
                "gain in signal to noise, dB": points(entry["snr"]),
                "minus that before training": points(entry["snr_over_untrained"]),
                "minus that of frozen masks (not judged)": points(
                    entry["snr_over_frozen"], missing=""
                ),
            }
        counts = {entry["snr"].n} if maps else {entry["gain"].n, entry["snr"].n}
        n = " or ".join(map(str, sorted(counts)))  # more networks may have the mask
        rows.append({"background": str(entry["condition"]), **shown, "n": n})
    return pd.DataFrame(rows)


IN_WORDS = {
    "activation=sigmoid": "sigmoid units", "activation=tanh": "tanh units",
    "pooling=average": "average pooling", "initializer=narrow_normal": "narrow initial weights",
    "flip=False": "no flips", "learning_rate=0.1": "rate 0.1", "learning_rate=0.001": "rate 0.001",
    "epochs=50": "50 epochs",
}  # fmt: skip
"""A change of the protocol -> how `explain_table` names it."""

CONSTANT = 94  # percent, amid the paper's numbers


def _in_words(changes: str) -> str:
    return ", ".join(IN_WORDS.get(change, change) for change in changes.split(", "))


def explain_table(records: Records) -> pd.DataFrame:
    """Ours minus the paper's numbers in points: every protocol that was tried, and a constant."""
    found = ablations.explain(records)
    if found.empty:
        return pd.DataFrame()
    paper = {row: evidence.reported_value(row) for row in ablations.EXPLAINED}
    constant = {row: CONSTANT - value for row, value in paper.items()}
    named = {"setting": f"{CONSTANT} % for everything", "epochs": "", "n": "", "explains": False}
    table = pd.concat([found, pd.DataFrame([{**named, **constant}])], ignore_index=True)
    table["setting"] = table.setting.map(_in_words)
    table["explains"] = table.explains.map({True: "yes", False: "no"})
    for row in paper:
        table[row] = table[row].map("{:+.2f}".format)
    headings = {row: f"{_in_words(row)} (paper {value})" for row, value in paper.items()}
    return table.rename(columns=headings).astype(str)


def explain_text(records: Records) -> str:
    """`explain_table` as Markdown, or what is missing for it."""
    table, rows = explain_table(records), ", ".join(map(_in_words, ablations.EXPLAINED))
    lacking = f"No protocol was run for all of {rows} with {ENOUGH_SEEDS} seeds yet."
    return markdown(table) if len(table) else lacking


def over_epochs_table(records: Records) -> pd.DataFrame:
    """With minus without the mask after some numbers of epochs, from the histories of the pairs."""
    plain, masked = attention.plain_and_masked({}, records)
    rows = []
    for epochs in (1, 2, 5, 10, 20, 30, 50, 75, 100):
        after = functools.partial(evidence.accuracy_after, epochs=epochs)
        found = evidence.difference(masked, plain, after)
        p, n = p_text(found.sign_p) if found.n > 1 else "", str(found.n)
        rows.append({"epochs": str(epochs), "points [95 %]": points(found), "p": p, "n": n})
    return pd.DataFrame(rows)


def cost_table(records: Records) -> pd.DataFrame:
    """Cost of the runs, and their sum."""
    table = costs.cost(records)
    total = table[["runs", "epochs", "core_hours"]].sum()
    table = pd.concat([table, pd.DataFrame([{"study": "all", **total}])], ignore_index=True)
    table["core-hours"] = table.pop("core_hours").map("{:.2f}".format)
    speed = table.pop("images_per_second")
    table["images per second"] = speed.map("{:,.0f}".format).where(speed.notna(), "")
    return table.astype({"runs": int, "epochs": int}).fillna("").astype(str)


# Sentences


def p_text(value: float) -> str:
    """A p value in print."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


_WORDS = "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"


def _word(number: int) -> str:
    return _WORDS[number] if number < len(_WORDS) else str(number)


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
    return f"{said} ({_word(len(pairs))} paired seed{'s' * (len(pairs) != 1)}); {paper}"


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
        n = f" (n = {verdict.n})" if verdict.n else ""
        said.append(f"{ours.mean:{form}} {unit}{cut}{n}{paper}")
    if tests := _tests(verdict):
        said.append(tests + ("" if ours.n else paper))
    if failed := verdict.failed:
        said.append(f"{failed} of {len(verdict.records)} runs diverged or stayed at chance")
    if verdict.outcome == "inconclusive":
        seeds = f"about {plural(verdict.needed, 'seed')}" if verdict.needed else None
        said.append(f"{seeds or 'no number of runs up to 1,000'} would settle it")
    return "; ".join([*said, *_NOTES.get(verdict.claim, ())])


def _tests(verdict: Verdict) -> str:
    """Each comparison with its mean and p values; more than four are counted."""
    unit = "points" if verdict.unit == "%" else verdict.unit
    if len(verdict.tests) > 4:
        directions = [test.direction for test in verdict.tests]
        means = [test.difference.mean for test in verdict.tests]
        return (
            f"higher in {directions.count(1)} and lower in {directions.count(-1)} of "
            f"{len(means)} comparisons (n = {verdict.n}), {min(means):+z.2f} to "
            f"{max(means):+z.2f} {unit}"
        )
    said: dict[str, list[str]] = {}  # two questions may be asked about one difference
    for test in (*verdict.tests, *verdict.beside):
        mean = f"{test.name}: {test.difference.mean:+z.2f} {unit}"
        n = f"n = {test.difference.n}{';' if test.bound else ','} "
        n = "" if verdict.ours.n or mean in said else n
        no = "" if test.p_value < LEVEL else "not "
        below = test.difference.mean < test.bound  # the side that was tested
        what = f"of {test.bound} is {no}ruled out" if below else f"above {test.bound} is {no}shown"
        bound = f"a gain {what}, " * bool(test.bound)
        said.setdefault(mean, []).append(f"{n}{bound}{p_text(test.p_value)}")
    return "; ".join(f"{mean} ({'; '.join(p_values)})" for mean, p_values in said.items())


_NOTES = {
    1: [f"LeNet-5 of 1998, without distortions: {next(iter(PUBLISHED.values()))} %"],
    10: [f"published before: {max(PUBLISHED, key=PUBLISHED.get)}"],
}


def verdict_table(records: Records) -> pd.DataFrame:
    """Sub-claim, what the paper says, verdict and why."""
    return pd.DataFrame(
        {
            "claim": f"Claim {each.claim}, {each.part}",
            "the paper says": each.says,
            "verdict": each.outcome,
            "ours": clause(each),
            "new runs": str(each.new),
        }
        for each in verdicts(records)
    )


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
        names = [name.partition(":")[0] for name in leads if shared[name] != alone[name] == state]
        too = " too" * (state in shared.values())
        listed = " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
        changes += [f"{listed} would be {state}{too}"] * bool(names)
    return (
        f"**{said}** {_word(len(leads)).capitalize()} comparisons share a level of {LEVEL} (Holm). "
        f"With {LEVEL} for each, {'; '.join(changes) or 'nothing would change'}."
    )


# On the terminal


def report(table: RunTable, *, write_to: Path | None = None, folder: Path = CHECKOUT) -> int:
    """Print the tables, the verdicts, the ablations, the cost, and what could not be read.

    With `write_to`, the results folder, call `write_everything` first, unless something could not
    be read. `folder` is that of the Markdown files.

    Returns:
        Exit code: 1 if something could not be read or there is nothing to write, else 0.
    """
    problems = table.problems
    if write_to and not problems:
        if table.records:
            write_everything(table, write_to, folder)
        else:
            problems = [f"{write_to} has no records"]
    for number, caption in CAPTIONS.items():
        _print(f"Table {number}. {caption}", paper_table(table, number))
    print(f"{NOTE}\n")
    for claim, (says, _) in CLAIMS.items():
        print(f"Claim {claim}: {says}")
        for each in judge(claim, table):
            new = f" ({plural(each.new, 'new run')})" if each.new else ""
            print(f"    {each.part}: {each.outcome}. {clause(each)}{new}")
    print(f"\n{outcomes(table)}\n\nDoes the mask attend? {answer(table)}\n")
    shorter = ablation_table(table).replace(r" \(ours: .+\)", "", regex=True)
    _print("What the paper leaves open", shorter)
    _print("Every protocol, minus the paper's numbers", explain_table(table))
    _print("Every system: cost and accuracy", systems_table(table))
    _print("Cost of all runs", cost_table(table))
    others = sum(not evidence.is_mnist(record) for record in table)
    print(f"{plural(len(table.records), 'run')}, of which {others} on other digits than MNIST.")
    if problems:
        print(f"\n{plural(len(problems), 'problem')}:", *problems, sep="\n  ")
        if write_to:
            print("Nothing was written.")
    return 1 if problems else 0


def _print(title: str, table: pd.DataFrame) -> None:
    print(f"{title}\n\n{table.to_string(index=False)}\n")


# In files


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as Markdown; a bar inside a cell is escaped."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join(
        "| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in rows
    )


def _block(table: Callable[..., pd.DataFrame], *arguments) -> Callable[[Records], str]:
    return lambda records: markdown(table(records, *arguments))


BLOCKS: dict[str, Callable[[Records], str]] = {
    "finding": finding,
    "systems5": _block(systems5_table),
    **{f"table{number}": _block(paper_table, number) for number in CAPTIONS},
    "verdicts": _block(verdict_table),
    "outcomes": outcomes,
    "ablations": _block(ablation_table, True),
    "gains": gains_text,
    "explain": explain_text,
    "over_epochs": _block(over_epochs_table),
    "answer": answer,
    "moved": moved_text,
    "mcnemar": mcnemar_text,
    "controls": _block(controls_table),
    "controls_on_noise": _block(controls_table, attention.ON_NOISE),
    "noise": _block(noise_table),
    "noise_maps": _block(noise_table, True),
    "disturbed": disturbed_text,
    "disturbances": _block(disturbed_table),
    "systems": _block(systems_table),
    "cost": _block(cost_table),
}
"""Name of a generated block in a Markdown file -> its content."""

_BLOCK = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)
_MARKER = re.compile(r"<!-- \w+:(?:begin|end) -->")


def render_blocks(text: str, records: Records) -> str:
    """Fill the blocks of a Markdown text: `<!-- table1:begin -->` ... `<!-- table1:end -->`.

    Raises:
        ValueError: for an unknown name, or a marker without its other half.
    """
    names, markers = _BLOCK.findall(text), _MARKER.findall(text)
    if len(markers) != 2 * len(names):
        raise ValueError(f"Expected a begin and an end for each block. Received: {markers}")
    if unknown := sorted(set(names) - set(BLOCKS)):
        raise ValueError(f"Expected blocks among {', '.join(BLOCKS)}. Received: {unknown}")
    block = "<!-- {0}:begin -->\n\n{1}\n\n<!-- {0}:end -->".format
    return _BLOCK.sub(lambda match: block(match[1], BLOCKS[match[1]](records)), text)


def summary(records: Records) -> pd.DataFrame:
    """Every setting that was run, on whichever digits: one row each, numbers in percent."""
    names = ("dataset", "digest", "model", "setting", "epochs")
    groups: dict[tuple, list[dict]] = collections.defaultdict(list)
    for record in records:
        dataset, epochs = record["dataset"], record["protocol"].get("epochs", 0)  # or classical
        model, setting = evidence.protocol_of(record)["model"], evidence.setting_name(record)
        groups[dataset["name"], dataset["digest"][:12], model, setting, epochs].append(record)
    rows = []
    for key, runs in sorted(groups.items()):
        row = dict(zip(names, key, strict=True))
        row["epochs_done"] = min(run["result"].get("epochs", row["epochs"]) for run in runs)
        row |= {"n": len(runs), "diverged": sum(map(evidence.is_diverged, runs))}
        for metric in METRICS:
            ours = vars(summarise([evidence.value_of(run, metric) for run in runs]))
            row |= {f"{metric}_{name}": ours[name] for name in ("mean", "deviation", "low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


GENERATED = ("README.md", "REPORT.md")
"""Files of the project with blocks for `render_blocks`."""


def write_everything(records: Records, results: Path, folder: Path = CHECKOUT) -> list[Path]:
    """Rewrite `summary.csv` in the results folder and the blocks of the project's Markdown files.

    The same records give the same bytes. Returns the files that were written.

    Raises:
        ValueError: if a Markdown file has an unknown block; nothing is written.
        OSError: if a file cannot be written.
    """
    csv = summary(records).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    texts = {Path(results) / "summary.csv": csv}
    for path in (Path(folder) / name for name in GENERATED):
        if path.is_file() and _MARKER.search(text := path.read_text(encoding="utf-8")):
            texts[path] = render_blocks(text, records)
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return [*texts]
