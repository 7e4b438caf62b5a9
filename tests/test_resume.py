"""A killed run goes on and ends in the very same record."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from killed_runs import DIGITS, PROTOCOL
from mnist_attention import train
from mnist_attention.records import read_record, reproducible_text
from mnist_attention.storage.states import METRICS, State, checkpoint_path, read_state, write_state
from waiting import wait_for


@pytest.fixture(scope="module")
def unbroken() -> str:
    """The record of the run that nothing disturbed."""
    return reproducible_text(train(PROTOCOL, dataset=DIGITS, verbose=False))


def kill_runs(results: Path, *how: str) -> int:
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(script), str(results), *how]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return int(run.stdout)


@pytest.mark.parametrize("how", ["once", pytest.param("writes", marks=pytest.mark.slow)])
def test_killed_while_it_writes(tmp_path, unbroken, how):
    kills = kill_runs(tmp_path, how)
    assert kills == 1 if how == "once" else kills >= 2 * 7
    records = [*tmp_path.glob("single/*.json")]
    assert len(records) == 1
    assert reproducible_text(read_record(records[0])) == unbroken
    # Of the files that a kill left half written, those of the state are gone.
    states = checkpoint_path(tmp_path, PROTOCOL, DIGITS.digest).parent
    assert sorted(path.name for path in states.iterdir()) == ["3.lock", "3.npz"]


@pytest.mark.parametrize(
    "kills",
    [pytest.param(4, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.torture)],
)
def test_killed_at_random_moments(tmp_path, unbroken, kills):
    assert kill_runs(tmp_path, "random", str(kills)) == kills
    records = [*tmp_path.glob("*/single/*.json")]
    assert len(records) >= 2
    for path in records:
        assert reproducible_text(read_record(path)) == unbroken


def test_a_shorter_run_is_the_beginning_of_a_longer_one(tmp_path, unbroken):
    train(replace(PROTOCOL, epochs=1), dataset=DIGITS, results=tmp_path, verbose=False)
    record = train(PROTOCOL, dataset=DIGITS, results=tmp_path, verbose=False)
    assert reproducible_text(record) == unbroken


@pytest.mark.parametrize("damage", ["truncated", "of another run"])
def test_an_unusable_checkpoint_is_refused_and_the_run_starts_over(
    tmp_path, unbroken, capsys, damage
):
    shorter = replace(PROTOCOL, epochs=1)
    if damage == "of another run":
        shorter = replace(shorter, seed=5)
    train(shorter, dataset=DIGITS, results=tmp_path, verbose=False)
    checkpoint = checkpoint_path(tmp_path, shorter, DIGITS.digest)
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    else:
        misplaced = checkpoint_path(tmp_path, PROTOCOL, DIGITS.digest).with_name("1.npz")
        misplaced.parent.mkdir(parents=True)
        checkpoint = checkpoint.rename(misplaced)
    record = train(PROTOCOL, dataset=DIGITS, results=tmp_path, verbose=False)
    assert f"{checkpoint} is" in (message := capsys.readouterr().err)
    assert "It is not used." in message
    assert reproducible_text(record) == unbroken


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_interrupted_it_exits_with_130_and_says_how_to_go_on(tmp_path, number):
    options = "train --dataset uci --model lenet5 --epochs 100000 --results"
    command = [sys.executable, "-m", "mnist_attention", *options.split(), str(tmp_path)]
    # Where tests run as a background job, SIGINT is ignored, and the process would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    (path,) = wait_for(lambda: [*tmp_path.glob(".checkpoints/*/*.npz")])
    process.send_signal(number)
    said = process.communicate(timeout=200)[1].splitlines()
    assert process.returncode == 130
    assert said[-1] == "Interrupted. The same command goes on from the last states on disk."
    assert not [line for line in said if "Traceback" in line]
    state = read_state(path, path.parent.name)
    assert state.epoch >= 1
    assert not [*tmp_path.glob("single/*")]


ON_JAX = """
import sys
sys.modules["tensorflow"] = None  # as on a machine without it
from dataclasses import replace
from killed_runs import DIGITS, PROTOCOL, train
train(replace(PROTOCOL, epochs=2), dataset=DIGITS, results=sys.argv[1], verbose=False)
train(PROTOCOL, dataset=DIGITS, results=sys.argv[1], verbose=False)
train(PROTOCOL, dataset=DIGITS, results=sys.argv[1] + "/unbroken", verbose=False)
"""


def test_on_jax_without_tensorflow_it_trains_and_resumes(tmp_path, unbroken):
    subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path)],
        cwd=Path(__file__).parent,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    name = f"{PROTOCOL.run_id(DIGITS.digest)}.json"
    record = read_record(tmp_path / "single" / name)
    whole = read_record(tmp_path / "unbroken" / "single" / name)
    assert reproducible_text(record) == reproducible_text(whole)
    assert record["environment"]["backend"] == "jax"
    assert {"jax", "jaxlib", "keras"} <= set(record["environment"]["versions"])
    # The same batches and steps: two epochs agree with TensorFlow's within rounding.
    here = json.loads(unbroken)
    assert record["history"]["loss"][:2] == pytest.approx(here["history"]["loss"][:2], rel=1e-4)
    # A state of JAX is never gone on with on TensorFlow, nor overwritten.
    (tmp_path / "single" / name).unlink()
    checkpoint = checkpoint_path(tmp_path, PROTOCOL, DIGITS.digest)
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"Expected KERAS_BACKEND=jax, .* Received: 'tensorflow'"):
        train(PROTOCOL, dataset=DIGITS, results=tmp_path, verbose=False)
    assert checkpoint.read_bytes() == before


def test_the_state_of_another_network_is_refused_and_the_run_starts_over(
    tmp_path, unbroken, capsys
):
    checkpoint = checkpoint_path(tmp_path, PROTOCOL, DIGITS.digest)
    halves = [np.zeros((2, 2), "float16")]
    history = {name: [0.1] for name in METRICS}
    write_state(checkpoint, State(checkpoint.parent.name, 1, history, [1.0], halves, "tensorflow"))
    record = train(PROTOCOL, dataset=DIGITS, results=tmp_path, verbose=False)
    assert "is no usable state: Expected variables" in capsys.readouterr().err
    assert reproducible_text(record) == unbroken


SAME_RUN = """
import sys
from killed_runs import DIGITS, PROTOCOL, train
from mnist_attention import training

