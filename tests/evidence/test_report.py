import functools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mnist_attention import cli
from mnist_attention.evidence import report
from mnist_attention.evidence import runs as evidence
from mnist_attention.evidence.claims import CLAIMS, PUBLISHED, judge
from mnist_attention.evidence.runs import RunTable
from mnist_attention.evidence.statistics import NO_PAIRS, Difference
from mnist_attention.records import read_records, record_path, write_record
from mnist_attention.storage.paths import CHECKOUT, RESULTS
from mnist_attention.storage.record_format import mnist_test_labels
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


def test_no_number_stands_without_what_qualifies_it():
    diverged = make_runs([0.098, 0.99, 0.99], learning_rate=0.1)
    diverged[0]["result"].update(diverged=True, epochs=1)
    table1 = report.paper_table(make_runs([0.99]) + diverged, 1).set_index("network")
    assert table1["test, ours"]["LeNet+Attention"] == "99.00 (one run)"
    assert table1["test, ours"]["ResNet"] == "missing"
    assert list(table1.n[:5]) == ["0", "0", "0", "0", "1"]
    table2 = report.paper_table(diverged, 2).set_index("learning rate")
    assert table2["test, ours"]["0.1"].endswith("(1 of 3 diverged)")


SHORT = [
    *make_runs([0.95, 0.96], epochs_done=2, model="vgg16"),
    *make_runs([0.97], epochs_done=3, model="resnet18"),
]


def test_runs_that_were_cut_short_stand_apart():
    table = report.paper_table(SHORT + make_runs([0.99]), 1)
    above, below = table[: len(table) - 3], table[len(table) - 3 :]
    vgg16 = above.set_index("network").loc["VGG16"]
    assert (vgg16["test, paper"], vgg16["test, ours"], vgg16.n) == ("98.9", "not finished", "0")
    assert "not in the paper: another depth" not in set(above.network)
    assert list(below.network) == [report.CUT_SHORT, "VGG16", "ResNet-18"]
    assert set(below["test, paper"]) == {""}
    assert list(below["test, ours"]) == ["", "95.50 ± 6.35", "97.00"]
    assert list(table.epochs) == [""] * (len(above) + 1) + ["2 of 100", "3 of 100"]
    systems = report.systems_table(SHORT + make_runs([0.99]))
    assert list(systems.system[-3:]) == [report.CUT_SHORT, "VGG16", "ResNet-18"]
    assert list(systems.epochs[-3:]) == ["", "2 of 100", "3 of 100"]
    assert systems.time.iloc[-1].endswith(" s an epoch")
    assert "VGG16" not in set(systems.system[:-3])


def test_the_five_systems_put_no_unfinished_number_beside_the_papers():
    records = SHORT + make_runs([0.98, 0.99])
    table = report.systems5_table(records).set_index("system")
    assert list(table.index) == ["LeNet", "AlexNet", "VGG16", "ResNet", "LeNet+Attention"]
    assert list(table.paper) == ["97.7", "98.7", "98.9", "86.5", "99.3"]
    assert list(table.ours[:4]) == [
        "not run yet", "not run yet", "not finished: 2 of 100 epochs", "not run yet",
    ]  # fmt: skip
    assert table.ours["LeNet+Attention"].startswith("98.50 ± ")
    assert list(table.n) == ["", "", "", "", "2"]


def test_the_tables_have_the_papers_rows_and_numbers():
    networks = list(report.paper_table([], 1)["network"])
    assert networks[:5] == ["LeNet", "AlexNet", "VGG16", "ResNet", "LeNet+Attention"]
    ours = networks[5:]
    assert [name for name in ours if name.startswith("not in")] == [
        f"not in the paper: {heading}" for heading in evidence.BEYOND
    ]
    assert {name for rows in evidence.BEYOND.values() for name in rows} < set(ours)
    assert list(report.paper_table([], 2)["learning rate"]) == ["0.1", "0.01", "0.001"]
    table3 = report.paper_table([], 3)
    assert list(table3["training, paper"]) == ["95.9", "98.2", "99.7", "99.7", "99.8"]
    assert set(table3["test, paper"]) == {"not reported"}
    table4 = report.paper_table([], 4)
    assert list(table4["test, paper"]) == ["93.4", "99.3", "99.3"]
    assert set(table4["test, ours"]) == {"missing"}
    with pytest.raises(ValueError, match=r"from 1 to 4\. Received: number=5"):
        report.paper_table([], 5)


