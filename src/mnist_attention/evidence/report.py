"""The evidence on the terminal, and as blocks of the Markdown files."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ..storage.files import write_atomically
from ..storage.paths import CHECKOUT
from . import attention, sentences, tables
from . import runs as evidence
from .claims import CLAIMS, judge
from .runs import Records, RunTable, plural
from .tables import CAPTIONS, markdown

NOTE = "Ours: mean of n seeds, and half the width of its 95 % interval (Student's t)."


# On the terminal


def report(table: RunTable, *, write_to: Path | None = None, folder: Path = CHECKOUT) -> int:
    """Print the tables, the verdicts, the ablations, the cost, and what could not be read.

    With `write_to`, the results folder, call `write_blocks` first, unless something could not be
    read. `folder` is that of the Markdown files.

    Returns:
        Exit code: 1 if something could not be read or there is nothing to write, else 0.
    """
    problems = table.problems
    if write_to and not problems:
        if table.records:
            write_blocks(table, folder)
        else:
            problems = [f"{write_to} has no records"]
    for number, caption in CAPTIONS.items():
        _print(f"Table {number}. {caption}", tables.paper_table(table, number))
    print(f"{NOTE}\n")
    for claim, (says, _) in CLAIMS.items():
        print(f"Claim {claim}: {says}")
        for each in judge(claim, table):
            new = f" ({plural(each.new, 'new run')})" if each.new else ""
            print(f"    {each.part}: {each.outcome}. {sentences.clause(each)}{new}")
    print(f"\n{sentences.outcomes(table)}\n\nDoes the mask attend? {sentences.answer(table)}\n")
    shorter = tables.ablation_table(table).replace(r" \(ours: .+\)", "", regex=True)
    _print("What the paper leaves open", shorter)
    _print("Every protocol, minus the paper's numbers", tables.explain_table(table))
    _print("Every system: cost and accuracy", tables.systems_table(table))
    _print("Cost of all runs", tables.cost_table(table))
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


def _block(table: Callable[..., pd.DataFrame], *arguments) -> Callable[[Records], str]:
    return lambda records: markdown(table(records, *arguments))


BLOCKS: dict[str, Callable[[Records], str]] = {
    "finding": sentences.finding,
    "systems5": _block(tables.systems5_table),
    **{f"table{number}": _block(tables.paper_table, number) for number in CAPTIONS},
    "verdicts": _block(tables.verdict_table),
    "ablations": _block(tables.ablation_table, True),
    "gains": sentences.gains_text,
    "explain": tables.explain_text,
    "over_epochs": _block(tables.over_epochs_table),
    "answer": sentences.answer,
    "moved": sentences.moved_text,
    "mcnemar": sentences.mcnemar_text,
    "controls": _block(tables.controls_table),
    "controls_on_noise": _block(tables.controls_table, attention.ON_NOISE),
    "noise": _block(tables.noise_table),
    "noise_maps": _block(tables.noise_table, True),
    "correction": sentences.correction_text,
    "disturbed": sentences.disturbed_text,
    "disturbances": _block(tables.disturbed_table),
    "systems": _block(tables.systems_table),
    "cost": _block(tables.cost_table),
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


GENERATED = ("README.md", "REPORT.md")
"""Files of the project with blocks for `render_blocks`."""


def write_blocks(records: Records, folder: Path = CHECKOUT) -> list[Path]:
    """Rewrite the blocks of the project's Markdown files. The same records give the same bytes.

    Returns the files that were written. ValueError if one has an unknown block, and nothing is
    written; OSError if one cannot be written.
    """
    texts = {}
    for path in (Path(folder) / name for name in GENERATED):
        if path.is_file() and _MARKER.search(text := path.read_text(encoding="utf-8")):
            texts[path] = render_blocks(text, records)
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return [*texts]
