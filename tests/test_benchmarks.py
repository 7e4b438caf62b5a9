"""Each benchmark runs, here with the least work; what it measures is for `make bench` to say."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

SMALLEST = {
    "throughput": ("--steps 2 --rounds 2", r"bare compiled step +[\d.]+"),
    "scaling": (
        "--dataset uci --runs 2 --epochs 1 --rounds 1",
        r"finish [\d.]+ times the runs of one",
    ),
    "maps": ("--dataset uci --images 40", r"insertion +[\d.]+\n.*40 images, 2 processes: [\d.]+ s"),
    "lanes": ("--dataset uci --lanes 2 --epochs 1 --lowering patches", r"patches +2 +[\d.]+"),
}


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