def test_the_ablation_table_shows_effects_and_what_is_missing():
    records = make_runs([0.98, 0.981, 0.9815], epochs=20)
    records += make_runs([0.97, 0.969, 0.971], epochs=20, momentum=0.9)
    records += make_runs([0.1135] * 3, epochs=20, activation="sigmoid")
    records += make_runs([0.97], epochs=20, pooling="average")
    table = report.ablation_table(records)
    table = table[~table["open choice"].str.contains("at rate")].set_index("option")
    shown = table["effect in points [95 %]"]
    assert shown["0.9"].startswith("-1.08 [")
    assert shown["sigmoid"].endswith("] (3 of 3 stuck at chance)")
    assert shown["average"] == "1 of at least 3 seeds"
    assert shown["softmax"] == "not run yet"
    accuracies = table["accuracy with it"].loc[["0.9", "average", "softmax"]]
    assert accuracies.tolist() == ["97.00", "", ""]
    assert table["open choice"]["0.9"] == "momentum (ours: 0)"
    assert len(table.columns) < 7  # and the option
    block = report.BLOCKS["ablations"](records)
    assert "of at least 3 seeds" not in block
    assert "stuck at chance" in block
    assert "not run yet" not in block


def test_gains_count_losses_too():
    plain = {"model": "lenet5", "epochs": 20}
    records = make_runs([0.98, 0.981, 0.982], **plain)
    records += make_runs([0.95, 0.951, 0.953], epochs=20, mask_activation="softmax")
    records += make_runs([0.99, 0.9912, 0.992], epochs=20, mask_activation="linear")
    records += make_runs([0.97, 0.99, 0.98], epochs=20, mask_channels=None)
    records += make_runs([0.98] * 3, epochs=20)
    said = (
        "In 3 comparisons of an option with LeNet alone, trained the same way, the mask is shown "
        "to gain in 1 (activation of the mask: none, 20 epochs, +1.01) and to lose in 1 "
        "(activation of the mask: softmax, 20 epochs, -2.97). Its mean is below zero in 2, down to "
        "-2.97 points."
    )
    assert report.gains_text(records) == said
    records += make_runs([0.1135] * 3, epochs=20, mask_placement="c1")
    apart = " In 1 more, runs are stuck at chance (after C1 only)."
    assert report.gains_text(records) == said + apart


def test_the_differences_to_the_papers_numbers_are_signed():
    records = [
        *make_runs([0.97] * 3, model="lenet5"),
        *make_runs([0.97] * 3),
        *make_runs([0.97] * 3, learning_rate=0.1),
        *make_runs([0.97] * 3, learning_rate=0.001),
    ]
    table = report.explain_table(records)
    assert list(table.setting) == ["our default", "our default", "94 % for everything"]
    assert list(table.epochs) == ["20", "100", ""]
    assert list(table["rate 0.001 (paper 79.8)"]) == ["+17.20", "+17.20", "+14.20"]
    assert list(table["50 epochs (paper 93.4)"]) == ["+3.60", "+3.60", "+0.60"]
    assert list(table["LeNet+Attention (paper 99.3)"]) == ["-2.30", "-2.30", "-5.30"]
    assert set(table.explains) == {"no"}
    for record in records:
        record["protocol"].update(activation="tanh", flip=False)
    assert report.explain_table(records).setting[0] == "no flips, tanh units"
    assert report.explain_text([]).startswith("No protocol was run for all of LeNet, ")


def test_the_mask_over_the_epochs_comes_from_the_histories():
    masked, plain = make_runs([0.99, 0.991, 0.992]), make_runs([0.98] * 3, model="lenet5")
    for record, early in zip(masked, (0.5, 0.51, 0.52), strict=True):
        record["history"]["test_accuracy"][19] = early
    table = report.over_epochs_table(masked + plain).set_index("epochs")
    assert table.loc["20"].tolist() == ["-47.00 [-49.48, -44.52]", "p < 0.001", "3"]
    assert table["points [95 %]"]["100"].startswith("+1.10 [")
    assert (table.n["50"], table.p["50"]) == ("3", "p = 0.003")
    assert set(report.over_epochs_table([])["points [95 %]"]) == {"missing"}


