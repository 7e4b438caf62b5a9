import dataclasses
import json
import math
import os

import pytest

from mnist_attention.protocol import PAPER, Protocol
from mnist_attention.records import (
    MEASUREMENTS,
    read_record,
    read_records,
    record_path,
    record_text,
    reproducible_text,
    write_record,
)
from mnist_attention.storage.machine import describe_machine, describe_processor
from mnist_attention.storage.paths import CHECKOUT
from mnist_attention.storage.record_format import mnist_test_labels
from mnist_attention.studies import classical
from synthetic import make_record


def test_text_is_sorted_with_one_metric_a_line_and_reads_back():
    record = make_record(0.987, epochs_done=3)
    lines = record_text(record).splitlines()
    assert '    "test_accuracy": 0.987,' in lines
    assert '    "accuracy": [0.985, 0.985, 0.985],' in lines
    keys = [line.split('"')[1] for line in lines if line.startswith('  "')]
    assert keys == sorted(record)
    assert json.loads(record_text(record)) == record
    shuffled = dict(reversed(record.items()))
    assert record_text(shuffled) == record_text(record)


def test_values_that_json_does_not_know_become_null():
    record = make_record()
    record["history"] = {"loss": [2.3, math.nan], "accuracy": (math.inf, 0.1)}
    assert json.loads(record_text(record))["history"] == {
        "loss": [2.3, None],
        "accuracy": [None, 0.1],
    }
    assert "NaN" not in record_text(record)


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    old, new = make_record(0.98), make_record(0.99)
    path = write_record(old, tmp_path, "table1")
    assert path == record_path(tmp_path, "table1", old["run_id"])

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_record(new, tmp_path, "table1")
    monkeypatch.undo()
    assert read_record(path) == old
    assert list(path.parent.iterdir()) == [path]
    write_record(new, tmp_path, "table1")
    assert read_record(path) == new


def test_the_reproducible_part_is_all_but_the_environment():
    here, there = make_record(seconds=[1.0]), make_record(seconds=[2.0])
    assert record_text(here) != record_text(there)
    assert reproducible_text(here) == reproducible_text(there)
    assert reproducible_text(here) != reproducible_text(make_record(0.5))


WORDS = {"test_accuracy": "99.3 %", "train_accuracy": 0.99, "epochs": "all"}

