"""The processes of a study: whatever ends one of them, the study ends well and leaves none."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fake_runs
from mnist_attention.records import read_record, read_records
from mnist_attention.studies import engines
from waiting import wait_for

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")

PATIENCE = 600
"""Seconds after which a study counts as stuck; on an idle machine it takes less than a minute."""

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path) -> Iterator[Start]:
    """Starts the smoke study in a terminal of its own; its environment says nothing of threads."""
    started = []

    def start(*options: str, fake: bool = True, **environment: str) -> subprocess.Popen:
        real = ["-m", "mnist_attention", "study", "smoke"]
        command = [sys.executable, *([fake_runs.__file__] if fake else real)]
        inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
        path = os.pathsep.join(sys.path)
        process = subprocess.Popen(
            [*command, "--results", str(tmp_path), *options],
            env=inherited | {"PYTHONPATH": path} | environment,
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


def running(results: Path) -> list[int]:
    """Processes in which fake runs wait; complete texts only."""
    texts = [path.read_text() for path in results.glob("running/*")]
    return [int(text) for text in texts if text]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def finish(study: subprocess.Popen, results: Path) -> tuple[str, str]:
    (results / "go").touch()
    return study.communicate(timeout=PATIENCE)


@needs_proc
def test_a_killed_worker_costs_one_more_try(tmp_path, start):
    study = start("--jobs", "2")
    worker = wait_for(lambda: len(running(tmp_path)) == 2 and running(tmp_path))[0]
    os.kill(worker, signal.SIGKILL)
    output, errors = finish(study, tmp_path)
    assert study.returncode == 0, errors
    assert "A process died; its run is tried once more." in errors
    assert "smoke: 100%" in errors
    assert "finished: 4 runs" in output


def kill_again(study: subprocess.Popen, mark: Path) -> None:
    """Kill every process that works on the run of `mark`."""
    while study.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(mark.read_text()), signal.SIGKILL)
            mark.unlink()
        time.sleep(0.02)


@needs_proc
@pytest.mark.parametrize("engine", ["loky", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_run_that_kills_its_process_twice_is_reported(tmp_path, engine, start):
    """The culprit is killed whenever it is under way; the other trajectory must get through."""
    if engine == "dask":
        pytest.importorskip("distributed")
    (tmp_path / "go-lenet5_attention").touch()
    study = start("--jobs", "1", "--engine", engine)
    first = tmp_path / "running" / "lenet5-2"
    wait_for(first.exists)
    killer = threading.Thread(target=kill_again, args=(study, first))
    killer.start()
    _, errors = study.communicate(timeout=PATIENCE)
    killer.join()
    assert study.returncode == 1
    assert errors.count("its process died 2 times") == 2
    assert "Traceback" not in errors
    models = {record["protocol"]["model"] for record in read_records(tmp_path)[0]}
    assert models == {"lenet5_attention"}


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_study(tmp_path, start, number):
    study = start("--jobs", "2")
    workers = wait_for(lambda: len(running(tmp_path)) == 2 and running(tmp_path))
    assert all(map(alive, workers))
    study.send_signal(number)
    _, errors = study.communicate(timeout=PATIENCE)
    if number == signal.SIGTERM:  # as Ctrl-C
        assert study.returncode == 130
        assert "Interrupted. The same command goes on" in errors
        assert "Traceback" not in errors
    wait_for(lambda: not session(study.pid), 30)


@needs_proc
def test_without_the_kernels_help_the_worker_watches_its_parent(tmp_path):
    """As on macOS: a child of a child, whose parent ends."""
    script = (
        "import os, sys, time\n"
        "from mnist_attention.studies.engines import end_with_parent\n"
        "sys.platform = 'darwin'\n"
        "if os.fork() == 0:\n"
        "    end_with_parent(os.getppid())\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "time.sleep(2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for(lambda: not alive(child), 30)


def test_a_deadline_ends_the_call_and_the_same_command_goes_on(tmp_path, start):
    study = start("--jobs", "1", "--deadline", "0.2")
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 3, errors
    assert "finished: 0 runs" in output
    assert "stopped by the deadline: 4 runs; the same command goes on" in output
    study = start("--jobs", "1", "--deadline", "9")
    output, errors = finish(study, tmp_path)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output


# On a cluster


QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "1s"}


def test_a_dead_scheduler_gives_one_line(tmp_path, start):
    pytest.importorskip("distributed")
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*command, "--no-dashboard"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as scheduler:
        line = next(line for line in scheduler.stderr if "Scheduler at:" in line)
        address = line.split()[-1]
        study = start("--engine", "dask", DASK_SCHEDULER_ADDRESS=address, **QUICK)
        assert next(line for line in scheduler.stderr if "client connection" in line)
        scheduler.kill()
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("Error")]
    # Killed while the study was connecting, or right after it.
    assert re.match(f"Error: Expected (a|the) dask scheduler at {address}", line)
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_scheduler_that_dies_under_a_run_gives_one_line(tmp_path, start):
    pytest.importorskip("distributed")
    script = (
        "import distributed, time\n"
        "if __name__ == '__main__':\n"
        "    c = distributed.LocalCluster(n_workers=1, dashboard_address='127.0.0.1:0')\n"
        "    print(c.scheduler_address, flush=True)\n"
        "    time.sleep(600)\n"
    )
    path = os.pathsep.join(sys.path)
    (tmp_path / "cluster.py").write_text(script)
    with subprocess.Popen(
        [sys.executable, tmp_path / "cluster.py"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        address = cluster.stdout.readline().strip()
        study = start("--engine", "dask", DASK_SCHEDULER_ADDRESS=address, **QUICK)
        wait_for(lambda: running(tmp_path))
        cluster.kill()
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 2
    assert f"Error: Expected the dask scheduler at {address} to answer" in errors
    assert "Traceback" not in errors


def test_no_scheduler_gives_one_line(tmp_path, start):
    pytest.importorskip("distributed")
    study = start(
        *("--engine", "dask"),
        DASK_SCHEDULER_ADDRESS="tcp://127.0.0.1:9",
        **QUICK,
    )
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("Error")]
    assert "Traceback" not in errors
    assert line.startswith("Error: Expected a dask scheduler at tcp://127.0.0.1:9. Received: no")


def test_our_own_cluster_listens_to_this_machine_alone():
    pytest.importorskip("distributed")
    psutil = pytest.importorskip("psutil")
    with engines._dask_client(1) as client:
        me = psutil.Process()
        processes = [me, *me.children(recursive=True)]
        sockets = [c for p in processes for c in p.net_connections() if c.status == "LISTEN"]
        assert client.nthreads()
        assert len(sockets) >= 3  # scheduler, dashboard, worker
        assert {socket.laddr.ip for socket in sockets} <= {"127.0.0.1", "::1"}


# With real training


def workers_of(parent: int) -> list[int]:
    """The loky workers that `parent` started, not its tracker."""
    return [
        process
        for process in session(parent)
        if b"popen_loky" in Path(f"/proc/{process}/cmdline").read_bytes()
    ]


@pytest.mark.slow
@needs_proc
def test_training_goes_on_after_a_killed_worker(smoke, texts, tmp_path, start):
    study = start("--jobs", "2", fake=False)
    wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
    os.kill(wait_for(lambda: workers_of(study.pid))[0], signal.SIGKILL)
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    assert texts(tmp_path) == texts(smoke)
    # Nothing in the environment says so: each worker sees to it.
    records = map(read_record, tmp_path.glob("smoke/*.json"))
    assert {record["environment"]["threads"] for record in records} == {1}


@pytest.mark.slow
@needs_proc
def test_training_goes_on_after_ctrl_c(smoke, texts, tmp_path, start):
    study = start("--jobs", "1", fake=False)
    wait_for(lambda: [*tmp_path.glob("smoke/*.json")])
    os.killpg(study.pid, signal.SIGINT)  # as a terminal does: parent and workers alike
    _, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 130
    assert "The same command goes on" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not session(study.pid), 30)
    assert 1 <= len(texts(tmp_path)) < 4
    study = start("--jobs", "2", fake=False)
    output, errors = study.communicate(timeout=PATIENCE)
    assert "finished: 4 runs" in output, errors
    assert texts(tmp_path) == texts(smoke)


@pytest.mark.slow
def test_on_dask_a_killed_worker_does_not_matter(smoke, texts, tmp_path, start):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = cluster.scheduler_address
        study = start("--engine", "dask", fake=False, DASK_SCHEDULER_ADDRESS=address)
        wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
        os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
        output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    assert texts(tmp_path) == texts(smoke)


@pytest.mark.slow
@needs_proc
def test_on_ray_a_killed_worker_does_not_matter(tmp_path, start):
    pytest.importorskip("ray")
    study = start("--engine", "ray", "--jobs", "2")
    os.kill(wait_for(lambda: running(tmp_path))[0], signal.SIGKILL)
    output, errors = finish(study, tmp_path)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output


@pytest.mark.slow
def test_lanes_finish_a_study_without_being_told_of_a_backend(smoke, tmp_path, start, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    study = start("--engine", "lanes", fake=False)
    output, errors = study.communicate(timeout=PATIENCE)
    assert study.returncode == 0, errors
    assert "finished: 4 runs" in output
    for path in tmp_path.glob("smoke/*.json"):
        record, fitted = read_record(path), read_record(smoke / "smoke" / path.name)
        assert record["environment"]["engine"] == "lanes"
        # Over 15 steps on all digits rounding already moves the maximum of some pooling window.
        losses = [run["history"]["loss"][0] for run in (record, fitted)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-3)


@pytest.mark.slow
def test_a_cluster_that_loses_its_workers_for_good_is_given_up(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(engines, "_PATIENCE", 1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(TimeoutError),
    ):
        next(engines._dask_results(client, iter([(engines.Chain((), len), None)])))
