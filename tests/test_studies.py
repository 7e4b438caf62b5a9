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
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_attention import PAPER, studies
from mnist_attention.records import read_record, reproducible_text
from mnist_attention.studies import STUDIES, run_study, study_protocols


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
    base, *variations = study_protocols("assumptions")
    for variation in variations:
        changed = {name for name, value in vars(variation).items() if value != getattr(base, name)}
        assert len(changed) == 1 or changed == {"flip", "shift"}


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


# Running them


def test_one_process_and_two_make_the_same_records(smoke, tmp_path):
    run_study("smoke", results=tmp_path, jobs=1, verbose=False)
    assert texts(tmp_path) == texts(smoke)


def test_finished_runs_are_skipped_also_those_of_other_studies(smoke, monkeypatch):
    (smoke / "elsewhere").mkdir()
    moved = sorted((smoke / "smoke").glob("*.json"))[0]
    moved = moved.rename(smoke / "elsewhere" / moved.name)
    monkeypatch.setattr(studies, "_run_chain", lambda *args: pytest.fail("ran again"))
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


def start_study(results: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mnist_attention", "study", "smoke", "--results", str(results)]
    return subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background has its children ignore Ctrl-C; a terminal does not.
        preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition, seconds: float = 120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@needs_proc
def test_a_killed_worker_costs_one_more_try(smoke, tmp_path):
    study = start_study(tmp_path, "--jobs", "2")
    wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.lock")])
    os.kill(wait_for(lambda: workers_of(study.pid))[0], signal.SIGKILL)
    output, errors = study.communicate(timeout=200)
    assert study.returncode == 0, errors
    assert "A process died; its run is tried once more." in errors
    assert "4 runs are finished" in output
    assert texts(tmp_path) == texts(smoke)


@needs_proc
def test_a_run_that_kills_its_process_twice_is_reported(smoke, tmp_path):
    """The culprit is killed whenever it is under way; the other trajectory must get through."""
    study = start_study(tmp_path, "--jobs", "1")
    first = wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.lock")])[0].parent
    killer = threading.Thread(target=_kill_while, args=(study, first))
    killer.start()
    _, errors = study.communicate(timeout=200)
    killer.join()
    assert study.returncode == 1
    assert errors.count("its process died twice") == 2
    done = texts(tmp_path)
    assert len(done) == 2
    assert done.items() <= texts(smoke).items()


def _kill_while(study: subprocess.Popen, folder: Path) -> None:
    """Kill every worker that holds the lock of the run whose states are in `folder`."""
    while study.poll() is None:
        for worker in workers_of(study.pid):
            with contextlib.suppress(OSError):
                held = [entry.readlink() for entry in Path(f"/proc/{worker}/fd").iterdir()]
                if any(path.parent == folder for path in held):
                    os.kill(worker, signal.SIGKILL)
        time.sleep(0.05)


@needs_proc
def test_ctrl_c_leaves_everything_resumable(smoke, tmp_path):
    study = start_study(tmp_path, "--jobs", "1")
    wait_for(lambda: [*tmp_path.glob("smoke/*.json")])
    workers = workers_of(study.pid)
    study.send_signal(signal.SIGINT)
    _, errors = study.communicate(timeout=60)
    assert study.returncode == 130
    assert "The same command goes on" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not any(Path(f"/proc/{worker}/maps").exists() for worker in workers), 30)
    assert 1 <= len(texts(tmp_path)) < 4
    study = start_study(tmp_path, "--jobs", "2")
    output, errors = study.communicate(timeout=200)
    assert "4 runs are finished" in output, errors
    assert texts(tmp_path) == texts(smoke)


def test_on_dask_a_killed_worker_does_not_matter(smoke, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        environment = {**os.environ, "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address}
        command = [sys.executable, "-m", "mnist_attention", "study", "smoke", "--engine", "dask"]
        study = subprocess.Popen(
            [*command, "--jobs", "2", "--results", str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        output, errors = study.communicate(timeout=200)
    assert study.returncode == 0, errors
    assert "4 runs are finished" in output
    assert texts(tmp_path) == texts(smoke)


@needs_proc
def test_on_ray_a_killed_worker_does_not_matter(smoke, tmp_path):
    pytest.importorskip("ray")
    study = start_study(tmp_path, "--engine", "ray", "--jobs", "2")
    wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
    os.kill(processes_named(b"ray::_run_chain")[0], signal.SIGKILL)
    output, errors = study.communicate(timeout=200)
    assert study.returncode == 0, errors
    assert "4 runs are finished" in output
    assert texts(tmp_path) == texts(smoke)
