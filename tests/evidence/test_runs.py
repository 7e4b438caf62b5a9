"""Records by setting, checked and indexed once."""

import dataclasses
import functools
import hashlib
import itertools
import math
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_attention.evidence import report
from mnist_attention.evidence import runs as evidence
from mnist_attention.protocol import PAPER
from mnist_attention.records import record_path, record_text, write_record
from mnist_attention.storage.record_format import mnist_test_labels
from synthetic import make_record, make_runs

ROWS = list(dict.fromkeys(evidence.reported().row))


def test_the_paper_reports_22_numbers():
    reported = evidence.reported()
    assert len(reported) == 22
    assert reported.value_percent.between(79, 100).all()
    assert evidence.reported_value("LeNet+Attention") == 99.3
    assert evidence.reported_value("batch_size=48", "train_accuracy") == 95.9
    assert evidence.reported_value("batch_size=48") is None


def test_every_row_of_the_tables_stands_for_a_protocol():
    models = {row: changes["model"] for row, changes in evidence.NETWORKS.items() if changes}
    assert set(models.values()) == {"lenet5", "alexnet", "vgg16", "resnet50"}
    for row in ROWS:
        changes = {k: v for k, v in evidence.setting_of(row).items() if k != "model"}
        protocol = dataclasses.replace(PAPER, **changes)
        field = row.partition("=")[0]
        if "=" in row:
            assert f"{field}={getattr(protocol, field)}" == row
    assert evidence.setting_of("learning_rate=0.01") == {"learning_rate": PAPER.learning_rate}


@pytest.mark.parametrize("row", ["LeNet-7", "epochs=7", "seed=1", ""])
def test_a_row_that_no_table_has_is_refused(row):
    with pytest.raises(ValueError, match=f"Received: row='{row}'"):
        evidence.setting_of(row)


# Which records belong to a setting


def test_runs_of_one_setting_are_gathered_by_seed_and_diverged_ones_stay():
    records = [
        make_record(0.99, seed=2),
        make_record(0.098, seed=0, diverged=True, epochs_done=3),
        make_record(0.98, seed=1),
        make_record(0.5, model="lenet5"),
        make_record(0.5, learning_rate=0.1),
        make_record(0.5, epochs=150),
    ]
    runs = evidence.runs_of({}, records)
    assert [r["protocol"]["seed"] for r in runs.records] == [0, 1, 2]
    assert (runs.asked, runs.done, runs.diverged) == (100, 100, 1)
    assert runs.lack() is None
    assert evidence.sample(runs).mean == pytest.approx((9.8 + 98 + 99) / 3)
    assert evidence.sample(runs, "train_accuracy").mean == pytest.approx(99.5)


def test_other_digits_are_never_mixed_in():
    other_digits = make_runs([0.5, 0.5], dataset="uci", digest="u" * 64)
    other_mnist = make_runs([0.5], digest="x" * 64)
    nothing = evidence.runs_of({}, other_digits + other_mnist)
    assert nothing.records == ()
    assert nothing.lack() == "missing (3 runs on other digits)"
    runs = evidence.runs_of({}, other_digits + other_mnist + make_runs([0.99]))
    assert evidence.sample(runs).mean == 99
    assert evidence.runs_of({}, []).lack() == "missing"


def test_runs_that_were_cut_short_say_so():
    short = make_runs([0.9] * 3, epochs_done=2)
    short[1] = make_runs([0.95], epochs_done=20)[0]
    runs = evidence.runs_of({}, short)
    assert (runs.done, len(runs.records)) == (20, 1)
    assert runs.lack() == "20 of 100 epochs"
    whole = evidence.runs_of({}, short + make_runs([0.99] * 2))
    assert (whole.done, whole.lack()) == (100, "2 of at least 3 seeds")


def test_runs_that_ask_for_fewer_epochs_are_another_setting():
    assert evidence.runs_of({}, make_runs([0.9] * 3, epochs=50)).lack() == "missing"


def test_a_field_younger_than_the_record_has_its_default():
    record = make_record()
    del record["protocol"]["mask_activation"]
    assert len(evidence.runs_of({}, [record]).records) == 1
    assert len(evidence.runs_of({"mask_activation": "linear"}, [record]).records) == 0


def test_models_that_are_not_there_yet_are_found_once_their_records_are():
    records = make_runs([0.98] * 3, model="vgg16")
    assert evidence.runs_of(evidence.setting_of("VGG16"), []).lack() == "missing"
    assert evidence.runs_of(evidence.setting_of("VGG16"), records).lack() is None


def test_a_difference_is_paired_by_seed():
    first = [make_record(0.99, seed=s) for s in (3, 1, 2)]
    second = [make_record(0.98 + s / 1000, seed=s, model="lenet5") for s in (2, 3, 4)]
    runs = evidence.runs_of({}, first), evidence.runs_of({"model": "lenet5"}, second)
    paired = evidence.difference(*runs)
    assert paired.n == 2
    assert paired.mean == pytest.approx((0.8 + 0.7) / 2)


def test_runs_of_unequal_length_are_no_pairs():
    long = evidence.runs_of({}, make_runs([0.99] * 3))
    short = evidence.runs_of(
        {"model": "lenet5"}, make_runs([0.9] * 3, model="lenet5", epochs_done=5)
    )
    assert evidence.difference(long, short).n == 0
    assert evidence.difference(short, short).n == 3


