"""The layer's tests on the other backends of Keras, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layer_on(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    options = ["-q", "-p", "no:cacheprovider", "-k", "not fresh_process"]
    command = [sys.executable, "-m", "pytest", *options, "test_layers.py"]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(command, cwd=TESTS, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
