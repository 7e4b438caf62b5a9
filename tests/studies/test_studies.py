"""Studies: what is in them, which of their runs are made, and what becomes of failed ones."""

import shutil
from dataclasses import replace
from pathlib import Path

import joblib
import pytest
from click.testing import CliRunner

from mnist_attention import PAPER, Protocol, cli, train
from mnist_attention.evidence import ablations
from mnist_attention.evidence import runs as evidence
from mnist_attention.protocol import SHORT
from mnist_attention.records import (
    epochs_done,
    read_record,
    read_records,
    record_path,
    write_record,
)
from mnist_attention.storage import states
from mnist_attention.studies import catalogue, engines, options
from mnist_attention.studies import run as studies
from mnist_attention.studies.catalogue import STUDIES, study_protocols, study_runs
from mnist_attention.studies.options import RunOptions
from mnist_attention.studies.run import measure_studies, merge_records, run_study
from synthetic import make_record

# What is in them


def setting(protocol: Protocol) -> str:
    return evidence.setting_name({"protocol": vars(protocol)})


def test_the_papers_tables_vary_one_thing_each():
    for name, field, values in (
        ("table2", "learning_rate", [0.1, 0.01, 0.001]),
        ("table3", "batch_size", [48, 64, 96, 128, 256]),
        ("table4", "epochs", [50, 100, 150]),
    ):
        protocols = study_protocols(name)
        assert [getattr(protocol, field) for protocol in protocols] == values
        assert {replace(p, **{field: getattr(PAPER, field)}) for p in protocols} == {PAPER}


@pytest.mark.parametrize("name", STUDIES)
def test_no_study_repeats_itself_and_seeds_come_in_rounds(name):
    protocols = study_protocols(name, seeds=3)
    assert len(set(protocols)) == len(protocols) == 3 * len(study_protocols(name))
    assert [protocol.seed for protocol in protocols] == sorted(p.seed for p in protocols)


def test_assumptions_vary_one_factor_or_all_augmentation():
    for variation in study_protocols("assumptions"):
        base = PAPER if variation.epochs == PAPER.epochs else SHORT
        changed = {name for name, value in vars(variation).items() if value != getattr(base, name)}
        changed -= {"model"}  # LeNet alone, trained with the same options
        pairs = ({"flip", "shift"}, {"brightness", "shift"})  # no shift, or another jitter
        assert len(changed) == 1 or changed in pairs or variation == SHORT