# One index


def test_a_table_gives_what_its_records_give_and_is_built_once():
    records = make_runs([0.98, 0.99]) + make_runs([0.97], model="lenet5", epochs=20)
    table = evidence.RunTable(records)
    assert evidence.RunTable.of(table) is table
    assert table.runs({}) == evidence.runs_of({}, records) == evidence.runs_of({}, table)
    assert [*table] == records
    assert [*table.lengths({"model": "lenet5"})] == [20]
    assert table.lengths({"pooling": "average"}) == {}


def test_a_longer_run_stands_in_after_fewer_epochs_and_the_shortest_comes_first():
    long, short = make_record(0.99, epochs=150), make_record(0.98, epochs=100)
    long["history"]["test_accuracy"] = [epoch / 1000 for epoch in range(1, 151)]
    table = evidence.RunTable([long, short, make_record(0.9, seed=1, epochs=20)])
    assert table.after({}, 120) == pytest.approx({0: 12.0})
    assert table.after({}, 50) == pytest.approx({0: 98.0})
    assert table.after({}, 20) == pytest.approx({0: 98.0, 1: 90.0})
    assert table.after({}, 200) == {}


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path):
    write_record(make_record(), tmp_path, "table1")
    assert evidence.RunTable.read(tmp_path).problems == []
    (tmp_path / "table3").symlink_to(tmp_path / "unplugged disk")
    table = evidence.RunTable.read(tmp_path)
    assert len(table.records) == 1
    assert table.problems == [f"{tmp_path / 'table3'} cannot be read: No such file or directory"]


@pytest.mark.parametrize("folder", ["", "table1", "measurements"])
def test_a_folder_without_permission_is_a_problem(tmp_path, monkeypatch, folder):
    """Also where the tests run as root, who may read everything."""
    write_record(make_record(), tmp_path, "table1")
    (tmp_path / "measurements").mkdir()
    listdir = os.listdir

    def refusing(path):
        if Path(path) == tmp_path / folder:
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refusing)
    problems = evidence.RunTable.read(tmp_path).problems
    assert f"{tmp_path / folder} cannot be read: Permission denied" in problems


# Differences


def test_a_metric_may_be_unknown_of_some_runs():
    first, second = make_runs([0.99] * 3), make_runs([0.98] * 3, model="lenet5")
    del first[1]["history"]["test_accuracy"]
    runs = evidence.runs_of({}, first), evidence.runs_of({"model": "lenet5"}, second)
    after_20 = functools.partial(evidence.accuracy_after, epochs=20)
    found = evidence.differences(*runs, after_20)
    assert found == pytest.approx({0: 1.0, 1: math.nan, 2: 1.0}, nan_ok=True)
    assert evidence.difference(*runs, after_20).n == 2


def test_a_run_that_diverged_stays_at_its_last_accuracy():
    record = make_record(0.098, diverged=True, epochs_done=2)
    assert evidence.accuracy_after(record, 1) == pytest.approx(9.8)
    assert evidence.accuracy_after(record, 50) == pytest.approx(9.8)
    assert math.isnan(evidence.accuracy_after(make_record(epochs_done=2), 50))


@pytest.mark.slow
def test_5000_records_are_read_and_reported_in_linear_time(tmp_path, capsys):
    """Under 5 s of a core; ten times the records take less than twenty times as long."""

    (tmp_path / "table2").mkdir()

    def seconds(seeds: int) -> float:
        rates = [0.01 * 1.01**step for step in range(25)]
        for seed, rate in itertools.product(range(seeds), rates):
            record = make_record(round(0.97 + seed / 1e4, 4), seed=seed, learning_rate=rate)
            record_path(tmp_path, "table2", record["run_id"]).write_text(record_text(record))
        start = time.process_time()
        assert report.report(evidence.RunTable.read(tmp_path)) == 0
        return time.process_time() - start

    few, many = seconds(20), seconds(200)
    assert "5000 runs" in capsys.readouterr().out
    assert many < 5
    assert many < 20 * few


# Test labels that people doubt


def test_the_15_doubtful_images_are_found_in_mnist(mnist):
    errors = pd.read_csv(Path(evidence.__file__).with_name("test_label_errors.csv"))
    images = mnist.test_images[errors.index_here]
    assert [hashlib.sha256(image).hexdigest() for image in images] == [*errors.image_sha256]
    assert [*mnist.test_labels[errors.index_here]] == [*errors.given_label]
    corrected = evidence.corrected_labels()
    assert np.sum(corrected != mnist.test_labels) == 15
    assert np.sum(corrected == -1) == 5


def test_trained_nets_are_tested_by_mcnemar():
    labels = "".join(mnist_test_labels().astype(str))
    wrong = labels.translate(str.maketrans("0123456789", "1234567890"))
    right, nine, one = labels, wrong[:9] + labels[9:], labels[:9] + wrong[9] + labels[10:]
    found = [
        evidence.mcnemar({"test_predictions": first}, {"test_predictions": second})
        for first, second in ((right, nine), (one, nine), (nine, right), (nine, nine))
    ]
    assert [counts[:2] for counts in found] == [(9, 0), (9, 1), (0, 9), (0, 0)]
    # By hand, with 9 or 10 answers that differ.
    assert [p for *_, p in found] == pytest.approx([2 / 2**9, 22 / 2**10, 2 / 2**9, 1])
