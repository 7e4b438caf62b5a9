"""The report on the terminal and in files, and that pages hold what the records say."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnist_attention import cli
from mnist_attention.evidence import report, sentences, tables
from mnist_attention.evidence.claims import CLAIMS, PUBLISHED, judge
from mnist_attention.evidence.runs import RunTable, corrected_labels, predictions_of, runs_of
from mnist_attention.records import read_records, write_record
from mnist_attention.storage.paths import CHECKOUT, RESULTS
from synthetic import make_record, make_runs


def unsupported_numbers(text: str, records) -> list[str]:
    """Percentages, points and decibels in a text that are in no table made from the records.

    Only numbers with decimals are looked at ("98.93 %", "+0.04 points"), signs are not compared,
    and a number passes wherever it comes from: this finds a stale digit, not every wrong claim.
    """
    blocks = "\n".join(block(records) for name, block in report.BLOCKS.items() if name != "cost")
    supported = {*re.findall(r"\d+\.\d+", blocks), *map(str, PUBLISHED.values())}
    quoted = re.finditer(r"[+-]?(\d+\.\d+)\s*(?:%|points|dB)", text)
    return [match[0] for match in quoted if match[1] not in supported]


@pytest.fixture
def results(tmp_path):
    """A results folder with ten pairs, a short run, and a run on other digits."""
    accuracies = [0.989 + seed / 5_000 for seed in range(10)]
    records = [
        *make_runs(accuracies, model="lenet5"),
        *make_runs(accuracies[::-1]),
        *make_runs([0.95], model="vgg16", epochs_done=2),
        *make_runs([0.9], dataset="uci", digest="u" * 64),
    ]
    for record in records:
        write_record(record, tmp_path, "table1")
    return tmp_path


@pytest.fixture(scope="module")
def project() -> RunTable:
    """The records of the project."""
    return RunTable.read(RESULTS)


def report_of(results: Path) -> int:
    return report.report(RunTable.read(results))


def test_the_report_prints_tables_verdicts_and_cost(results, capsys):
    assert report_of(results) == 0
    printed = capsys.readouterr().out
    for expected in (
        "Table 1.", "Table 4.", "98.99 ± 0.04", "97.7", "missing",
        "not finished:", "2 of 100",
        "Claim 3: the mask is worth +1.6 points\n    sign: not reproduced. with minus without",
        "    size: not reproduced (lower). +0.00 points (n = 10); paper +1.6",
        "What the paper leaves open", "Every protocol, minus the paper's numbers",
        "Claim 11", "core-hours", "22 runs, of which 1 on other digits than MNIST.",
    ):  # fmt: skip
        assert expected in printed


def test_damaged_files_are_named_and_counted(results, capsys):
    (results / "table1" / "broken.json").write_text('{"run_id": ')
    (results / "table1" / "package.json").write_text("{}")
    assert report_of(results) == 1
    printed = capsys.readouterr().out
    assert "2 problems:" in printed
    assert "broken.json is damaged" in printed
    assert "package.json is no record" in printed
    assert "98.99 ± 0.04" in printed


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path, capsys):
    assert report_of(tmp_path / "absent") == 1
    assert "absent is no folder" in capsys.readouterr().out
    assert report_of(tmp_path) == 0


def test_reading_imports_nothing_heavy(tmp_path):
    for seed in range(3):
        write_record(make_record(seed=seed), tmp_path, "table1")
    code = (
        "import sys; from pathlib import Path; from mnist_attention.evidence import RunTable\n"
        "from mnist_attention.evidence.report import report\n"
        "assert report(RunTable.read(Path(sys.argv[1]))) == 0\n"
        "heavy = {'tensorflow', 'keras', 'jax', 'torch', 'matplotlib', 'scipy.stats'}\n"
        "print(*heavy & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == ""


TEXT = """# Title
<!-- table1:begin -->
old
<!-- table1:end -->
prose <!-- finding:begin --><!-- finding:end -->"""


def test_blocks_are_rendered_and_the_rest_stays():
    records = make_runs([0.99])
    rendered = report.render_blocks(TEXT, records)
    assert "old" not in rendered
    assert "| LeNet+Attention | not reported | 99.50 (one run) |" in rendered
    assert "Not tested yet: without the mask: missing; with it: 1 of at least 3 seeds" in rendered
    assert rendered.startswith("# Title\n<!-- table1:begin -->\n\n| network |")
    assert "<!-- table1:end -->\nprose <!-- finding:begin -->" in rendered
    assert report.render_blocks(rendered, records) == rendered
    one_digit_changed = rendered.replace("99.50", "99.60")
    assert report.render_blocks(one_digit_changed, records) == rendered


def test_every_block_can_be_rendered_from_nothing_and_from_records(results):
    text = "".join(f"<!-- {name}:begin --><!-- {name}:end -->\n" for name in report.BLOCKS)
    assert "missing" in report.render_blocks(text, [])
    assert text.count("begin") == len(report.BLOCKS) > 15
    assert "98.99 ± 0.04" in report.render_blocks(text, read_records(results)[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!-- table9:begin --><!-- table9:end -->", "Expected blocks among finding, .*'table9'"),
        ("<!-- table1:begin -->", "a begin and an end"),
        ("<!-- table1:begin --><!-- table2:end -->", "a begin and an end"),
        (
            "<!-- table1:begin --><!-- table2:begin --><!-- table2:end --><!-- table1:end -->",
            "a begin and an end",
        ),
    ],
)
def test_wrong_markers_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        report.render_blocks(text, [])


def write(results: Path, folder: Path) -> list[Path]:
    return report.write_blocks(RunTable.read(results), folder)


def test_blocks_are_rewritten_in_their_files(results, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(TEXT)
    assert write(results, folder) == [folder / "README.md"]
    assert "98.99 ± 0.04" in (folder / "README.md").read_text()


def test_files_of_another_project_stay_as_they_are(results, tmp_path):
    foreign = "\ufeff# Déjà vu\r\nno blocks\r\n".encode()
    (tmp_path / "README.md").write_bytes(foreign)
    assert write(results, tmp_path) == []
    assert (tmp_path / "README.md").read_bytes() == foreign


def test_nothing_is_written_where_a_block_is_unknown(results, tmp_path):
    (tmp_path / "README.md").write_text(TEXT)
    (tmp_path / "REPORT.md").write_text("<!-- toc:begin --> <!-- toc:end -->")
    with pytest.raises(ValueError, match="Expected blocks among"):
        write(results, tmp_path)
    assert (tmp_path / "README.md").read_text() == TEXT


def test_numbers_in_prose_that_nothing_gives_are_found():
    records = make_runs([0.99])
    prose = "The paper says 97.7 %; the mask gives 99.00% here, one run was 99.77 % in 2012."
    assert unsupported_numbers(prose, records) == []
    wrong = "It gives 99.10 %, that is +1.62 points, or 98.4%, at rate 0.05 and with 3 seeds."
    assert unsupported_numbers(wrong, records) == ["99.10 %", "+1.62 points", "98.4%"]


@pytest.mark.parametrize("name", report.GENERATED)
def test_the_numbers_of_the_project_are_those_of_its_records(project, name):
    path = CHECKOUT / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    text = path.read_text()
    assert report.render_blocks(text, project) == text, "run: mnist-attention report --write"
    assert unsupported_numbers(text, project) == []


def test_corrected_labels_change_both_networks_as_the_report_says(project, mnist):
    """About 0.05 points each, with ten doubtful labels corrected and five images left out."""
    labels = corrected_labels()
    kept = labels >= 0
    for model in ("lenet5", "lenet5_attention"):
        changes = [
            np.mean((predictions_of(run) == labels)[kept])
            - np.mean(predictions_of(run) == mnist.test_labels)
            for run in runs_of({"model": model}, project).records
        ]
        assert 100 * np.mean(changes) == pytest.approx(0.05, abs=0.01)


def test_the_summary_of_the_report_has_the_verdicts(project):
    text = (CHECKOUT / "REPORT.md").read_text()
    for claim in CLAIMS:
        (line,) = re.findall(rf"^- \*\*Claim {claim}\.\*\* (.+)$", text, re.MULTILINE)
        said = re.findall(r"\*(.+?)\*", line)
        assert said == [each.outcome for each in judge(claim, project)], f"Claim {claim}"


def test_all_records_of_the_project_can_be_used(project):
    assert project.problems == []


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "notebooks").glob("0*.py")), ids=lambda p: p.stem
)
def test_the_prose_of_the_notebooks_quotes_the_records(project, path):
    prose = "\n".join(line for line in path.read_text().splitlines() if line.startswith("# "))
    assert unsupported_numbers(prose, project) == []


SHOWN = {
    "02_train_lenet_with_attention": ("finding", "systems5"),
    "03_sweep_hyperparameters": ("table2", "table3", "table4"),
    "05_is_it_attention": ("controls", "moved", "answer", "labels"),
    "06_does_it_filter_noise": ("claim 9",),
}
"""Notebook -> what of `BLOCKS` is among its outputs, or a claim."""

TEXTS = {
    **report.BLOCKS,
    "claim 9": functools.partial(sentences.claim_text, 9),
    "labels": lambda records: tables.markdown(tables.labels_table(records)),
}


def printed_markdown(path: Path) -> str:
    outputs = [
        output
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", ())
    ]
    return "\n".join("".join(o.get("data", {}).get("text/markdown", "")) for o in outputs)


@pytest.mark.parametrize("name", SHOWN)
def test_the_outputs_of_the_notebooks_are_those_of_the_records(project, name):
    path = CHECKOUT / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    printed = printed_markdown(path)
    stale = [text for text in SHOWN[name] if TEXTS[text](project) not in printed]
    assert stale == [], f"run: make notebooks ONLY=notebooks/{name}.py"


@pytest.mark.parametrize("damage", ["absent", "empty", "damaged", "unreadable"])
def test_nothing_is_written_from_records_that_cannot_be_read(
    results, tmp_path, monkeypatch, capsys, damage
):
    chosen = {"absent": tmp_path / "typo", "empty": tmp_path / "empty"}.get(damage, results)
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text(TEXT)
    if damage == "damaged":
        (results / "table1" / "broken.json").write_text("{")
    if damage == "unreadable":
        (results / "table3").symlink_to(tmp_path / "unplugged disk")
    # Should it write after all, then not into the project.
    monkeypatch.setattr(report, "CHECKOUT", tmp_path)
    monkeypatch.setitem(report.report.__kwdefaults__, "folder", tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "report", "--results", str(chosen), "--write"])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    problem = {
        "absent": "typo is no folder",
        "empty": "empty has no records",
        "damaged": "broken.json is damaged",
        "unreadable": "table3 cannot be read: No such file or directory",
    }
    printed = capsys.readouterr().out
    assert f"\n  {tmp_path}" in printed
    assert problem[damage] in printed
    assert printed.endswith("Nothing was written.\n")
    assert (tmp_path / "README.md").read_text() == TEXT
    assert chosen.is_dir() == (damage != "absent")


def test_a_terminal_of_another_encoding_gets_the_report(results):
    command = [sys.executable, "-m", "mnist_attention", "report", "--results", str(results)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"98.99 ? 0.04" in ran.stdout