def test_mcnemar_counts_the_pairs_that_differ():
    labels = "".join(map(str, mnist_test_labels().astype(int)))
    plain = make_runs([1.0] * 3, model="lenet5", test_predictions=labels)
    masked = make_runs([1.0] * 2, test_predictions=labels)
    masked[1]["test_predictions"] = "".join(str(9 - int(d)) for d in labels[:30]) + labels[30:]
    assert report.mcnemar_text(plain + masked) == (
        "By McNemar's exact test at a level of 0.05, the networks of 1 of 2 pairs differ in the "
        "test images that they read; 0 of these in favour of the mask."
    )


def test_the_finding_is_one_sentence_with_two_numbers_and_n(results):
    records = read_records(results)[0]
    assert report.finding(records) == (
        "LeNet-5 reaches 98.99 % without the mask and 98.99 % with it (ten paired seeds); "
        "the paper reports 97.7 and 99.3."
    )
    assert report.finding(make_runs([0.99] * 3)) == (
        "Not tested yet: without the mask: missing; the paper reports 97.7 and 99.3."
    )


def test_a_clause_gives_ours_then_n_then_the_paper():
    records = make_runs([0.9842, 0.9845, 0.9844], model="lenet5")
    (verdict,) = judge(1, records)
    assert report.clause(verdict).startswith("98.44 % (n = 3); paper 97.7; LeNet-5 of 1998, ")
    cut = judge(5, make_runs([0.954], model="resnet50", epochs_done=2))
    assert report.clause(cut[0]) == "95.40 % after 2 of 100 epochs (n = 1); paper 86.5"


def test_a_claim_as_text_and_all_of_them_counted():
    text = report.claim_text(3, [])
    assert text.startswith("**Claim 3**: the mask is worth +1.6 points.\n\n- the mask helps: **not")
    said = report.outcomes([])
    assert said.startswith(
        "21 sub-claims of 11 claims:\n\n- contradicted: Claim 10 (published)\n- "
    )
    assert "Claim 7 (batch 48), Claim 8 (50 epochs), Claim 8 (150 epochs), Claim 9 (where)" in said
    table = report.verdict_table([])
    assert list(table.columns) == ["claim", "the paper says", "verdict", "ours", "new runs"]
    assert table.claim.iloc[0] == "Claim 1, number"


def test_markdown_by_hand():
    table = pd.DataFrame({"a": ["1.50", "x|y"], "b": ["±", ""]})
    assert report.markdown(table) == "| a | b |\n| --- | --- |\n| 1.50 | ± |\n| x\\|y |  |"


@pytest.mark.parametrize(
    ("mean", "low", "high", "digits", "printed"),
    [
        (0.041, -0.019, 0.111, 2, "+0.04 [-0.02, 0.11]"),
        (-0.001, math.nan, math.nan, 2, "+0.00"),
        (-0.0624, -0.1, 0, 3, "-0.062 [-0.100, 0.000]"),
        # An end near zero shows on which side it is.
        (-0.38, -0.763, -0.0012, 2, "-0.380 [-0.763, -0.001]"),
        (0.17, 0.0004, 0.34, 2, "+0.1700 [0.0004, 0.3400]"),
        (0.17, 1e-9, 0.34, 2, "+0.1700 [0.0000, 0.3400]"),
    ],
)
def test_a_difference_in_print(mean, low, high, digits, printed):
    found = Difference(3, mean, low=low, high=high)
    assert report.points(found, digits) == printed
    assert report.points(NO_PAIRS) == "missing"


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
    return report.write_everything(RunTable.read(results), results, folder)