def say(*arguments, run=training.start_model):
    print("trained")
    return run(*arguments)

training.start_model = say
train(PROTOCOL, dataset=DIGITS, results=sys.argv[1], verbose=False)
"""


@pytest.mark.slow
def test_two_processes_asked_for_the_same_run_make_it_once(tmp_path, unbroken):
    command = [sys.executable, "-c", SAME_RUN, str(tmp_path)]
    options = {"cwd": Path(__file__).parent, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **options) for _ in range(2)]
    said = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(said) == ["", "trained\n"]
    (path,) = tmp_path.glob("single/*.json")
    assert reproducible_text(read_record(path)) == unbroken


FULL_DISK = """
import resource, sys
from killed_runs import DIGITS
from mnist_attention import cli, training
# No file may grow beyond 100 kB: the state does not fit, as on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
training.load_dataset = lambda name: DIGITS
cli.main()
"""


def test_a_full_disk_ends_the_run_and_leaves_the_last_good_state(tmp_path, unbroken):
    train(replace(PROTOCOL, epochs=1), dataset=DIGITS, results=tmp_path, verbose=False)
    checkpoint = checkpoint_path(tmp_path, replace(PROTOCOL, epochs=1), DIGITS.digest)
    before = checkpoint.read_bytes()
    options = "--dataset uci --epochs 3 --learning-rate 0.1 --momentum 0.9"
    command = [sys.executable, "-c", FULL_DISK, "train", *options.split()]
    run = subprocess.run(
        [*command, "--results", str(tmp_path)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: [Errno 27] File too large (no file was changed)")
    assert line.endswith(f"'{checkpoint.with_name('3.npz')}'")
    assert "Traceback" not in run.stderr
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == [
        "1.lock",
        "1.npz",
        "3.lock",
    ]
    record = train(PROTOCOL, dataset=DIGITS, results=tmp_path, verbose=False)
    assert reproducible_text(record) == unbroken
