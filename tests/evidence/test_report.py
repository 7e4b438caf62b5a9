import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mnist_attention import cli
from mnist_attention.evidence import report
from mnist_attention.evidence import runs as evidence
from mnist_attention.records import read_records, write_record
from mnist_attention.storage.paths import CHECKOUT, RESULTS
from synthetic import make_record, make_runs


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


def test_the_report_prints_tables_verdicts_and_cost(results, capsys):
    assert report.report(results) == 0
    printed = capsys.readouterr().out
    for expected in (
        "Table 1.", "Table 4.", "98.99 ± 0.04", "97.7", "missing",
        "95.00 (one run, 2 of 100 epochs)",
        "C3  the mask is worth +1.6 points\n    not reproduced: +0.00 points",
        "What the paper leaves open", "Protocols nearest to the paper's numbers",
        "C11", "core-hours", "22 runs, of which 1 on other digits than MNIST.",
    ):  # fmt: skip
        assert expected in printed


def test_damaged_files_are_named_and_counted(results, capsys):
    (results / "table1" / "broken.json").write_text('{"run_id": ')
    (results / "table1" / "package.json").write_text("{}")
    assert report.report(results) == 1
    printed = capsys.readouterr().out
    assert "2 files skipped:" in printed
    assert "broken.json is damaged" in printed
    assert "package.json is no record" in printed
    assert "98.99 ± 0.04" in printed


def test_a_folder_that_is_not_there_is_said_to_be_so(tmp_path, capsys):
    assert report.report(tmp_path / "absent") == 1
    assert "absent is no folder" in capsys.readouterr().out
    assert report.report(tmp_path) == 0