def test_assumptions_measure_every_option_of_the_ablations_for_lenet():
    options = {
        replace(SHORT, **option.changes)
        for option in ablations.OPTIONS
        if not option.base and set(option.changes) != {"momentum", "learning_rate"}
    }
    asked = study_protocols("assumptions")
    assert {SHORT, *options} <= {run for run in asked if run.epochs == SHORT.epochs}
    assert {run.epochs for run in asked} == {SHORT.epochs, PAPER.epochs}
    ours = vars(SHORT)
    assert {name for option in asked for name in ours if vars(option)[name] != ours[name]} >= {
        *("mask_placement", "mask_channels", "mask_activation", "activation", "pooling"),
        *("flip", "shift", "momentum", "initializer", "weight_decay", "dense_layers", "canvas"),
        *("pixel_scale", "reshuffle", "brightness"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("variation", study_protocols("assumptions", epochs=1), ids=setting)
def test_every_assumption_can_be_trained(variation, small):
    record = train(replace(variation, dataset="uci"), dataset=small, verbose=False)
    assert not record["result"]["diverged"]


def test_epochs_can_be_set_for_all():
    assert {p.epochs for p in study_protocols("explain", epochs=7)} == {7}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: study_protocols("table9"), r"among table1, .*Received: name='table9'"),
        (lambda: study_protocols("smoke", seeds=0), "at least one seed"),
        (
            lambda: run_study("smoke", engine="slurm", results="r"),
            "engine among loky, dask, ray, lanes.*'slurm'",
        ),
        (lambda: run_study("smoke", jobs=0, results="r"), "at least one job"),
        (
            lambda: run_study("smoke", lowering="fft", results="r"),
            "lowering among grouped, patches",
        ),
        (lambda: run_study("smoke", checkpoint_every=0, results="r"), "at least 1.*every=0"),
        (lambda: run_study("smoke", deadline_minutes=0, results="r"), "deadline above 0.*=0"),
        (lambda: run_study("smoke", first_seed=-1, results="r"), "first_seed to be at least 0"),
        (
            lambda: run_study("table1", models=["alexnet", "lenet6"], results="r"),
            "models of the study table1: lenet5, .*svm.*'lenet6'",
        ),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_by_default_there_is_a_job_for_each_processor_that_may_be_used(monkeypatch, tmp_path):
    """In a container, or under Slurm, these are not all that the machine has."""
    monkeypatch.setattr(joblib, "cpu_count", lambda: 0)
    for run in (run_study, lambda *names, **options: measure_studies(names, **options)):
        with pytest.raises(ValueError, match="Received: jobs=0"):
            run("smoke", results=tmp_path)


def test_a_study_can_be_cut_to_some_models_and_seeds():
    chosen = {"first_seed": 3, "models": ("alexnet", "svm")}
    runs = study_runs("table1", 2, **chosen)
    assert [(run.model, run.seed) for run in runs] == [
        (model, seed) for seed in (3, 4) for model in ("alexnet", "alexnet", "svm")
    ]


# Running them


@pytest.mark.slow
def test_one_process_and_two_make_the_same_records(smoke, texts, tmp_path):
    run_study("smoke", results=tmp_path, jobs=1, verbose=False)
    assert texts(tmp_path) == texts(smoke)


@pytest.fixture
def finished(tmp_path, uci) -> Path:
    """The smoke study, finished as far as its records tell."""
    for protocol in study_protocols("smoke"):
        record = make_record(digest=uci.digest, **protocol.to_json())
        write_record(record, tmp_path, "smoke")
    return tmp_path


def test_finished_runs_are_skipped_also_those_of_other_studies(finished, monkeypatch):
    (finished / "elsewhere").mkdir()
    moved = sorted((finished / "smoke").glob("*.json"))[0]
    moved.rename(finished / "elsewhere" / moved.name)
    monkeypatch.setattr(studies, "make_network", lambda *_: pytest.fail("ran again"))
    outcome = run_study("smoke", results=finished, jobs=1, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})


@pytest.mark.slow
def test_a_damaged_record_is_made_again_and_no_other(smoke, texts, tmp_path):
    shutil.copytree(smoke / "smoke", tmp_path / "smoke")
    damaged, *sound = sorted((tmp_path / "smoke").glob("*.json"))
    damaged.write_text(damaged.read_text()[:99])
    before = [path.stat().st_mtime_ns for path in sound]
    outcome = run_study("smoke", results=tmp_path, jobs=1, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})
    assert texts(tmp_path) == texts(smoke)
    assert [path.stat().st_mtime_ns for path in sound] == before


def test_files_that_are_no_records_are_named_and_counted(finished):
    tmp_path = finished
    (tmp_path / "smoke" / "foreign.json").write_text('{"name": "package"}')
    (tmp_path / "stray.json").write_text("{}")
    command = ["study", "smoke", "--jobs", "1", "--results", str(tmp_path)]
    result = CliRunner().invoke(cli.commands, command)
    assert result.exit_code == 1
    assert "finished: 4 runs" in result.stdout
    assert f"no records, and skipped: 2 JSON files in {tmp_path}" in result.stderr
    skipped = [line for line in result.stderr.splitlines() if line.startswith("skipped: ")]
    assert [Path(line.split()[1]).name for line in skipped] == ["stray.json", "foreign.json"]


class Unforeseen(Exception):
    """As TensorFlow's own errors: of no class that Python has."""