BAD_FILES = {
    "truncated.json": (record_text(make_record())[:-9].encode(), "damaged"),
    "empty.json": (b"", "damaged"),
    "binary.json": (b"\xff\xfe\x00", "damaged"),
    "foreign.json": (b'{"name": "package"}', "no record: it has no usable dataset, environment"),
    "list.json": (b"[1, 2]", "no record"),
    "hollow.json": (
        record_text({**make_record(), "run_id": "hollow", "result": {"epochs": 3}}).encode(),
        "no usable result.test_accuracy, result.train_accuracy",
    ),
    "flat.json": (
        record_text({**make_record(), "run_id": "flat", "protocol": "paper"}).encode(),
        "no usable protocol",
    ),
    "words.json": (
        record_text({**make_record(), "run_id": "words", "result": WORDS}).encode(),
        "no usable result.epochs, result.test_accuracy$",
    ),
    "unsized.json": (
        record_text({**make_record(), "run_id": "unsized", "dataset": {"digest": "d"}}).encode(),
        "no usable dataset.name, dataset.test_size, dataset.train_size$",
    ),
    "copy.json": (record_text(make_record()).encode(), "misplaced"),
    "deep.json": (b"[" * 200_000, "damaged"),
    "nan.json": (b'{"run_id": NaN}', "damaged: NaN is no number of JSON"),
    "long.json": (b'{"run_id": 1' + b"0" * 5_000 + b"}", "damaged"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_record_is_named(tmp_path, name):
    content, reason = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason) as refused:
        read_record(tmp_path / name)
    assert str(tmp_path / name) in str(refused.value)


def test_all_records_are_read_and_the_rest_is_skipped_and_counted(tmp_path):
    good = [make_record(seed=seed) for seed in range(2)]
    for record in good:
        write_record(record, tmp_path, "table1")
    for name, (content, _) in BAD_FILES.items():
        (tmp_path / "table1" / name).write_bytes(content)
    (tmp_path / ".checkpoints").mkdir()
    (tmp_path / ".checkpoints" / "state.json").write_text("{}")
    (tmp_path / "table1" / ".half-written.json").write_text("{")
    (tmp_path / "stray.json").write_text(record_text(good[0]))
    (tmp_path / "notes.csv").write_text("no record, and not said to be one")

    records, problems = read_records(tmp_path)
    assert sorted(map(record_text, records)) == sorted(map(record_text, good))
    named = (*BAD_FILES, "stray.json")
    assert len(problems) == len(named)
    assert all(any(name in problem for problem in problems) for name in named)


def edited(**changes) -> dict:
    """A record in which `part__name` has another value than when it was made."""
    record = make_record(0.99)
    for name, value in changes.items():
        part, _, key = name.partition("__")
        record[part] = {**record[part], key: value} if key else value
    return record


EDITS = {
    "a better accuracy": (edited(result__test_accuracy=0.9999), "test_accuracy 0.99, the last"),
    "threads in words": (edited(environment__threads="1"), "environment.threads"),
    "an accuracy above 1": (edited(result__test_accuracy=17.3), "count of 10000 images"),
    "an accuracy of no image": (edited(result__train_accuracy=0.123456789), "count of 60000"),
    "no accuracy": (edited(result__test_accuracy=None), "no usable result.test_accuracy"),
    "a better accuracy and history": (
        edited(result__test_accuracy=0.9999, history__test_accuracy=[0.9999] * 100),
        "test_accuracy 0.99, that of its test_predictions",
    ),
    "other predictions": (
        edited(test_predictions=make_record(0.5)["test_predictions"]),
        "test_accuracy 0.5, that of its test_predictions",
    ),
    "few predictions": (edited(test_predictions="0123456789"), "10000 digits: test_predictions"),
    "predictions as a list": (edited(test_predictions=[1]), "10000 digits: test_predictions"),
    "another model": (edited(protocol__model="lenet5"), "run_id '.*', the hash of its protocol"),
    "another seed": (edited(protocol__seed=1), "run_id '.*', the hash of its protocol"),
    "another number for a seed": (edited(protocol__seed=0.0), "no usable protocol.seed"),
    "a word for a rate": (edited(protocol__learning_rate="0.01"), "learning_rate to be float"),
    "other digits": (edited(dataset__digest="d"), "run_id '.*', the hash of its protocol"),
    "the name of other digits": (edited(dataset__name="uci"), "dataset of its protocol, 'mnist'"),
    "more epochs than asked for": (edited(result__epochs=101), "0 to 100 epochs. Received: 101"),
    "fewer epochs than its history": (edited(result__epochs=99), "99 numbers: history"),
    "a word in the history": (edited(history__accuracy=["x"] * 100), "numbers: history.accuracy"),
    "divergence": (
        edited(history__loss=[0.1] * 100, result__diverged=True), "diverged=False. Received: True",
    ),
    "a word for a time": (edited(environment__epoch_seconds=["x"]), "epoch_seconds"),
    "an unknown field": (edited(remark="good"), "unknown fields: remark$"),
    "unknown fields of parts": (
        edited(result__f1=0.9, protocol__x=0.5), "unknown fields: protocol.x, result.f1$"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_record_is_one_line_of_the_report(tmp_path, name):
    record, reason = EDITS[name]
    path = record_path(tmp_path, "table1", record["run_id"])
    write_record(make_record(0.99, seed=5), tmp_path, "table1")
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"{path} is no record: .*{reason}"):
        read_record(path)
    (other,), (problem,) = read_records(tmp_path)
    assert other["protocol"]["seed"] == 5
    assert str(path) in problem


def test_records_of_other_digits_and_of_networks_to_come_are_read(tmp_path):
    for record in (make_record(0.9, dataset="uci", digest="u"), make_record(0.9, model="lenet6")):
        assert read_record(write_record(record, tmp_path, "table1")) == record


def test_a_record_of_a_run_that_diverged_is_read(tmp_path):
    record = make_record(0.098, diverged=True, epochs_done=2)
    record["history"]["loss"] = [2.3, math.nan]
    assert read_record(write_record(record, tmp_path, "table1"))["result"]["diverged"]


def test_a_run_in_two_folders_is_read_once_and_copies_are_reported(tmp_path):
    for study in ("single", "table1", "table4"):
        path = write_record(make_record(0.99), tmp_path, study)
    (record,), (problem,) = read_records(tmp_path)
    assert record["environment"]["study"] == "table1"
    assert problem == f"{path} is a copy of the record in table1"


def test_two_records_of_the_same_run_are_reported(tmp_path):
    write_record(make_record(0.99), tmp_path, "table1")
    path = write_record(make_record(0.97), tmp_path, "single")
    (record,), (problem,) = read_records(tmp_path)
    assert record["result"]["test_accuracy"] == 0.99
    assert problem == f"{path} is another record of the run in table1"


def test_the_longer_of_two_records_of_a_run_is_read(tmp_path):
    write_record(make_record(0.97, epochs_done=3), tmp_path, "table1")
    write_record(make_record(0.99), tmp_path, "zoo")
    (record,), problems = read_records(tmp_path)
    assert (record["result"]["epochs"], problems) == (100, [])


def test_words_in_a_measurement_are_one_line_of_the_report(tmp_path):
    name = make_record()["run_id"]
    measured = {"conditions": {"clean": {"ink_auroc": "high"}}}
    write_record({"run_id": name, "measured": measured}, tmp_path, "measurements")
    assert "is no measurement" in read_records(tmp_path)[1][0]


def test_a_folder_that_is_empty_or_absent_holds_no_records(tmp_path):
    assert read_records(tmp_path) == ([], [])
    assert read_records(tmp_path / "absent") == ([], [])


def test_synthetic_records_are_named_like_real_ones():
    record, protocol = make_record(seed=7), dataclasses.replace(PAPER, seed=7)
    assert record["run_id"] == protocol.run_id(record["dataset"]["digest"])


def hashed_again(record: dict) -> str:
    """The run id, through the protocol that the record describes."""
    protocol, digest = record["protocol"], record["dataset"]["digest"]
    if protocol["model"] in classical.METHODS:
        fields = {name: protocol[name] for name in ("dataset", "model", "seed")}
        return classical.ClassicalProtocol(**fields).run_id(digest)
    return Protocol(**protocol).run_id(digest)


def test_every_committed_record_is_read_and_has_the_id_of_its_protocol():
    paths = (CHECKOUT / "results").glob("*/*.json")
    paths = {path.stem for path in paths if path.parent.name != MEASUREMENTS}
    records, problems = read_records(CHECKOUT / "results")
    assert len(records) > 300
    assert ({record["run_id"] for record in records}, problems) == (paths, [])
    assert [r["run_id"] for r in records if r["run_id"] != hashed_again(r)] == []


def test_the_known_labels_are_those_of_mnist(mnist):
    assert (mnist_test_labels().astype(int) == mnist.test_labels).all()


def test_the_processor_is_described(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse avx2 fma avx512f\n")
    assert describe_processor(cpuinfo) == {
        "processor": "Some CPU @ 2 GHz",
        "vector_instructions": ["avx2", "fma", "avx512f"],
    }
    assert describe_processor(tmp_path / "none")["vector_instructions"] is None
    assert describe_processor().items() <= describe_machine().items()
