"""The larger networks: shapes, seeds, what is refused, and that a run cut short goes on exactly."""

import functools
import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import zoo_runs
from mnist_attention import MODELS, Protocol, build_model, cli, train, training
from mnist_attention.data import Dataset
from mnist_attention.evidence import costs, tables
from mnist_attention.evidence import runs as evidence
from mnist_attention.models.large import alexnet
from mnist_attention.records import (
    epochs_done,
    is_finished,
    read_record,
    read_records,
    record_path,
    reproducible_text,
    write_if_longer,
)
from mnist_attention.studies import catalogue
from mnist_attention.studies import run as studies
from small_digits import first_digits
from synthetic import make_record

AN_INSTANT = 1e-6
"""A budget in minutes that one epoch exceeds."""


@pytest.fixture(scope="module")
def few() -> Dataset:
    """Two batches of 16 images."""
    return first_digits(32, 10)


def shapes(model: keras.Model) -> dict[str, tuple]:
    return {layer.name: layer.output.shape[1:] for layer in model.layers}


# The networks

PARAMETERS = {
    "alexnet": 21_589_706,
    "vgg16": 33_637_066,
    "resnet18": 11_184_970,
    "resnet50": 23_601_930,
}


@functools.cache
def network(name: str) -> keras.Model:
    """Each is built once: it takes a second."""
    return build_model(Protocol(model=name))


@pytest.fixture(scope="module")
def other_alexnets() -> list[keras.Model]:
    return [alexnet(seed=0), alexnet(seed=1)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_pinned(name):
    assert network(name).count_params() == PARAMETERS[name]


def test_alexnet_keeps_the_layer_table_at_a_smaller_scale():
    found = shapes(network("alexnet"))
    assert [found[name][-1] for name in ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "output")] == [
        96, 256, 384, 384, 256, 4096, 4096, 10,
    ]  # fmt: skip
    assert [found[name][0] for name in ("c1", "p1", "p2", "p5")] == [16, 7, 3, 1]


def test_resnet18_has_eight_blocks_of_two_convolutions():
    model = network("resnet18")
    kernels = [v for v in model.trainable_variables if v.name == "kernel" and v.shape[0] == 3]
    assert len(kernels) == 16
    found = shapes(model)
    stages = [found[f"conv{stage}_block2_relu"] for stage in (2, 3, 4, 5)]
    assert stages == [(8, 8, 64), (4, 4, 128), (2, 2, 256), (1, 1, 512)]


KERNELS = {
    "alexnet": "58f552f746cbf413",
    "vgg16": "d29568978573d74d",
    "resnet18": "d8a8c029d28e1741",
    "resnet50": "604583b7f0feed8b",
}
"""Network -> SHA-256 of the kernels smaller than a million at seed 0, first digits."""


@pytest.mark.parametrize("name", KERNELS)
def test_initial_kernels_are_pinned(name):
    digest = hashlib.sha256()
    for variable in network(name).trainable_variables:
        if variable.name == "kernel" and math.prod(variable.shape) < 10**6:
            digest.update(variable.numpy())
    assert digest.hexdigest()[:16] == KERNELS[name]


def test_a_seed_fixes_the_initial_weights(other_alexnets):
    again, other = other_alexnets
    for layer in ("c1", "c5", "f7", "output"):
        first = network("alexnet").get_layer(layer).kernel.numpy()
        np.testing.assert_array_equal(again.get_layer(layer).kernel, first)
        assert not np.array_equal(other.get_layer(layer).kernel, first)


def test_a_seed_fixes_what_dropout_drops_and_layers_drop_differently(other_alexnets):
    x = np.ones((4, 4096), "float32")
    again, other = other_alexnets
    dropped = [
        np.asarray(model.get_layer(name)(x, training=True)) == 0
        for model, name in (
            (network("alexnet"), "f6_dropout"),
            (again, "f6_dropout"),
            (other, "f6_dropout"),
            (again, "f7_dropout"),
        )
    ]
    assert 0.45 < dropped[0].mean() < 0.55
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped[0], dropped[2])
    assert not np.array_equal(dropped[0], dropped[3])


def multiply_accumulates(model: keras.Model) -> int:
    """Multiplications, each with its addition, that one image costs in convolutions and products.

    Each kernel is applied once at every position of its layer's output.
    """
    return sum(
        math.prod(weight.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        for weight in layer.weights
        if weight.name == "kernel"
    )


def test_multiply_accumulates_by_hand():
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(maps))
    assert multiply_accumulates(keras.Model(inputs, outputs)) == 4 * 4 * 3 * 3 * 3 * 4 + 64 * 10


def test_every_network_of_table_1_has_its_cost():
    systems = tables.systems_table([]).set_index("system")
    without = systems[systems["multiply-accumulates per image"] == ""]
    assert set(without.index) == set(evidence.BEYOND["no network"])


@pytest.mark.parametrize("name", costs.MULTIPLY_ACCUMULATES)
def test_the_cost_that_tables_show_is_that_of_the_network(name):
    found = multiply_accumulates(network(name))
    assert costs.MULTIPLY_ACCUMULATES[name] == found


