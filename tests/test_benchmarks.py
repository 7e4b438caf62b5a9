"""Each benchmark runs, here with the least work; what it measures is for `make bench` to say."""

import importlib.util
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import types
from multiprocessing.connection import Connection

import pytest

from mnist_attention import Protocol
from mnist_attention.storage.paths import CHECKOUT

SMALLEST = {
    "throughput": ("--steps 2 --rounds 1", r"bare compiled step +[\d.]+"),
    "scaling": (
        "--dataset uci --runs 2 --epochs 1 --rounds 1",
        r"finish [\d.]+ times the runs of one",
    ),
    "maps": ("--dataset uci --images 40", r"insertion +[\d.]+\n.*40 images, 2 processes: [\d.]+ s"),
    "lanes": ("--dataset uci --lanes 2 --epochs 1 --lowering patches", r"patches +2 +[\d.]+"),
}


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, CHECKOUT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contestants_that_die_are_left_out(monkeypatch, capsys):
    """Each has a process of its own: TensorFlow and PyTorch crash in one."""
    throughput = load_script("throughput")

    def start(target, args, daemon):
        """A thread in place of a process: it answers three times, or ends at once."""
        end = Connection(os.dup(args[-1].fileno()))

        def answer():
            for seconds in (9.0, 1.0, 2.0) if args[0] == "lives" else ():
                end.recv()
                end.send(seconds)
            end.close()

        return threading.Thread(target=answer)

    context = types.SimpleNamespace(Pipe=multiprocessing.Pipe, Process=start)
    monkeypatch.setattr(throughput.multiprocessing, "get_context", lambda _: context)
    table = throughput.seconds_per_round(["lives", "dies"], Protocol(epochs=3), 1)
    assert [*table.lives] == [1.0, 2.0]  # without the first, which warms up
    assert table.dies.isna().all()
    assert "dies: its process ended" in capsys.readouterr().err


@pytest.mark.slow
def test_pytorch_takes_part_where_it_is_installed():
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "mnist_attention", "bench", "throughput"]
    run = subprocess.run(
        [*command, "--", "--steps", "2", "--rounds", "1"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert re.search(r"PyTorch, eager, channels last +[\d.]+", run.stdout)
    assert re.search(r"torch.compile, channels last +[\d.]+", run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_prints_its_ratios(name):
    options, expected = SMALLEST[name]
    if name == "lanes" and not importlib.util.find_spec("jax"):
        pytest.skip("needs JAX")
    command = [sys.executable, "-m", "mnist_attention", "bench", name, "--", *options.split()]
    environment = {**os.environ, **({"KERAS_BACKEND": "jax"} if name == "lanes" else {})}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(expected, run.stdout), run.stdout
