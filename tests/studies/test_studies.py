"""Studies: what is in them, and that they finish whatever happens to their processes."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import joblib
import pytest
from click.testing import CliRunner

from mnist_attention import PAPER, Protocol, cli, train
from mnist_attention.evidence import ablations
from mnist_attention.evidence import runs as evidence
from mnist_attention.protocol import SHORT
from mnist_attention.records import read_record, reproducible_text
from mnist_attention.studies import engines
from mnist_attention.studies.catalogue import STUDIES, study_protocols
from mnist_attention.studies.run import measure_studies, run_study
from waiting import wait_for


def texts(results: Path) -> dict[str, str]:
    """Run id -> what must be the same each time."""
    return {path.stem: reproducible_text(read_record(path)) for path in results.glob("*/*.json")}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Path:
    """The smoke study, finished by the default engine."""
    results = tmp_path_factory.mktemp("loky")
    outcome = run_study("smoke", results=results, jobs=2, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})
    return results


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
        changed -= {"model"}  # LeNet alone, trained alike
        assert len(changed) == 1 or changed == {"flip", "shift"} or variation == SHORT


def test_assumptions_measure_every_option_of_the_ledger_for_lenet():
    options = [
        replace(SHORT, **changes)
        for choice in ablations.CHOICES
        for changes in choice.options.values()
        if not choice.base
    ]
    asked = study_protocols("assumptions")
    assert {SHORT, *options} == {run for run in asked if run.epochs == SHORT.epochs}
    assert {run.epochs for run in asked} == {SHORT.epochs, PAPER.epochs}
    ours = vars(SHORT)
    assert {name for option in options for name in ours if vars(option)[name] != ours[name]} == {
        *("mask_placement", "mask_channels", "mask_activation", "activation", "pooling"),
        *("flip", "shift", "momentum", "initializer"),
    }


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
            "loky, dask, ray, lanes.*'slurm'",
        ),
        (lambda: run_study("smoke", jobs=0, results="r"), "at least one job"),
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


# Running them


def test_one_process_and_two_make_the_same_records(smoke, tmp_path):
    run_study("smoke", results=tmp_path, jobs=1, verbose=False)
    assert texts(tmp_path) == texts(smoke)


def test_finished_runs_are_skipped_also_those_of_other_studies(smoke, monkeypatch):
    (smoke / "elsewhere").mkdir()
    moved = sorted((smoke / "smoke").glob("*.json"))[0]
    moved = moved.rename(smoke / "elsewhere" / moved.name)
    monkeypatch.setattr(engines, "run_chain", lambda *args: pytest.fail("ran again"))
    outcome = run_study("smoke", results=smoke, jobs=1, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})
    moved.rename(smoke / "smoke" / moved.name)


def test_a_damaged_record_is_made_again_and_no_other(smoke, tmp_path):
    shutil.copytree(smoke / "smoke", tmp_path / "smoke")
    damaged, *sound = sorted((tmp_path / "smoke").glob("*.json"))
    damaged.write_text(damaged.read_text()[:99])
    before = [path.stat().st_mtime_ns for path in sound]
    outcome = run_study("smoke", results=tmp_path, jobs=1, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})
    assert texts(tmp_path) == texts(smoke)
    assert [path.stat().st_mtime_ns for path in sound] == before


def test_files_that_are_no_records_are_named_and_counted(smoke, tmp_path):
    shutil.copytree(smoke / "smoke", tmp_path / "smoke")
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


def test_any_error_ends_a_chain_and_not_the_study(monkeypatch, tmp_path):
    def fail(run, *_):
        if run.epochs > 2:
            raise Unforeseen("out of something")
        return {"run_id": "first"}

    monkeypatch.setattr(engines, "_make", fail)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    short = study_protocols("smoke")[0]
    chain = short, replace(short, epochs=3), replace(short, epochs=4)
    _, records, errors = engines.run_chain(chain, "smoke", str(tmp_path))
    assert records == [{"run_id": "first"}]
    assert errors == dict.fromkeys(chain[1:], "Unforeseen: out of something")


def test_a_run_that_fails_is_reported_and_the_rest_goes_on(smoke, tmp_path):
    blocked = sorted((smoke / "smoke").glob("*.json"))[0].name
    (tmp_path / "smoke" / blocked).mkdir(parents=True)  # a folder where the record belongs
    outcome = run_study("smoke", results=tmp_path, jobs=2, verbose=False)
    assert set(outcome.failed) >= {Path(blocked).stem}
    assert "Error" in outcome.failed[Path(blocked).stem]
    assert outcome.finished == 4 - len(outcome.failed)
    assert outcome.finished >= 2


def processes_named(name: bytes, parent: int | None = None) -> list[int]:
    """Processes with `name` in their command line, of that parent only if one is given."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if parent in (None, int(fields[1])) and name in command:
            found.append(int(entry.name))
    return found


def workers_of(parent: int) -> list[int]:
    """Processes that `parent` started and that train: the loky workers, not its tracker."""
    return processes_named(b"popen_loky", parent)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


PATIENCE = 600
"""Seconds after which a study counts as stuck; on an idle machine it takes less than a minute."""


