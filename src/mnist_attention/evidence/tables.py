"""The evidence as tables of strings, ready to be shown: ours beside the paper's."""

import functools
import math

import pandas as pd

from . import ablations, attention, costs
from . import runs as evidence
from .claims import verdicts
from .runs import ENOUGH_SEEDS, Changes, Records, Runs
from .sentences import clause, p_text, points
from .statistics import NO_PAIRS, Sample, summarise

CAPTIONS = {
    1: "Test accuracy in percent",
    2: "Accuracy of LeNet+Attention in percent under different learning rates",
    3: "Accuracy of LeNet+Attention in percent under different batch sizes",
    4: "Accuracy of LeNet+Attention in percent after different numbers of epochs",
}

METRICS = {"train_accuracy": "training", "test_accuracy": "test"}

CUT_SHORT = "not finished:"


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


def labels_table(records: Records) -> pd.DataFrame:
    """How the masks rank ink (AUROC), trained on true and on permuted labels for 20 epochs."""
    columns = {"C1 untrained": "C1 before", "C1": "C1 after"}
    columns |= {"C3 untrained": "C3 before", "C3": "C3 after"}
    rows = []
    for labels, changes in {"true": {}, "random": {"permuted_labels": True}}.items():
        changes = {**attention.SHORT_RUNS, **changes}
        found = attention.map_scores(changes, records)
        scores = {new: found[old]["ink_auroc"] for old, new in columns.items() if old in found}
        accuracy = evidence.sample(evidence.whole_runs(changes, records))
        row = {"labels": labels, **{name: _mean(score) for name, score in scores.items()}}
        rows.append({**row, "test accuracy": _decimals(accuracy.mean), "n": str(accuracy.n)})
    return pd.DataFrame(rows).fillna("")


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
        paired = [evidence.value_of(run) for run, _ in evidence.pairs(runs, plain).values()]
        under = NO_PAIRS if model == attention.MASKED else under
        row = {
            "after C1 and C3": name,
            "test accuracy": _decimals(summarise(paired).mean, "missing"),
            "over LeNet alone": points(gain),
            "the mask minus this": points(under, missing="" if gain.n else "missing"),
            "n": str(gain.n),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def noise_table(records: Records, maps: bool = False) -> pd.DataFrame:
    """Networks trained and tested on a background: accuracy and decibels, or AUROC of `maps`."""
    rows = []
    for entry in attention.trained_on_noise(records):
        if maps:
            shown = {f"AUROC minus {name}": points(of, 3) for name, of in entry["over"].items()}
            for name, of in entry["over_others"].items():
                shown[f"minus {name} (not judged)"] = points(of, 3, missing="")
            shown["n"] = str(entry["over"]["untrained"].n)
        else:
            shown = {
                "without the mask": _decimals(entry["plain"].mean, "missing"),
                "with": _decimals(entry["masked"].mean, "missing"),
                "gain in points": points(entry["gain"]),
                "n": str(entry["gain"].n),
                "gain in signal to noise, dB": points(entry["snr"]),
                "minus that before training": points(entry["snr_over_untrained"]),
                "minus that of frozen masks (not judged)": points(
                    entry["snr_over_frozen"], missing=""
                ),
                "n, dB": str(entry["snr"].n),  # more networks may have the mask
            }
        rows.append({"background": str(entry["condition"]), **shown})
    return pd.DataFrame(rows)


IN_WORDS = {
    "activation=sigmoid": "sigmoid units", "activation=tanh": "tanh units",
    "pooling=average": "average pooling", "initializer=narrow_normal": "narrow initial weights",
    "flip=False": "no flips", "pixel_scale=255": "unscaled pixels", "momentum=0.9": "momentum 0.9",
    "weight_decay=0.0001": "weight decay 1e-4", "reshuffle=False": "one order of images",
    "learning_rate=0.1": "rate 0.1", "learning_rate=0.001": "rate 0.001", "epochs=50": "50 epochs",
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


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as Markdown; a bar inside a cell is escaped."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join(
        "| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in rows
    )
