"""The evidence as a reader sees it: tables, verdicts, cost; on the terminal and in Markdown."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pandas as pd

from ..noise import CLEAN, Condition
from ..protocol import PAPER
from ..records import read_records
from ..storage.files import write_atomically
from ..storage.paths import CHECKOUT
from . import ablations, attention, costs
from . import runs as evidence
from .claims import PUBLISHED, Outcome, Verdict, verdict, verdicts
from .runs import ENOUGH_SEEDS, Changes, Runs
from .statistics import Difference, Sample, summarise, with_interval

Records = list[dict]

MISSING = "missing"

CAPTIONS = {
    1: "Test accuracy in percent",
    2: "Accuracy of LeNet+Attention in percent under different learning rates",
    3: "Accuracy of LeNet+Attention in percent under different batch sizes",
    4: "Accuracy of LeNet+Attention in percent after different numbers of epochs",
}

NOTE = "Ours: mean of n seeds, and half the width of its 95 % interval (Student's t)."


# Tables


def paper_table(records: Records, number: int) -> pd.DataFrame:
    """One of the paper's tables, ours beside theirs, ready to be shown.

    Args:
        records: Any records; those of other digits than MNIST are not used.
        number: 1 to 4.

    Returns:
        Strings. A row without records says so; a row of fewer epochs than asked says how many.
        Table 1 has the rows of `evidence.BEYOND` too, each group under a heading of its own.

    Raises:
        ValueError: for another number.
    """
    if number not in CAPTIONS:
        raise ValueError(f"Expected a table from 1 to 4. Received: number={number!r}")
    reported = evidence.reported()
    names = list(dict.fromkeys(reported[reported.table == number].row))
    rows = [_row(name, evidence.setting_of(name), records) for name in names]
    for heading, settings in evidence.BEYOND.items() if number == 1 else ():
        rows.append({"network": f"— not in the paper: {heading} —"})
        rows += [_row(name, changes, records) for name, changes in settings.items()]
    return pd.DataFrame(rows).fillna("")


def _row(name: str, changes: Changes, records: Records) -> dict[str, str]:
    runs = evidence.runs_of(changes, records)
    field, _, value = name.partition("=")
    row = {field.replace("_", " "): value} if value else {"network": name}
    for metric, title in (("train_accuracy", "training"), ("test_accuracy", "test")):
        published = evidence.reported_value(name, metric)
        row[f"{title}, paper"] = "not reported" if published is None else f"{published:.1f}"
        row[f"{title}, ours"] = cell(runs, metric)
    return {**row, "n": str(len(runs.records))}


def cell(runs: Runs, metric: str = "test_accuracy") -> str:
    """A setting's accuracy as a table shows it: never a number without what qualifies it."""
    if not runs.records:
        return runs.lack()
    ours = evidence.sample(runs, metric)
    shown = f"{ours.mean:.2f}" + (f" ± {ours.margin:.2f}" if ours.n > 1 else "")
    notes = [
        "one run" if ours.n == 1 else "",
        f"{runs.done} of {runs.asked} epochs" if runs.done < runs.asked else "",
        f"{runs.diverged} of {ours.n} diverged" if runs.diverged else "",
    ]
    qualified = ", ".join(filter(None, notes))
    return f"{shown} ({qualified})" if qualified else shown


def systems_table(records: Records) -> pd.DataFrame:
    """What each system of Table 1 costs and reaches, ready to be shown."""
    return pd.DataFrame(
        {
            "system": system.name,
            "parameters": _count(system.parameters),
            "multiply-accumulates per image": _count(system.multiply_accumulates),
            "time": _time(system),
            "training accuracy": cell(system.runs, "train_accuracy"),
            "test accuracy": cell(system.runs),
        }
        for system in costs.systems(records)
    )


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _time(system: costs.System) -> str:
    if not system.runs.records:
        return ""
    unit = "s in all" if system.multiply_accumulates is None else "s an epoch"
    return f"{system.seconds:,.0f} {unit} ({system.device})"


def verdict_table(records: Records) -> pd.DataFrame:
    """Claim, what the paper says, verdict, and why."""
    return pd.DataFrame(
        {
            "claim": judged.claim,
            "the paper says": judged.text,
            "verdict": judged.verdict,
            "because": judged.sentence,
        }
        for judged in verdicts(records)
    )


def ledger_table(records: Records) -> pd.DataFrame:
    """The assumption ledger, ready to be shown: effects in points, option minus ours."""
    return pd.DataFrame(
        {
            "open choice": row.choice,
            "ours": row.ours,
            "option": row.option,
            "accuracy with it": "" if row.lack or pd.isna(row.accuracy) else f"{row.accuracy:.2f}",
            "effect in points [95 %]": row.lack or _effect(row),
            "of": row.metric,
            "smallest detectable": ""
            if row.lack or pd.isna(row.detectable)
            else f"{row.detectable:.2f}",
            "option over LeNet alone": _points(row.gain, row.gain_low, row.gain_high, missing=""),
            "n": str(row.n),
            "epochs": "" if pd.isna(row.epochs) else str(row.epochs),
        }
        for row in ablations.ledger(records).itertuples()
    )


