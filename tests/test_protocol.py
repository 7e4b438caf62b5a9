"""Protocols: what is refused, and what names a run."""

import hashlib
import json
import typing
from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest

from mnist_attention import PAPER, Protocol, cli
from mnist_attention.noise import BACKGROUNDS
from mnist_attention.protocol import (
    LATER_FIELDS,
    Background,
    cli_options,
    trajectory_id,
)


def test_the_paper():
    assert (PAPER.model, PAPER.epochs, PAPER.batch_size) == ("lenet5_attention", 100, 96)
    assert (PAPER.learning_rate, PAPER.flip, PAPER.dataset) == (0.01, True, "mnist")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("epochs", 1.5, "int"),
        ("epochs", True, "int"),
        ("epochs", np.True_, "int"),
        ("epochs", np.float64(2.0), "int"),
        ("seed", np.array([1]), "int"),
        ("learning_rate", 10**400, "float"),
        ("model", ["lenet5"], "'lenet5_attention'"),
        ("batch_size", 0, "at least 1"),
        ("learning_rate", -0.1, "above 0"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", float("inf"), "above 0"),
        ("learning_rate", 1e7, "below 1e6"),
        ("learning_rate", "0.1", "float"),
        ("momentum", 1.0, "below 1"),
        ("seed", -1, "from 0"),
        ("shift", 9, "from 0 to 8"),
        ("flip", 1, "bool"),
        ("model", "lenet6", "'lenet5_attention'"),
        ("dataset", "cifar", "'mnist'"),
        ("mask_channels", 3, "1 or None"),
        ("mask_activation", "relu", "'softmax'"),
        ("mask_placement", "c5", "'after_pooling'"),
        ("strength", 1.5, "from 0 to 1"),
        ("strength", 0.5, "0 without a background"),
        ("gamma", 0.5, "0 unless the background is 'gaussian'"),
        ("background", "snow", "'photographs'"),
        ("weight_decay", -1e-4, "from 0 to 1"),
        ("dense_layers", 1, "2 or 3"),
        ("brightness", 1.5, "from 0 to 1"),
        ("canvas", 30, "28 or 32"),
        ("pixel_scale", 2, "1 or 255"),
        ("reshuffle", 0, "bool"),
    ],
)
def test_bad_values_are_refused_by_name(name, value, expected):
    with pytest.raises(ValueError, match=rf"Expected {name} .*{expected}.*Received: {name}="):
        replace(PAPER, **{name: value})


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        ("alexnet", "activation", "tanh"),
        ("resnet18", "pooling", "average"),
        ("lenet5", "mask_placement", "c1"),
        ("lenet5", "mask_activation", "softmax"),
        ("lenet5_swish", "mask_channels", None),
    ],
)
def test_what_has_no_effect_on_a_model_is_refused(model, name, value):
    default = getattr(PAPER, name)
    with pytest.raises(ValueError, match=f"Expected {name} to be {default!r}, as '{model}' has"):
        replace(PAPER, model=model, **{name: value})
    assert getattr(replace(PAPER, model="lenet5_frozen", **{name: value}), name) == value


def test_a_protocol_cannot_be_changed():
    with pytest.raises(AttributeError):
        PAPER.epochs = 1


def test_run_id_is_the_documented_hash():
    text = json.dumps(
        {"dataset_digest": "d", "protocol": PAPER.to_json()}, sort_keys=True, separators=(",", ":")
    )
    assert PAPER.run_id("d") == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_run_id_is_pinned():
    """Records are found by this name: a change here orphans every record."""
    assert PAPER.run_id("d") == "420edf668b7f"


def test_younger_fields_are_named_only_where_they_matter():
    """A run made before a field existed is the run at its default."""
    assert len(PAPER.to_json()) == len(fields(Protocol)) - len(LATER_FIELDS)
    noisy = replace(PAPER, background="gaussian", strength=0.5)
    assert noisy.to_json().keys() - PAPER.to_json().keys() == {"background", "strength"}
    assert Protocol(**noisy.to_json()) == noisy


def test_run_ids_differ_with_protocol_and_data():
    ids = {
        PAPER.run_id("a"),
        PAPER.run_id("b"),
        replace(PAPER, seed=1).run_id("a"),
        replace(PAPER, epochs=50).run_id("a"),
    }
    assert len(ids) == 4


def test_trajectories_ignore_the_number_of_epochs_alone():
    assert trajectory_id(PAPER, "a") == trajectory_id(replace(PAPER, epochs=50), "a")
    assert trajectory_id(PAPER, "a") != trajectory_id(replace(PAPER, seed=1), "a")


@pytest.mark.parametrize(
    ("name", "value"), [("momentum", 0), ("momentum", -0.0), ("learning_rate", 1)]
)
def test_integers_serve_as_rates_and_name_the_same_run(name, value):
    first, second = (replace(PAPER, **{name: number}) for number in (value, float(abs(value))))
    assert first == second
    assert first.run_id("d") == second.run_id("d")


NUMBERS = {
    "seed": (np.int64(1), np.uint8(1), np.array(1)[()]),
    "epochs": (np.int32(50),),
    "mask_channels": (np.int64(1),),
    "learning_rate": (np.float64(0.5), np.float32(0.5), Fraction(1, 2)),
    "momentum": (np.int64(0), np.float64(-0.0), False + 0),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in NUMBERS.items() for v in vs])
def test_numbers_of_other_libraries_are_kept_as_pythons(name, value):
    number = type(getattr(PAPER, name))(value)
    protocol, plain = (replace(PAPER, **{name: received}) for received in (value, number))
    assert type(getattr(protocol, name)) is type(number)
    assert json.dumps(protocol.to_json()) == json.dumps(plain.to_json())
    assert protocol.run_id("d") == plain.run_id("d")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dataset": "uci", "seed": 3, "learning_rate": 0.1, "mask_channels": None, "flip": False},
        {"background": "gaussian", "strength": 0.5, "gamma": 1.0, "permuted_labels": True},
    ],
)
def test_the_options_of_a_protocol_ask_for_it(changes):
    protocol = replace(PAPER, **changes)
    context = cli.train.make_context("train", cli_options(protocol).split())
    assert Protocol(**{name: context.params[name] for name in vars(protocol)}) == protocol


def test_the_backgrounds_are_those_that_can_be_made():
    assert typing.get_args(Background) == ("none", *BACKGROUNDS)
