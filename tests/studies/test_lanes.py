"""Lanes against `fit`, against each other, and after a kill. JAX runs in processes of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("jax", reason="the engine `lanes` needs JAX")

import lanes_runs
from lanes_runs import DIGITS, DIVERGING, LANES, OTHER, PREFIX, PROTOCOL
from mnist_attention import MODELS, train
from mnist_attention.protocol import Protocol, trajectory_id
from mnist_attention.records import read_record, reproducible_text
from mnist_attention.storage.record_format import RECORD_KEYS
from mnist_attention.storage.states import checkpoint_path, read_state
from mnist_attention.studies.lane_program import convolve_patches
from mnist_attention.studies.lanes import _lane, train_program
from mnist_attention.studies.options import RunOptions

TOLERANCE = 1e-5
"""Largest difference in a loss over 20 steps. Seen: 5e-7, while the loss itself falls by 0.06."""

Read = Callable[[str, Protocol], dict]


def run_on_jax(folder: Path, *how: str) -> int:
    """Run the script; its exit code, or less than 0 if it was killed."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        # The program that was killed need not be compiled again.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, lanes_runs.__file__, str(folder), *how]
    return subprocess.run(command, env=environment).returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the script trains: one folder of results for each of its calls."""
    folder = tmp_path_factory.mktemp("lanes")
    assert run_on_jax(folder, "killed") == -signal.SIGKILL
    left = list(folder.glob("killed/single/*.json"))
    assert len(left) < len(LANES)
    assert list(folder.glob("killed/.checkpoints/*/*.npz"))
    assert run_on_jax(folder) == 0
    return folder


@pytest.fixture(scope="module")
def read(folder) -> Read:
    digest = DIGITS.digest
    return lambda name, protocol: read_record(
        folder / name / "single" / f"{protocol.run_id(digest)}.json"
    )


@pytest.fixture(scope="module")
def read_more(folder, read) -> Read:
    """As `read`, of the other programs too."""
    assert run_on_jax(folder, "more") == 0
    return read


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch):
    """`fit` trains the network of the script."""
    monkeypatch.setitem(MODELS, PROTOCOL.model, lanes_runs.tiny_network)


def assert_close(first: dict, second: dict) -> None:
    for name, values in first["history"].items():
        np.testing.assert_allclose(values, second["history"][name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("protocol", [PROTOCOL, OTHER], ids=["paired", "other"])
def test_lanes_train_like_fit(read, protocol):
    record = read("unbroken", protocol)
    fitted = train(protocol, dataset=DIGITS, verbose=False)
    assert_close(fitted, record)
    losses = fitted["history"]["loss"]
    assert losses[0] - losses[-1] > 1000 * TOLERANCE
    assert fitted["test_predictions"] == record["test_predictions"]
    assert fitted["result"] == record["result"]


def test_a_record_has_its_parts(read):
    record = read("unbroken", PROTOCOL)
    assert set(record) == set(RECORD_KEYS)
    environment = record["environment"]
    assert environment["engine"] == "lanes"
    assert environment["lanes"] == 3
    assert environment["backend"] == "jax"
    assert len(environment["epoch_seconds"]) == PROTOCOL.epochs
    # Compiling is no part of an epoch.
    assert environment["compile_seconds"] > 0
    assert environment["epoch_seconds"][0] < 10 * environment["epoch_seconds"][1]
    assert environment["card"] == "cpu"
    assert environment["matmul_precision"] == "default"
    assert {"jax", "jaxlib", "keras"} <= set(environment["versions"])


def test_the_last_smaller_batch_is_used(folder):
    path = checkpoint_path(folder / "unbroken", PROTOCOL, DIGITS.digest)
    state = read_state(path, trajectory_id(PROTOCOL, DIGITS.digest))
    steps = next(value for value in state.variables if value.dtype.kind == "i")
    assert steps == 2 * PROTOCOL.epochs


@pytest.mark.slow
def test_a_lane_alone_equals_the_same_lane_among_others(read_more):
    assert_close(read_more("alone", PROTOCOL), read_more("unbroken", PROTOCOL))


def test_a_diverging_lane_ends_like_fit_and_leaves_the_rest_alone(read):
    record = read("unbroken", DIVERGING)
    fitted = train(DIVERGING, dataset=DIGITS, verbose=False)
    assert record["result"] == fitted["result"]
    assert record["result"]["diverged"]
    assert record["history"]["loss"][-1] is None
    assert record["result"]["epochs"] < PROTOCOL.epochs
    # The lanes beside it are held against `fit` and against the lane alone above.
    assert not read("unbroken", PROTOCOL)["result"]["diverged"]


def test_a_shorter_run_is_the_beginning_of_its_lane(read):
    whole, prefix = read("unbroken", PROTOCOL)["history"], read("unbroken", PREFIX)["history"]
    assert prefix == {name: values[: PREFIX.epochs] for name, values in whole.items()}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", [PROTOCOL, OTHER], ids=["paired", "other"])
def test_both_lowerings_agree(read_more, protocol):
    grouped, patches = read_more("unbroken", protocol), read_more("patches", protocol)
    assert_close(grouped, patches)
    assert [r["environment"]["lowering"] for r in (grouped, patches)] == ["grouped", "patches"]


def test_killed_lanes_go_on_exactly(read):
    for protocol in LANES:
        killed, unbroken = read("killed", protocol), read("unbroken", protocol)
        assert reproducible_text(killed) == reproducible_text(unbroken)


@pytest.mark.slow
def test_calls_that_a_deadline_ended_go_on_exactly(read_more):
    for protocol in LANES:
        parts, unbroken = read_more("deadline", protocol), read_more("unbroken", protocol)
        assert reproducible_text(parts) == reproducible_text(unbroken)


def test_the_state_of_another_backend_is_not_continued_by_a_lane(tmp_path, monkeypatch):
    train(replace(PROTOCOL, epochs=1), dataset=DIGITS, results=tmp_path, verbose=False)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")

    def lane(results):
        options = RunOptions(engine="lanes", results=results)
        return _lane(0, [PROTOCOL], {}, DIGITS, options)

    assert lane(tmp_path / "new").state.epoch == 0
    with pytest.raises(ValueError, match=r"Expected states of the JAX .*: one of tensorflow"):
        lane(tmp_path)


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [(1, 1), (2, 5)])
def test_patches_are_a_convolution(strides, padding, size):
    layer = keras.layers.Conv2D(4, size, strides=strides, padding=padding, use_bias=False)
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype("float32")
    expected = layer(images)
    received = convolve_patches(layer, keras.ops.convert_to_tensor(images), layer.kernel)
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_another_backend_is_refused(small, tmp_path):
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax"):
        train_program([PROTOCOL], RunOptions(results=tmp_path), small)


def test_a_study_whose_records_would_not_be_read_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Received: study='measurements'"):
        RunOptions(results=tmp_path, study="measurements")