def test_reading_takes_no_tensorflow(tmp_path):
    for seed in range(3):
        write_record(make_record(seed=seed), tmp_path, "table1")
    code = (
        "import sys; from pathlib import Path; from mnist_attention.evidence.report import report\n"
        "assert report(Path(sys.argv[1])) == 0\n"
        "print(*{'tensorflow', 'keras', 'jax', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == ""


def test_no_number_stands_without_what_qualifies_it():
    short = make_runs([0.95, 0.96], epochs_done=2, model="vgg16")
    diverged = make_runs([0.098, 0.99, 0.99], learning_rate=0.1)
    diverged[0]["result"].update(diverged=True, epochs=1)
    table1 = report.paper_table(short + make_runs([0.99]) + diverged, 1).set_index("network")
    assert table1["test, ours"]["VGG16"].endswith("(2 of 100 epochs)")
    assert table1["test, ours"]["LeNet+Attention"] == "99.00 (one run)"
    assert table1["test, ours"]["ResNet"] == "missing"
    assert list(table1.n[:5]) == ["0", "0", "2", "0", "1"]
    table2 = report.paper_table(diverged, 2).set_index("learning rate")
    assert table2["test, ours"]["0.1"].endswith("(1 of 3 diverged)")


def test_the_tables_have_the_papers_rows_and_numbers():
    networks = list(report.paper_table([], 1)["network"])
    assert networks[:5] == ["LeNet", "AlexNet", "VGG16", "ResNet", "LeNet+Attention"]
    ours = networks[5:]
    assert [name for name in ours if name.startswith("—")] == [
        f"— not in the paper: {heading} —" for heading in evidence.BEYOND
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


def test_the_ledger_shows_effects_and_what_is_missing():
    records = make_runs([0.98, 0.981, 0.9815], epochs=20)
    records += make_runs([0.97, 0.969, 0.971], epochs=20, momentum=0.9)
    records += make_runs([0.1135] * 3, epochs=20, activation="sigmoid")
    records += make_runs([0.97], epochs=20, pooling="average")
    table = report.ledger_table(records).set_index("option")
    shown = table["effect in points [95 %]"]
    assert shown["0.9"].startswith("-1.08 [")
    assert shown["sigmoid"].endswith("] (3 of 3 guess)")
    assert shown["average"] == "1 of at least 3 seeds"
    assert shown["softmax"] == "missing"
    assert table["accuracy with it"].loc[["0.9", "average", "softmax"]].tolist() == [
        "97.00",
        "",
        "",
    ]
    assert float(table["smallest detectable"]["0.9"]) > 0


def test_the_nearest_protocols_stand_below_the_papers_numbers():
    records = [
        *make_runs([0.97] * 3, model="lenet5"),
        *make_runs([0.97] * 3),
        *make_runs([0.97] * 3, learning_rate=0.1),
        *make_runs([0.97] * 3, learning_rate=0.001),
    ]
    table = report.nearest_table(records)
    assert list(table.setting) == ["the paper says", "as read here", "as read here"]
    assert list(table["learning_rate=0.001"]) == ["79.80", "97.00", "97.00"]
    assert table["errors off by"].iloc[0] == ""
    assert report.nearest_text([]).startswith("No protocol was run for all of LeNet, ")


def test_markdown_by_hand():
    table = pd.DataFrame({"a": ["1.50", "x|y"], "b": ["±", ""]})
    assert report.markdown(table) == "| a | b |\n| --- | --- |\n| 1.50 | ± |\n| x\\|y |  |"


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
    assert "**Not yet tested**: LeNet+Attention: 1 of at least 3 seeds" in rendered
    assert rendered.startswith("# Title\n<!-- table1:begin -->\n\n| network |")
    assert "<!-- table1:end -->\nprose <!-- finding:begin -->" in rendered
    assert report.render_blocks(rendered, records) == rendered
    one_digit_changed = rendered.replace("99.50", "99.60")
    assert report.render_blocks(one_digit_changed, records) == rendered


def test_every_block_can_be_rendered_from_nothing_and_from_records(results):
    text = "".join(f"<!-- {name}:begin --><!-- {name}:end -->\n" for name in report.BLOCKS)
    assert "missing" in report.render_blocks(text, [])
    assert "98.99 ± 0.04" in report.render_blocks(text, read_records(results)[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!-- table9:begin --><!-- table9:end -->", "Expected blocks among table1, .*'table9'"),
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


def test_the_summary_is_the_same_bytes_for_the_same_records(results, tmp_path):
    records, _ = read_records(results)
    paths = tmp_path / "one.csv", tmp_path / "two.csv"
    report.write_summary(records, paths[0])
    report.write_summary(records[::-1], paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    summary = pd.read_csv(paths[0])
    assert list(summary.n) == [10, 10, 1, 1]
    lenet = summary[summary.model == "lenet5"].iloc[0]
    assert (lenet.setting, lenet.epochs) == ("as read here", 100)
    assert lenet.test_accuracy_mean == pytest.approx(98.99)
    assert summary.test_accuracy_low.isna().sum() == 2


def test_writing_everything_rewrites_readme_and_summary(results, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text(TEXT)
    written = report.write_everything(results, folder)
    assert written == [results / "summary.csv", folder / "README.md"]
    assert "98.99 ± 0.04" in (folder / "README.md").read_text()


def test_files_of_another_project_stay_as_they_are(results, tmp_path):
    foreign = "\ufeff# Déjà vu\r\nno blocks\r\n".encode()
    (tmp_path / "README.md").write_bytes(foreign)
    assert report.write_everything(results, tmp_path) == [results / "summary.csv"]
    assert (tmp_path / "README.md").read_bytes() == foreign


def test_nothing_is_written_where_a_block_is_unknown(results, tmp_path):
    (tmp_path / "README.md").write_text(TEXT)
    (tmp_path / "REPORT.md").write_text("<!-- toc:begin --> <!-- toc:end -->")
    with pytest.raises(ValueError, match="Expected blocks among"):
        report.write_everything(results, tmp_path)
    assert not (results / "summary.csv").exists()
    assert (tmp_path / "README.md").read_text() == TEXT


def test_numbers_in_prose_that_nothing_gives_are_found():
    records = make_runs([0.99])
    prose = "The paper says 97.7 %; the mask gives 99.00% here, one run was 99.77 % in 2012."
    assert report.unsupported_numbers(prose, records) == []
    wrong = "It gives 99.10 %, that is +1.62 points, or 98.4%, at rate 0.05 and with 3 seeds."
    assert report.unsupported_numbers(wrong, records) == ["99.10 %", "+1.62 points", "98.4%"]


@pytest.mark.parametrize("name", report.GENERATED)
def test_the_numbers_of_the_project_are_those_of_its_records(name):
    path = CHECKOUT / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    text = path.read_text()
    records, problems = read_records(RESULTS)
    assert not problems
    assert report.render_blocks(text, records) == text, "run: mnist-attention report --write"
    assert report.unsupported_numbers(text, records) == []


def test_the_summary_of_the_project_is_that_of_its_records(tmp_path):
    if not (RESULTS / "summary.csv").is_file():
        pytest.skip("results/summary.csv is not here")
    report.write_summary(read_records(RESULTS)[0], tmp_path / "summary.csv")
    assert (tmp_path / "summary.csv").read_bytes() == (RESULTS / "summary.csv").read_bytes()


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "notebooks").glob("0*.py")), ids=lambda p: p.stem
)
def test_the_prose_of_the_notebooks_quotes_the_records(path):
    prose = "\n".join(line for line in path.read_text().splitlines() if line.startswith("# "))
    assert report.unsupported_numbers(prose, read_records(RESULTS)[0]) == []


SHOWN = {
    "02_train_lenet_with_attention": ("table1", "finding", "systems"),
    "03_sweep_hyperparameters": ("table2", "table3", "table4"),
    "05_is_it_attention": ("controls", "moved", "answer"),
    "06_does_it_filter_noise": ("noise", "controls_on_noise"),
}
"""Notebook -> what of `BLOCKS` is among its outputs."""


def printed_markdown(path: Path) -> str:
    outputs = [
        output
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", ())
    ]
    return "\n".join("".join(o.get("data", {}).get("text/markdown", "")) for o in outputs)


@pytest.mark.parametrize("name", SHOWN)
def test_the_outputs_of_the_notebooks_are_those_of_the_records(name):
    path = CHECKOUT / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    printed, records = printed_markdown(path), read_records(RESULTS)[0]
    stale = [block for block in SHOWN[name] if report.BLOCKS[block](records) not in printed]
    assert stale == [], f"run: make notebooks ONLY=notebooks/{name}.py"


@pytest.mark.parametrize("damage", ["absent", "empty", "damaged"])
def test_nothing_is_written_from_a_folder_without_records_or_with_a_damaged_one(
    results, tmp_path, monkeypatch, capsys, damage
):
    chosen = {"absent": tmp_path / "typo", "empty": tmp_path / "empty"}.get(damage, results)
    (tmp_path / "empty").mkdir()
    (tmp_path / "README.md").write_text(TEXT)
    if damage == "damaged":
        (results / "table1" / "broken.json").write_text("{")
    # Should it write after all, then not into the project.
    monkeypatch.setattr(report.write_everything, "__defaults__", (tmp_path,))
    with pytest.raises(ValueError, match=rf"records, .* in {chosen}\. Received: .*(none|broken)"):
        report.write_everything(chosen, tmp_path)
    monkeypatch.setattr(sys, "argv", ["", "report", "--results", str(chosen), "--write"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "Error: Expected records" in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text() == TEXT
    assert not [*tmp_path.rglob("summary.csv")]
    assert chosen.is_dir() == (damage != "absent")