def _effect(row) -> str:
    guessing = f" ({row.guessing} of {row.n} guess)" if row.guessing else ""
    return _points(row.effect, row.low, row.high) + guessing


def _points(mean: float, low: float, high: float, digits: int = 2, missing: str = MISSING) -> str:
    if pd.isna(mean):
        return missing
    return with_interval(mean, low, high, digits) + " no interval" * pd.isna(low)


def scores_table(
    records: Records, condition: Condition = CLEAN, changes: Changes | None = None
) -> pd.DataFrame:
    """What the masks of LeNet+Attention cover, beside maps that learned nothing, ready to be shown.

    Args:
        records: With their measurements.
        condition: What is behind the test digits.
        changes: The setting that the networks were trained in; by default the paper's.
    """
    found = attention.map_scores(changes or {}, records, condition)
    rows = []
    for name, scores in found.items():
        shown = {SCORE_NAMES[score]: _mean(sample) for score, sample in scores.items()}
        seeds = max((sample.n for sample in scores.values()), default=0)
        alone = seeds == 1 and not name.startswith("C")  # a map that needs no network
        rows.append({"map": name, **shown, "n": "" if alone else str(seeds)})
    table = pd.DataFrame(rows).fillna("")
    return table[[*table.columns.drop("n"), "n"]] if rows else table


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


def _mean(sample: Sample) -> str:
    return f"{sample.mean:.3f}" + (f" ± {sample.margin:.3f}" if sample.n > 1 else "")


def controls_table(records: Records, changes: Changes = attention.SHORT_RUNS) -> pd.DataFrame:
    """The mask and its controls, ready to be shown: accuracy in percent, differences in points.

    For the arguments see `attention.controls`.
    """
    return pd.DataFrame(
        {
            "behind C1 and C3": row.network,
            "test accuracy": MISSING if pd.isna(row.accuracy) else f"{row.accuracy:.2f}",
            "over LeNet alone": _points(row.gain, row.gain_low, row.gain_high),
            "the mask minus this": ""
            if row.network == "the mask"
            else _points(row.under, row.under_low, row.under_high),
            "n": str(row.n),
        }
        for row in attention.controls(records, changes).itertuples()
    )


def moved_text(records: Records) -> str:
    """What becomes of the networks with the mask when it looks elsewhere, as Markdown."""
    changes = pd.DataFrame(attention.changed_by_seed({}, records))
    if changes.empty:
        return "No network was measured with its masks replaced yet."
    changes = changes[[*attention.MOVED, "ones"]]
    worse = (changes[[*attention.MOVED]] < 0).all(axis=1).sum()
    lines = [
        f"Of {evidence.plural(len(changes), 'network')}, {worse} got worse with every mask that "
        "looks elsewhere. Change of accuracy:\n",
        *(
            f"- {name}: {of.max():+.2f} to {of.min():+.2f} points, {of.mean():+.2f} on average"
            for name, of in changes.rename(columns={**attention.MOVED, "ones": "no mask"}).items()
        ),
    ]
    return "\n".join(lines)


def noise_table(records: Records) -> pd.DataFrame:
    """Networks trained and tested on a background, ready to be shown."""
    return pd.DataFrame(
        {
            "background": str(entry["condition"]),
            "without the mask": f"{entry['plain'].mean:.2f}" if entry["plain"].n else MISSING,
            "with": f"{entry['masked'].mean:.2f}" if entry["masked"].n else MISSING,
            "gain in points": _difference(entry["gain"]),
            "AUROC for ink, mask minus brightness": _difference(entry["focus"], 3),
            "gain in signal to noise, dB": _difference(entry["snr"]),
            "n": str(entry["gain"].n),
        }
        for entry in attention.trained_on_noise(records)
    )


def _difference(paired: Difference, digits: int = 2) -> str:
    return _points(paired.mean, paired.low, paired.high, digits)


def nearest_table(records: Records, rows: int = 10) -> pd.DataFrame:
    """The protocols that come nearest to the paper's numbers, below these, ready to be shown."""
    table = ablations.nearest(records).head(rows)
    paper = {name: evidence.reported_value(name) for name in ablations.EXPLAINED}
    said = pd.DataFrame([{"setting": "the paper says", "epochs": PAPER.epochs, "n": "", **paper}])
    factors = [
        f"{row.factor:.2f} ({row.least:.2f} to {row.most:.2f})" for row in table.itertuples()
    ]
    table = pd.concat([said, table[said.columns]]).assign(**{"errors off by": ["", *factors]})
    for name in ablations.EXPLAINED:
        table[name] = table[name].map("{:.2f}".format)
    return table.astype(str)


