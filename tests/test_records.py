import dataclasses
import json
import math
import os

import pytest

from mnist_attention.protocol import PAPER, Protocol, run_id
from mnist_attention.records import (
    read_record,
    read_records,
    record_path,
    record_text,
    reproducible_text,
    write_record,
)
from mnist_attention.storage.machine import describe_machine, describe_processor
from mnist_attention.storage.paths import CHECKOUT
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
        "no usable result.test_accuracy, result.epochs$",
    ),
    "unsized.json": (
        record_text({**make_record(), "run_id": "unsized", "dataset": {"digest": "d"}}).encode(),
        "no usable dataset.test_size, dataset.train_size$",
    ),
    "copy.json": (record_text(make_record()).encode(), "misplaced"),
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
    (tmp_path / "summary.csv").write_text("no record, and not said to be one")

    records, problems = read_records(tmp_path)
    assert sorted(map(record_text, records)) == sorted(map(record_text, good))
    named = (*BAD_FILES, "stray.json")
    assert len(problems) == len(named)
    assert all(any(name in problem for problem in problems) for name in named)


def test_a_run_in_two_studies_is_read_once_and_a_study_goes_before_a_run_by_hand(tmp_path):
    write_record(make_record(0.97), tmp_path, "single")
    write_record(make_record(0.99), tmp_path, "table1")
    write_record(make_record(0.99), tmp_path, "table4")
    (record,), problems = read_records(tmp_path)
    assert record["result"]["test_accuracy"] == 0.99
    assert record["environment"]["study"] == "table1"
    assert problems == []


def test_a_folder_that_is_empty_or_absent_holds_no_records(tmp_path):
    assert read_records(tmp_path) == ([], [])
    assert read_records(tmp_path / "absent") == ([], [])


def test_synthetic_records_are_named_like_real_ones():
    record, protocol = make_record(seed=7), dataclasses.replace(PAPER, seed=7)
    assert record["run_id"] == run_id(protocol, record["dataset"]["digest"])


def hashed_again(record: dict) -> str:
    """The run id, through the protocol that the record describes."""
    protocol, digest = record["protocol"], record["dataset"]["digest"]
    if protocol["model"] in classical.METHODS:
        fields = {name: protocol[name] for name in ("dataset", "model", "seed")}
        return classical.run_id(classical.ClassicalProtocol(**fields), digest)
    return run_id(Protocol(**protocol), digest)


def test_every_committed_record_has_the_id_of_its_protocol():
    paths = [*(CHECKOUT / "results").glob("*/*.json")]
    assert len(paths) > 300
    records = {path: json.loads(path.read_text()) for path in paths}
    assert [p for p, r in records.items() if not p.stem == r["run_id"] == hashed_again(r)] == []


def test_the_processor_is_described(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse avx2 fma avx512f\n")
    assert describe_processor(cpuinfo) == {
        "processor": "Some CPU @ 2 GHz",
        "vector_instructions": ["avx2", "fma", "avx512f"],
    }
    assert describe_processor(tmp_path / "none")["vector_instructions"] is None
    assert describe_processor().items() <= describe_machine().items()
