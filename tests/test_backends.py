"""The layer's tests on the other backends of Keras, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def run_on(backend: str, *arguments: str) -> str:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layer_on(backend):
    options = ["-q", "-p", "no:cacheprovider", "-k", "not fresh_process"]
    assert " passed" in run_on(backend, "pytest", *options, "test_layers.py")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_on(backend, tmp_path):
    options = ["--dataset", "uci", "--epochs", "1", "--results", str(tmp_path)]
    assert "after 1 of 1 epochs" in run_on(backend, "mnist_attention", "train", *options)