def test_the_summary_is_the_same_bytes_for_the_same_records(results):
    records, _ = read_records(results)
    one, two = (report.summary(each) for each in (records, records[::-1]))
    assert one.to_csv(float_format="%.4f") == two.to_csv(float_format="%.4f")
    assert list(one.n) == [10, 10, 1, 1]
    lenet = one[one.model == "lenet5"].iloc[0]
    assert (lenet.setting, lenet.epochs) == ("our default", 100)
    assert lenet.test_accuracy_mean == pytest.approx(98.99)
    assert one.test_accuracy_low.isna().sum() == 2


def test_writing_everything_rewrites_readme_and_summary(results, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(TEXT)
    assert write(results, folder) == [results / "summary.csv", folder / "README.md"]
    assert "98.99 ± 0.04" in (folder / "README.md").read_text()
    assert len(pd.read_csv(results / "summary.csv")) == 4


def test_files_of_another_project_stay_as_they_are(results, tmp_path):
    foreign = "\ufeff# Déjà vu\r\nno blocks\r\n".encode()
    (tmp_path / "README.md").write_bytes(foreign)
    assert write(results, tmp_path) == [results / "summary.csv"]
    assert (tmp_path / "README.md").read_bytes() == foreign


def test_nothing_is_written_where_a_block_is_unknown(results, tmp_path):
    (tmp_path / "README.md").write_text(TEXT)
    (tmp_path / "REPORT.md").write_text("<!-- toc:begin --> <!-- toc:end -->")
    with pytest.raises(ValueError, match="Expected blocks among"):
        write(results, tmp_path)
    assert not (results / "summary.csv").exists()
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


def test_the_summary_of_the_report_has_the_verdicts(project):
    text = (CHECKOUT / "REPORT.md").read_text()
    for claim in CLAIMS:
        (line,) = re.findall(rf"^- \*\*Claim {claim}\.\*\* (.+)$", text, re.MULTILINE)
        said = re.findall(r"\*(.+?)\*", line)
        assert said == [each.outcome for each in judge(claim, project)], f"Claim {claim}"


def test_all_records_of_the_project_can_be_used(project):
    assert project.problems == []


def test_the_summary_of_the_project_is_that_of_its_records(project, tmp_path):
    if not (RESULTS / "summary.csv").is_file():
        pytest.skip("results/summary.csv is not here")
    (path,) = report.write_everything(project, tmp_path, tmp_path)
    assert path.read_bytes() == (RESULTS / "summary.csv").read_bytes()


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "notebooks").glob("0*.py")), ids=lambda p: p.stem
)
def test_the_prose_of_the_notebooks_quotes_the_records(project, path):
    prose = "\n".join(line for line in path.read_text().splitlines() if line.startswith("# "))
    assert unsupported_numbers(prose, project) == []


SHOWN = {
    "02_train_lenet_with_attention": ("finding", "systems5"),
    "03_sweep_hyperparameters": ("table2", "table3", "table4"),
    "05_is_it_attention": ("controls", "moved", "answer"),
    "06_does_it_filter_noise": ("claim 9",),
}
"""Notebook -> what of `BLOCKS` is among its outputs, or a claim."""

TEXTS = {**report.BLOCKS, "claim 9": functools.partial(report.claim_text, 9)}


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


def test_the_verdicts_of_the_notebook_on_noise_are_those_of_the_records(project):
    path = CHECKOUT / "notebooks" / "06_does_it_filter_noise.ipynb"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    assert report.claim_text(9, project) in printed_markdown(path), (
        f"run: make notebooks ONLY={path}"
    )


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
    assert not [*tmp_path.rglob("summary.csv")]
    assert chosen.is_dir() == (damage != "absent")


def test_one_bad_record_is_one_line_and_the_rest_is_reported(results, capsys):
    record = make_record(seed=99)
    record["history"]["test_accuracy"][3] = "0.9"
    record_path(results, "table1", record["run_id"]).write_text(json.dumps(record))
    assert report_of(results) == 1
    printed = capsys.readouterr().out
    assert "98.99 ± 0.04" in printed
    assert "1 problem:" in printed
    assert printed.count(record["run_id"]) == 1


def test_a_terminal_of_another_encoding_gets_the_report(results):
    command = [sys.executable, "-m", "mnist_attention", "report", "--results", str(results)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert b"98.99 ? 0.04" in ran.stdout