def test_any_error_ends_a_chain_and_not_the_study(tmp_path):
    def make(run, _):
        if run.epochs > 2:
            raise Unforeseen("out of something")
        return {"run_id": "first"}

    short = study_protocols("smoke")[0]
    runs = short, replace(short, epochs=3), replace(short, epochs=4)
    options = RunOptions(study="smoke", results=tmp_path)
    _, records, errors = engines.run_chain(engines.Chain(runs, make), options)
    assert records == [{"run_id": "first"}]
    assert errors == dict.fromkeys(runs[1:], "Unforeseen: out of something")


@pytest.mark.slow
def test_a_run_that_fails_is_reported_and_the_rest_goes_on(smoke, tmp_path):
    blocked = sorted((smoke / "smoke").glob("*.json"))[0].name
    (tmp_path / "smoke" / blocked).mkdir(parents=True)  # a folder where the record belongs
    outcome = run_study("smoke", results=tmp_path, jobs=2, verbose=False)
    assert set(outcome.failed) >= {Path(blocked).stem}
    assert "Error" in outcome.failed[Path(blocked).stem]
    assert outcome.finished == 4 - len(outcome.failed)
    assert outcome.finished >= 2


@pytest.mark.parametrize("error", [MemoryError, ValueError])
def test_a_program_that_cannot_run_fails_alone(monkeypatch, tmp_path, error):
    lanes = pytest.importorskip("mnist_attention.studies.lanes")
    large, done, *others = study_protocols("table3", seeds=2)
    trained = []

    def train_program(group, _):
        trained.append(group)
        if large in group:
            raise error("too large")
        return dict.fromkeys(group)

    monkeypatch.setattr(lanes, "train_program", train_program)
    options = RunOptions(study="table3", results=tmp_path, engine="lanes")
    pending = [large, *(run for run in others if run.batch_size != done.batch_size)]
    bar = studies.tqdm(disable=True)
    failed = engines.run_lanes(options, [large, done, *others], pending, bar)
    together = [run for run in (large, *others) if run.batch_size == large.batch_size]
    assert failed == dict.fromkeys(together, f"{error.__name__}: too large")
    assert {run for group in trained for run in group} == {*pending}


def test_large_networks_have_a_program_each_and_lenets_share_one():
    lanes = pytest.importorskip("mnist_attention.studies.lanes")
    runs = study_protocols("table1", seeds=2, models=("lenet5", "lenet5_attention", "vgg16"))
    groups = lanes.by_program(runs)
    assert [len(group) for group in groups] == [2, 2, 1, 1, 1, 1]
    prefixes = lanes.by_program([replace(run, epochs=e) for run in runs[2:3] for e in (5, 9)])
    assert [len(group) for group in prefixes] == [2]


# Budgets count the seconds of this engine on this device


@pytest.mark.parametrize(
    ("made_by", "pending"),
    [
        ({"engine": "lanes", "device": "gpu"}, False),
        ({"engine": "lanes", "device": "gpu", "seconds_elsewhere": 500.0}, True),
        ({"engine": "lanes", "device": "cpu"}, True),
        ({"engine": "fit", "device": "cpu"}, True),
    ],
)
def test_a_budget_does_not_count_other_devices(tmp_path, monkeypatch, uci, made_by, pending):
    run = Protocol(dataset="uci", model="resnet18", epochs=9)
    monkeypatch.setitem(STUDIES, "mine", catalogue.Study("?", (run,)))
    monkeypatch.setattr(options, "device_of", lambda engine: "gpu")
    cut = make_record(digest=uci.digest, epochs_done=4, seconds=[150.0] * 4, **run.to_json())
    cut["environment"] |= made_by
    write_record(cut, tmp_path, "mine")
    asked = []

    def run_lanes(order, lanes, networks, bar):
        asked.extend((run, order.budget_of(run)) for run in networks)
        return {}

    monkeypatch.setattr(studies, "run_lanes", run_lanes)
    given = {"engine": "lanes", "budget_minutes": 8, "verbose": False}
    run_study("mine", results=tmp_path, **given)
    elsewhere = made_by.get("seconds_elsewhere", 600.0)
    assert asked == ([(run, 8 + elsewhere / 60)] if pending else [])