def nearest_text(records: Records) -> str:
    """`nearest_table` as Markdown, or what is missing for it."""
    table = nearest_table(records)
    rows = ", ".join(ablations.EXPLAINED)
    return (
        markdown(table)
        if len(table) > 1
        else f"No protocol was run for all of {rows} with {ENOUGH_SEEDS} seeds yet."
    )


def cost_table(records: Records) -> pd.DataFrame:
    """What the runs cost, ready to be shown."""
    table = costs.cost(records)
    total = table[["runs", "epochs", "core_hours"]].sum()
    table = pd.concat([table, pd.DataFrame([{"study": "all", **total}])], ignore_index=True)
    table["core-hours"] = table.pop("core_hours").map("{:.2f}".format)
    speed = table.pop("images_per_second")
    table["images per second"] = speed.map("{:,.0f}".format).where(speed.notna(), "")
    return table.astype({"runs": int, "epochs": int}).fillna("").astype(str)


def finding(records: Records) -> str:
    """What the records say of the mask's worth, the paper's main claim, in a sentence or two."""
    judged = verdict("C3", records)
    sentence = (
        "Does the mask lift LeNet-5, as we read the paper? "
        f"**{judged.verdict.capitalize()}**: {judged.sentence}."
    )
    if judged.verdict != "not yet tested":
        return sentence
    shown = {
        name: cell(evidence.runs_of(evidence.setting_of(name), records))
        for name in ("LeNet+Attention", "LeNet")
    }
    so_far = "; ".join(f"{name} {accuracy}" for name, accuracy in shown.items())
    return f"{sentence} So far, test accuracy in percent: {so_far}."


def outcomes(records: Records) -> str:
    """How many claims came out how: "Of 11 claims 2 are contradicted (C7, C10), ..."."""
    return _counted(verdicts(records))


def _counted(judged: list[Verdict]) -> str:
    claims = {
        outcome: [each.claim for each in judged if each.verdict == outcome]
        for outcome in get_args(Outcome)
    }
    counted = ", ".join(
        f"{len(found)} {outcome} ({', '.join(found)})" for outcome, found in claims.items() if found
    )
    return f"Of the paper's {len(judged)} claims: {counted}."


# On the terminal


def report(results: Path) -> int:
    """Print Tables 1-4 beside the paper's, the verdicts, the ledger, the nearest protocols, the
    cost, and what could not be read.

    Args:
        results: Folder of the records.

    Returns:
        Exit code: 1 if a file is damaged or is no record, or the folder is not there, else 0.
    """
    results = Path(results)
    records, problems = read_records(results)
    if not results.is_dir():
        problems = [f"{results} is no folder"]
    for number, caption in CAPTIONS.items():
        print(f"Table {number}. {caption}\n\n{_plain(paper_table(records, number))}\n")
    print(f"{NOTE}\n")
    judged = verdicts(records)
    for each in judged:
        print(f"{each.claim:4}{each.text}\n    {each}")
    print(f"\n{_counted(judged)}")
    ledger = ledger_table(records).drop(columns=["ours", "of"])  # too wide for a terminal with them
    print(f"\nWhat the paper leaves open\n\n{_plain(ledger)}\n")
    print(f"Protocols nearest to the paper's numbers\n\n{_plain(nearest_table(records))}\n")
    print(f"Every system: cost and accuracy\n\n{_plain(systems_table(records))}\n")
    print(f"Cost of all runs\n\n{_plain(cost_table(records))}\n")
    others = sum(not evidence.is_mnist(record) for record in records)
    print(f"{evidence.plural(len(records), 'run')}, of which {others} on other digits than MNIST.")
    if problems:
        print(f"\n{evidence.plural(len(problems), 'file')} skipped:", *problems, sep="\n  ")
    return 1 if problems else 0


def _plain(table: pd.DataFrame) -> str:
    return table.to_string(index=False)


# In files


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as Markdown; a bar inside a cell is escaped."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join(
        "| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in rows
    )


BLOCKS: dict[str, Callable[[Records], str]] = {
    **{
        f"table{number}": lambda records, number=number: markdown(paper_table(records, number))
        for number in CAPTIONS
    },
    "verdicts": lambda records: markdown(verdict_table(records)),
    "finding": finding,
    "outcomes": outcomes,
    "ledger": lambda records: markdown(ledger_table(records)),
    "nearest": nearest_text,
    "answer": lambda records: f"**{attention.attention_or_gating(records)}**",
    "moved": moved_text,
    "controls": lambda records: markdown(controls_table(records)),
    "controls_on_noise": lambda records: markdown(controls_table(records, attention.ON_NOISE)),
    "noise": lambda records: markdown(noise_table(records)),
    "systems": lambda records: markdown(systems_table(records)),
    "cost": lambda records: markdown(cost_table(records)),
}
"""Name of a generated block in a Markdown file -> what stands in it."""