@pytest.fixture
def start_study() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the smoke study in a terminal of its own; its environment says nothing of threads."""
    started = []

    def start(results: Path, *options: str, **environment: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "mnist_attention", "study", "smoke"]
        inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
        process = subprocess.Popen(
            [*command, "--results", str(results), *options],
            env=inherited | environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell in the background has its children ignore Ctrl-C; a terminal does not.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield start
    for process in started:  # of a test that failed: nothing of it may disturb the next
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@needs_proc
def test_a_killed_worker_costs_one_more_try(smoke, tmp_path, start_study):
    study = start_study(tmp_path, "--jobs", "2")
    wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.lock")])
    os.kill(wait_for(lambda: workers_of(study.pid))[0], signal.SIGKILL)
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "A process died; its run is tried once more." in errors
    assert "smoke: 100%" in errors
    assert "finished: 4 runs" in output
    assert texts(tmp_path) == texts(smoke)
    # Nothing in the environment says so: each worker sees to it.
    records = map(read_record, tmp_path.glob("smoke/*.json"))
    assert {record["environment"]["threads"] for record in records} == {1}


@needs_proc
@pytest.mark.parametrize("engine", ["loky", "dask"])
def test_a_run_that_kills_its_process_twice_is_reported(smoke, tmp_path, engine, start_study):
    """The culprit is killed whenever it is under way; the other trajectory must get through."""
    if engine == "dask":
        pytest.importorskip("distributed")
    study = start_study(tmp_path, "--jobs", "1", "--engine", engine)
    first = wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.lock")])[0].parent
    killer = threading.Thread(target=_kill_while, args=(study, first))
    killer.start()
    _, errors = study.communicate(timeout=PATIENCE)
    killer.join()
    assert study.returncode == 1
    assert errors.count("its process died 2 times") == 2
    assert "Traceback" not in errors
    done = texts(tmp_path)
    assert len(done) == 2
    assert done.items() <= texts(smoke).items()


def _kill_while(study: subprocess.Popen, folder: Path) -> None:
    """Kill every process that holds the lock of the run whose states are in `folder`."""
    while study.poll() is None:
        for process in processes_named(b"python"):
            with contextlib.suppress(OSError):
                held = [entry.readlink() for entry in Path(f"/proc/{process}/fd").iterdir()]
                if any(path.parent == folder for path in held):
                    os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


@needs_proc
def test_ctrl_c_leaves_everything_resumable(smoke, tmp_path, start_study):
    study = start_study(tmp_path, "--jobs", "1")
    wait_for(lambda: [*tmp_path.glob("smoke/*.json")])
    workers = workers_of(study.pid)
    os.killpg(study.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 130
    assert "The same command goes on" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{worker}/maps").exists() for worker in workers), 30)
    assert 1 <= len(texts(tmp_path)) < 4
    study = start_study(tmp_path, "--jobs", "2")
    output, errors = study.communicate(timeout=PATIENCE)
    assert "finished: 4 runs" in output, errors
    assert texts(tmp_path) == texts(smoke)


def test_on_dask_a_killed_worker_does_not_matter(smoke, tmp_path, start_study):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        address = cluster.scheduler_address
        study = start_study(tmp_path, "--engine", "dask", DASK_SCHEDULER_ADDRESS=address)
        wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    assert texts(tmp_path) == texts(smoke)


@needs_proc
def test_on_ray_a_killed_worker_does_not_matter(smoke, tmp_path, start_study):
    pytest.importorskip("ray")
    study = start_study(tmp_path, "--engine", "ray", "--jobs", "2")
    wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
    os.kill(processes_named(b"ray::run_chain")[0], signal.SIGKILL)
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    assert texts(tmp_path) == texts(smoke)


def test_a_program_too_large_for_the_device_fails_alone(monkeypatch, tmp_path):
    lanes = pytest.importorskip("mnist_attention.studies.lanes")
    large, done, *others = study_protocols("table3", seeds=2)
    trained = []

    def train_lanes(group, **_):
        trained.append(group)
        if large in group:
            raise MemoryError("too large")

    monkeypatch.setattr(lanes, "train_lanes", train_lanes)
    order = engines.Order("table3", tmp_path, "lanes", 1, None, False)
    pending = [large, *(run for run in others if run.batch_size != done.batch_size)]
    failed = engines.run_lanes(order, [large, done, *others], pending)
    together = [run for run in (large, *others) if run.batch_size == large.batch_size]
    assert failed == dict.fromkeys(together, "MemoryError: too large")
    assert {run for group in trained for run in group} == {*pending}


def test_lanes_finish_a_study_without_being_told_of_a_backend(
    smoke, tmp_path, monkeypatch, start_study
):
    pytest.importorskip("jax")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    study = start_study(tmp_path, "--engine", "lanes")
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    for path in tmp_path.glob("smoke/*.json"):
        record, fitted = read_record(path), read_record(smoke / "smoke" / path.name)
        assert record["environment"]["engine"] == "lanes"
        # Over 15 steps on all digits rounding already moves the maximum of some pooling window.
        losses = [run["history"]["loss"][0] for run in (record, fitted)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-3)