@pytest.mark.slow
def test_fit_goes_on_where_another_device_stopped_and_says_so(tmp_path, monkeypatch):
    run = Protocol(dataset="uci", model="lenet5", epochs=3)
    monkeypatch.setitem(STUDIES, "mine", catalogue.Study("?", (run,)))
    given = {"jobs": 1, "budget_minutes": 1e-6, "results": tmp_path, "verbose": False}
    assert run_study("mine", **given).cut_short == 1
    (path,) = tmp_path.glob("mine/*.json")
    record = read_record(path)
    record["environment"] |= {"engine": "lanes", "device": "gpu"}
    write_record(record, tmp_path, "mine")
    for _ in range(2):  # the second call knows which seconds were elsewhere
        assert run_study("mine", **given).cut_short == 1
        again = read_record(path)
        assert again["result"]["epochs"] == 2
        first = record["environment"]["epoch_seconds"][0]
        assert again["environment"]["seconds_elsewhere"] == first


@pytest.mark.slow
def test_a_budget_is_kept_where_the_state_of_another_device_is_gone(tmp_path, monkeypatch, uci):
    run = Protocol(dataset="uci", model="lenet5", epochs=3)
    monkeypatch.setitem(STUDIES, "mine", catalogue.Study("?", (run,)))
    cut = make_record(digest=uci.digest, epochs_done=2, seconds=[300.0] * 2, **run.to_json())
    cut["environment"] |= {"engine": "lanes", "device": "gpu"}
    write_record(cut, tmp_path, "mine")
    given = {"jobs": 1, "budget_minutes": 1e-6, "results": tmp_path, "verbose": False}
    outcome = run_study("mine", **given)
    assert (outcome.cut_short, outcome.failed) == (1, {})
    (path,) = tmp_path.glob(".checkpoints/*/*.npz")
    assert states.read_state(path, path.parent.name).epoch == 1
    (path,) = tmp_path.glob("mine/*.json")
    assert read_record(path)["result"]["epochs"] == 2  # the longer one stays


# Records of another folder


def test_merging_keeps_the_longer_record_and_refuses_damaged_ones(tmp_path, uci):
    here, there = tmp_path / "here", tmp_path / "there"

    def record(seed: int, epochs: int) -> dict:
        changes = {"dataset": "uci", "seed": seed, "epochs": 9}
        return make_record(digest=uci.digest, epochs_done=epochs, **changes)

    for folder, seed, epochs in (
        *((there, 0, 9), (here, 1, 3), (there, 1, 9), (here, 2, 9)),
        *((there, 2, 3), (there, 3, 9), (here, 4, 9)),
    ):
        write_record(record(seed, epochs), folder, "zoo")
    paths = [record_path(there, "zoo", record(seed, 9)["run_id"]) for seed in range(5)]
    paths[3].write_text(paths[3].read_text()[:99])
    kept = record_path(here, "zoo", paths[4].stem).read_bytes()

    result = CliRunner().invoke(cli.commands, ["merge", str(there), "--results", str(here)])
    assert result.exit_code == 1
    assert "copied: 2 records; not longer than those there: 1" in result.stdout
    (refused,) = result.stderr.splitlines()
    assert refused.startswith(f"refused: {paths[3]}")
    records, problems = read_records(here)
    assert problems == []
    assert {r["protocol"]["seed"]: epochs_done(r) for r in records} == {0: 9, 1: 9, 2: 9, 4: 9}
    assert record_path(here, "zoo", paths[4].stem).read_bytes() == kept
    assert record_path(here, "zoo", paths[0].stem).read_bytes() == paths[0].read_bytes()
    paths[3].unlink()
    assert merge_records(there, here) == (0, 3, [])