_BLOCK = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)
_MARKER = re.compile(r"<!-- \w+:(?:begin|end) -->")


def render_blocks(text: str, records: Records) -> str:
    """Write what the records give between each pair of markers of a Markdown text.

    Args:
        text: With blocks like `<!-- table1:begin -->` ... `<!-- table1:end -->`, names as in
            `BLOCKS`. Everything outside of them stays as it is.
        records: As `read_records` gives them.

    Raises:
        ValueError: for an unknown name, or a marker without its other half.
    """
    names = [match[1] for match in _BLOCK.finditer(text)]
    markers = _MARKER.findall(text)
    if len(markers) != 2 * len(names):
        raise ValueError(f"Expected a begin and an end for each block. Received: {markers}")
    unknown = sorted(set(names) - set(BLOCKS))
    if unknown:
        raise ValueError(f"Expected blocks among {', '.join(BLOCKS)}. Received: {unknown}")

    def rendered(match: re.Match) -> str:
        name = match[1]
        return f"<!-- {name}:begin -->\n\n{BLOCKS[name](records)}\n\n<!-- {name}:end -->"

    return _BLOCK.sub(rendered, text)


def unsupported_numbers(text: str, records: Records) -> list[str]:
    """The percentages, points and decibels in a text that are in no table made from the records.

    Only numbers with decimals are looked at ("98.93 %", "+0.04 points"), signs are not compared,
    and a number passes wherever it comes from: this finds a stale digit, not every wrong claim.
    """
    tables = "\n".join(block(records) for name, block in BLOCKS.items() if name != "cost")
    supported = {*re.findall(r"\d+\.\d+", tables), *map(str, PUBLISHED.values())}
    quoted = re.finditer(r"[+-]?(\d+\.\d+)\s*(?:%|points|dB)", text)
    return [match[0] for match in quoted if match[1] not in supported]


SUMMARISED = ("train_accuracy", "test_accuracy")


def summary(records: Records) -> pd.DataFrame:
    """Every setting that was run, on whichever digits: one row each, numbers in percent."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        protocol = evidence.protocol_of(record)
        key = (
            record["dataset"].get("name", ""),
            record["dataset"]["digest"][:12],
            protocol["model"],
            evidence.setting_name(record),
            record["protocol"].get("epochs", 0),  # a classical method has none
        )
        groups.setdefault(key, []).append(record)
    rows = []
    for key in sorted(groups):
        runs = groups[key]
        row = dict(zip(("dataset", "digest", "model", "setting", "epochs"), key, strict=True))
        row["epochs_done"] = min(run["result"].get("epochs", row["epochs"]) for run in runs)
        row["n"] = len(runs)
        row["diverged"] = sum(bool(run["result"].get("diverged")) for run in runs)
        for metric in SUMMARISED:
            ours = summarise([100 * run["result"][metric] for run in runs])
            for name in ("mean", "deviation", "low", "high"):
                row[f"{metric}_{name}"] = getattr(ours, name)
        rows.append(row)
    return pd.DataFrame(rows)


def write_summary(records: Records, path: Path) -> None:
    """Write `summary` as CSV: the same records give the same bytes.

    Raises:
        OSError: if it cannot be written.
    """
    text = summary(records).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_atomically(Path(path), lambda file: file.write(text.encode()))


GENERATED = ("README.md", "REPORT.md")
"""Files of the project with blocks for `render_blocks`."""


def write_everything(results: Path, folder: Path = CHECKOUT) -> list[Path]:
    """Rewrite `summary.csv` in the results folder and the blocks of the project's Markdown files.

    Returns:
        The files that were written.

    Raises:
        ValueError: if the folder has no records or other files among them, or a Markdown file has
            an unknown block; nothing is written.
        OSError: if a file cannot be written.
    """
    records, problems = read_records(results)
    if problems or not records:
        received = "; ".join(problems) or "none"
        raise ValueError(f"Expected records, and nothing else, in {results}. Received: {received}")
    files = [path for name in GENERATED if (path := Path(folder) / name).is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    rendered = {
        path: render_blocks(text, records) for path, text in texts.items() if _MARKER.search(text)
    }
    write_summary(records, summary_path := Path(results) / "summary.csv")
    for path, text in rendered.items():
        write_atomically(path, lambda file, text=text: file.write(text.encode()))
    return [summary_path, *rendered]
