"""Tables: ours beside the paper's, and no number without what qualifies it."""

import pandas as pd
import pytest

from mnist_attention.evidence import report, tables
from mnist_attention.evidence import runs as evidence
from synthetic import make_runs


def test_no_number_stands_without_what_qualifies_it():
    diverged = make_runs([0.098, 0.99, 0.99], learning_rate=0.1)
    diverged[0]["result"].update(diverged=True, epochs=1)
    table1 = tables.paper_table(make_runs([0.99]) + diverged, 1).set_index("network")
    assert table1["test, ours"]["LeNet+Attention"] == "99.00 (one run)"
    assert table1["test, ours"]["ResNet"] == "missing"
    assert list(table1.n[:5]) == ["0", "0", "0", "0", "1"]
    table2 = tables.paper_table(diverged, 2).set_index("learning rate")
    assert table2["test, ours"]["0.1"].endswith("(1 of 3 diverged)")


SHORT = [
    *make_runs([0.95, 0.96], epochs_done=2, model="vgg16"),
    *make_runs([0.97], epochs_done=3, model="resnet18"),
]


def test_runs_that_were_cut_short_stand_apart():
    table = tables.paper_table(SHORT + make_runs([0.99]), 1)
    above, below = table[: len(table) - 3], table[len(table) - 3 :]
    vgg16 = above.set_index("network").loc["VGG16"]
    assert (vgg16["test, paper"], vgg16["test, ours"], vgg16.n) == ("98.9", "not finished", "0")
    assert "not in the paper: another depth" not in set(above.network)
    assert list(below.network) == [tables.CUT_SHORT, "VGG16", "ResNet-18"]
    assert set(below["test, paper"]) == {""}
    assert list(below["test, ours"]) == ["", "95.50 ± 6.35", "97.00"]
    assert list(table.epochs) == [""] * (len(above) + 1) + ["2 of 100", "3 of 100"]
    systems = tables.systems_table(SHORT + make_runs([0.99]))
    assert list(systems.system[-3:]) == [tables.CUT_SHORT, "VGG16", "ResNet-18"]
    assert list(systems.epochs[-3:]) == ["", "2 of 100", "3 of 100"]
    assert systems.time.iloc[-1].endswith(" s an epoch")
    assert "VGG16" not in set(systems.system[:-3])


def test_the_five_systems_put_no_unfinished_number_beside_the_papers():
    records = SHORT + make_runs([0.98, 0.99])
    table = tables.systems5_table(records).set_index("system")
    assert list(table.index) == ["LeNet", "AlexNet", "VGG16", "ResNet", "LeNet+Attention"]
    assert list(table.paper) == ["97.7", "98.7", "98.9", "86.5", "99.3"]
    assert list(table.ours[:4]) == [
        "not run yet", "not run yet", "not finished: 2 of 100 epochs", "not run yet",
    ]  # fmt: skip
    assert table.ours["LeNet+Attention"].startswith("98.50 ± ")
    assert list(table.n) == ["", "", "", "", "2"]


def test_the_tables_have_the_papers_rows_and_numbers():
    networks = list(tables.paper_table([], 1)["network"])
    assert networks[:5] == ["LeNet", "AlexNet", "VGG16", "ResNet", "LeNet+Attention"]
    ours = networks[5:]
    assert [name for name in ours if name.startswith("not in")] == [
        f"not in the paper: {heading}" for heading in evidence.BEYOND
    ]
    assert {name for rows in evidence.BEYOND.values() for name in rows} < set(ours)
    assert list(tables.paper_table([], 2)["learning rate"]) == ["0.1", "0.01", "0.001"]
    table3 = tables.paper_table([], 3)
    assert list(table3["training, paper"]) == ["95.9", "98.2", "99.7", "99.7", "99.8"]
    assert set(table3["test, paper"]) == {"not reported"}
    table4 = tables.paper_table([], 4)
    assert list(table4["test, paper"]) == ["93.4", "99.3", "99.3"]
    assert set(table4["test, ours"]) == {"missing"}
    with pytest.raises(ValueError, match=r"from 1 to 4\. Received: number=5"):
        tables.paper_table([], 5)


def test_the_ablation_table_shows_effects_and_what_is_missing():
    records = make_runs([0.98, 0.981, 0.9815], epochs=20)
    records += make_runs([0.97, 0.969, 0.971], epochs=20, momentum=0.9)
    records += make_runs([0.1135] * 3, epochs=20, activation="sigmoid")
    records += make_runs([0.97], epochs=20, pooling="average")
    table = tables.ablation_table(records)
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


def test_the_differences_to_the_papers_numbers_are_signed():
    records = [
        *make_runs([0.97] * 3, model="lenet5"),
        *make_runs([0.97] * 3),
        *make_runs([0.97] * 3, learning_rate=0.1),
        *make_runs([0.97] * 3, learning_rate=0.001),
    ]
    table = tables.explain_table(records)
    assert list(table.setting) == ["our default", "our default", "94 % for everything"]
    assert list(table.epochs) == ["20", "100", ""]
    assert list(table["rate 0.001 (paper 79.8)"]) == ["+17.20", "+17.20", "+14.20"]
    assert list(table["50 epochs (paper 93.4)"]) == ["+3.60", "+3.60", "+0.60"]
    assert list(table["LeNet+Attention (paper 99.3)"]) == ["-2.30", "-2.30", "-5.30"]
    assert set(table.explains) == {"no"}
    for record in records:
        record["protocol"].update(activation="tanh", flip=False)
    assert tables.explain_table(records).setting[0] == "no flips, tanh units"
    assert tables.explain_text([]).startswith("No protocol was run for all of LeNet, ")


def test_the_mask_over_the_epochs_comes_from_the_histories():
    masked, plain = make_runs([0.99, 0.991, 0.992]), make_runs([0.98] * 3, model="lenet5")
    for record, early in zip(masked, (0.5, 0.51, 0.52), strict=True):
        record["history"]["test_accuracy"][19] = early
    table = tables.over_epochs_table(masked + plain).set_index("epochs")
    assert table.loc["20"].tolist() == ["-47.00 [-49.48, -44.52]", "p < 0.001", "3"]
    assert table["points [95 %]"]["100"].startswith("+1.10 [")
    assert (table.n["50"], table.p["50"]) == ("3", "p = 0.003")
    assert set(tables.over_epochs_table([])["points [95 %]"]) == {"missing"}


def test_markdown_by_hand():
    table = pd.DataFrame({"a": ["1.50", "x|y"], "b": ["±", ""]})
    assert tables.markdown(table) == "| a | b |\n| --- | --- |\n| 1.50 | ± |\n| x\\|y |  |"
