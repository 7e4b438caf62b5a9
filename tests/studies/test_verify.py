"""``verify``: the records of the repository come out again, or not."""

import copy
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mnist_attention import Protocol, cli, train
from mnist_attention.records import write_record
from mnist_attention.studies import verify
from synthetic import make_runs

PROTOCOL = Protocol(dataset="uci", model="lenet5", epochs=1, learning_rate=0.1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder with three seeds of a setting, and a folder with seed 0 made again."""
    results, folder = (tmp_path_factory.mktemp(name) for name in ("results", "again"))
    records = [
        train(replace(PROTOCOL, seed=seed), results=results, study="table1", verbose=False)
        for seed in range(3)
    ]
    verify.verify(results, folder, protocols=[PROTOCOL], jobs=1, verbose=False)
    return results, folder, records


def run_command(results, folder, monkeypatch):
    monkeypatch.setattr(verify.verify, "__kwdefaults__", {
        **verify.verify.__kwdefaults__, "protocols": [PROTOCOL], "verbose": False,
    })  # fmt: skip
    options = ["--results", str(results), "--folder", str(folder), "--jobs", "1"]
    return CliRunner().invoke(cli.commands, ["verify", *options])


def test_a_run_that_comes_out_again_is_equal(made, monkeypatch):
    ran = run_command(made[0], made[1], monkeypatch)
    assert (ran.exit_code, ran.output) == (0, "lenet5, seed 0: equal, byte for byte\n")


def test_each_call_trains_again_but_for_an_interrupted_one(made, monkeypatch):
    (path,) = made[1].glob("verify/*.json")
    before = path.stat().st_mtime_ns
    assert run_command(made[0], made[1], monkeypatch).exit_code == 0
    again = path.stat().st_mtime_ns
    assert again > before
    path.unlink()  # as if it had been interrupted: its state is there
    (state,) = made[1].glob(".checkpoints/*/1.npz")
    saved = state.stat().st_mtime_ns
    assert run_command(made[0], made[1], monkeypatch).exit_code == 0
    assert state.stat().st_mtime_ns == saved


def test_the_folder_of_the_records_is_refused(made):
    with pytest.raises(ValueError, match="another folder than that of the records"):
        verify.verify(made[0], made[0], protocols=[PROTOCOL], jobs=1)


def test_a_run_far_from_the_recorded_ones_is_not_reproduced(made, tmp_path, monkeypatch):
    """The records say more than the training gives: 0.99 and a spread of a few images."""
    for seed, record in enumerate(copy.deepcopy(made[2])):
        record["result"]["test_accuracy"] = (355 + seed) / 360
        record["history"]["test_accuracy"] = [(355 + seed) / 360]
        write_record(record, tmp_path, "table1")
    ran = run_command(tmp_path, made[1], monkeypatch)
    assert ran.exit_code == 1
    assert "lenet5, seed 0: not reproduced: -" in ran.output


def test_without_records_nothing_is_reproduced(made, tmp_path, monkeypatch):
    ran = run_command(tmp_path, made[1], monkeypatch)
    assert ran.exit_code == 1
    assert "too few records" in ran.output


def test_another_trajectory_is_judged_by_the_spread_of_seeds():
    records = make_runs([0.990, 0.991, 0.992, 0.993])
    for accuracy, away, reproduced in [
        (0.9915, "+0.0", True),
        (0.995, "+2.7", True),
        (0.98, "-8.9", False),
    ]:
        (record,) = make_runs([accuracy])
        found, line = verify.compare(record, records)
        assert found is reproduced
        assert f" {away} standard deviations" in line
    assert verify.compare(records[0], records)[1].endswith("equal, byte for byte")
    assert not verify.compare(make_runs([0.99])[0], records[1:])[0]
    stuck = make_runs([0.1135] * 4)
    assert verify.compare({**stuck[0], "test_predictions": "another"}, stuck)[0]