def test_too_little_memory_is_said_before_training(few, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 50_000)
    protocol = Protocol(dataset="uci", model="alexnet", batch_size=16, momentum=0.9)
    # 3 * 4 * 21,589,706 bytes are 0.24 GiB, without a single feature map.
    with pytest.raises(MemoryError, match=r"at least 0\.[23] GiB .*alexnet.*Received: .* 0\.2 GiB"):
        train(protocol, dataset=few, verbose=False)
    training.check_memory(build_model(Protocol()), Protocol(), few)


def test_a_system_that_does_not_tell_its_memory_is_trusted(few, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    protocol = Protocol(dataset="uci", model="alexnet", batch_size=10**9)
    training.check_memory(build_model(Protocol()), protocol, few)


# A time budget


def test_a_run_cut_short_goes_on_to_the_very_same_record(few, tmp_path, monkeypatch):
    """Also with the state of batch normalisation and dropout."""
    monkeypatch.setitem(MODELS, "resnet18", zoo_runs.small_network)
    protocol = replace(zoo_runs.PROTOCOL, batch_size=16)
    unbroken = train(protocol, dataset=few, verbose=False)
    options = {"dataset": few, "results": tmp_path, "verbose": False}
    short = train(protocol, budget_minutes=AN_INSTANT, **options)
    assert short["result"]["epochs"] == 1
    resumed = train(protocol, **options)
    assert reproducible_text(resumed) == reproducible_text(unbroken)
    assert read_record(record_path(tmp_path, "single", resumed["run_id"])) == resumed


def test_a_budget_counts_earlier_calls(few, tmp_path):
    protocol = Protocol(dataset="uci", model="lenet5", epochs=4, batch_size=16)
    options = {"dataset": few, "results": tmp_path, "verbose": False}
    short = train(protocol, budget_minutes=AN_INSTANT, **options)
    assert train(protocol, budget_minutes=AN_INSTANT, **options) == short
    spent = sum(short["environment"]["epoch_seconds"]) / 60
    longer = train(protocol, budget_minutes=1.0001 * spent, **options)
    assert longer["result"]["epochs"] == 2


def test_a_record_is_finished_with_its_epochs_its_end_or_its_time():
    cut = make_record(epochs_done=7, seconds=[60.0] * 7)
    assert not is_finished(cut)
    assert is_finished(cut, budget_minutes=7)
    assert not is_finished(cut, budget_minutes=7.01)
    assert is_finished(make_record())
    assert is_finished(make_record(epochs_done=7, diverged=True))


def test_only_a_longer_record_replaces_one(tmp_path):
    short, long = make_record(epochs_done=3), make_record(0.98, epochs_done=5)
    assert write_if_longer(long, tmp_path, "zoo") == long
    assert write_if_longer(short, tmp_path, "zoo") == long
    path = record_path(tmp_path, "zoo", long["run_id"])
    assert read_record(path) == long
    assert write_if_longer(make_record(0.99), tmp_path, "zoo") == make_record(0.99)
    path.write_text("{")
    assert write_if_longer(short, tmp_path, "zoo") == short
    assert read_record(path) == short


@pytest.mark.slow
def test_a_study_within_a_budget_says_so_and_goes_on_later(tmp_path, monkeypatch):
    one = catalogue.Study("?", (Protocol(dataset="uci", model="lenet5", epochs=2),))
    monkeypatch.setitem(catalogue.STUDIES, "mine", one)
    options = {"results": tmp_path, "jobs": 1, "verbose": False}
    outcome = studies.run_study("mine", budget_minutes=AN_INSTANT, **options)
    assert (outcome.finished, outcome.cut_short, outcome.failed) == (0, 1, {})
    assert [epochs_done(record) for record in read_records(tmp_path)[0]] == [1]
    outcome = studies.run_study("mine", **options)
    assert (outcome.finished, outcome.cut_short) == (1, 0)
    assert [epochs_done(record) for record in read_records(tmp_path)[0]] == [2]


def test_the_command_line_says_how_far_a_budget_reached(tmp_path):
    options = "--dataset uci --model lenet5 --epochs 3 --budget-minutes 1e-6 --results"
    result = CliRunner().invoke(cli.commands, ["train", *options.split(), str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "after 1 of 3 epochs" in result.output


def test_a_budget_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"above 0 minutes\. Received: budget_minutes=0"):
        studies.run_study("smoke", results=tmp_path, budget_minutes=0)
    with pytest.raises(ValueError, match=r"above 0 minutes\. Received: budget_minutes=0"):
        train(Protocol(dataset="uci"), results=tmp_path, budget_minutes=0)


# On a GPU, or wherever there is JAX and no TensorFlow


@pytest.mark.slow
def test_the_lanes_engine_trains_such_networks_without_tensorflow(tmp_path):
    pytest.importorskip("jax")
    run = subprocess.run(
        [sys.executable, zoo_runs.__file__, tmp_path],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
