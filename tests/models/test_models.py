"""LeNet-5 and its controls: parameter counts, layer names, and the pairing of initial weights."""

import contextlib
import hashlib
import inspect
import math
import typing
import zlib
from dataclasses import fields, replace

import keras
import numpy as np
import pytest

from mnist_attention import MODELS, PAPER, AttentionMask1x1, Protocol, build_model, lenet5
from mnist_attention.data import network_input
from mnist_attention.models import initial_protocol, logits
from mnist_attention.models.initializers import draw_kernels
from mnist_attention.protocol import Initializer, ModelName

PARAMETERS = {
    "lenet5": 61_706,
    "lenet5_attention": 61_706 + 7 + 17,
    "lenet5_frozen": 61_706 + 7 + 17,
    "lenet5_constant": 61_706,
    "lenet5_convolution": 61_706 + 42 + 272,
    "lenet5_swish": 61_706,
    "lenet5_squeeze": 61_706 + 45 + 280,
    "lenet5_cbam": 61_706 + 144 + 379,
}


def weights_by_path(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


KERNELS = {
    "c1": "bc795de0f5ad3112",
    "c3": "ce7e2c65d9a15283",
    "c1_attention": "0f0806c1190b8766",
    "output": "79f6b495433c3496",
}
"""Layer -> SHA-256 of its kernel at seed 5, first digits."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count_is_pinned(name):
    assert build_model(Protocol(model=name)).count_params() == PARAMETERS[name]


class Around(keras.Model):
    """Builds LeNet-5 inside its own `build`."""

    def build(self, _):
        self.inner = build_model(Protocol(seed=5))

    def call(self, images):
        return self.inner(images)


def build_in_a_name_scope() -> keras.Model:
    with keras.name_scope("sweep"), keras.name_scope("c1"):
        return build_model(Protocol(seed=5))


def build_in_another_model() -> keras.Model:
    model = Around(name="c3")
    model(keras.Input((32, 32, 1)))
    return model.inner


@pytest.mark.parametrize(
    "build",
    [lambda: build_model(Protocol(seed=5)), build_in_a_name_scope, build_in_another_model],
    ids=["alone", "in a name scope", "in another model"],
)
def test_initial_kernels_are_pinned_wherever_they_are_built(build):
    """Records name a seed: were the draws to change, the same run would give another record."""
    model = build()
    found = {
        name: hashlib.sha256(model.get_layer(name).kernel.numpy().tobytes()).hexdigest()[:16]
        for name in KERNELS
    }
    assert found == KERNELS


@pytest.mark.parametrize("scope", ["", "sweep"])
def test_kernels_of_a_sequential_and_of_nested_layers_have_keys_of_their_own(scope):
    with keras.name_scope(scope) if scope else contextlib.nullcontext():
        inner = keras.Sequential([keras.layers.Dense(3, name="d")], name="s")
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(3, name="d")(inner(inputs)))
    draw_kernels(inner, "he_normal", 1)
    alone = inner.get_layer("d").kernel.numpy()
    generator = np.random.default_rng([1, zlib.crc32(b"s/d/kernel")])
    expected = math.sqrt(2 / 3) * generator.standard_normal((3, 3))
    np.testing.assert_array_equal(alone, expected.astype("float32"))
    draw_kernels(model, "he_normal", 1)
    np.testing.assert_array_equal(inner.get_layer("d").kernel, alone)
    assert not np.array_equal(model.get_layer("d").kernel, alone)


def test_every_model_name_has_a_builder_and_every_builder_a_name():
    assert set(MODELS) == set(typing.get_args(ModelName))


def test_builders_arguments_are_fields_of_the_protocol():
    names = {field.name for field in fields(Protocol)} | {"after", "lenet", "train_masks"}
    for builder in MODELS.values():
        assert set(inspect.signature(builder).parameters) <= names


@pytest.mark.parametrize("dense_layers", [0, 1, 4])
def test_lenet_has_two_or_three_dense_layers(dense_layers):
    with pytest.raises(ValueError, match=rf"2 or 3. Received: dense_layers={dense_layers}"):
        lenet5(dense_layers=dense_layers)


def test_layer_names_and_shapes():
    model = build_model(PAPER)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes == {
        "image": (32, 32, 1),
        "c1": (28, 28, 6),
        "c1_attention": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "c3_attention": (10, 10, 16),
        "s4": (5, 5, 16),
        "flatten": (400,),
        "c5": (120,),
        "f6": (84,),
        "output": (10,),
    }


@pytest.mark.parametrize(
    ("placement", "channels", "added"),
    [
        ("both", 1, 7 + 17),
        ("c1", 1, 7),
        ("c3", 1, 17),
        ("after_pooling", 1, 7 + 17),
        ("both", None, 42 + 272),
    ],
)
def test_parameters_that_the_masks_add(placement, channels, added):
    model = build_model(replace(PAPER, mask_placement=placement, mask_channels=channels))
    assert model.count_params() - PARAMETERS["lenet5"] == added


def test_mask_after_pooling_follows_s2_and_s4():
    names = [
        layer.name for layer in build_model(replace(PAPER, mask_placement="after_pooling")).layers
    ]
    assert names[names.index("s2") + 1] == "s2_attention"
    assert names[names.index("s4") + 1] == "s4_attention"


@pytest.mark.parametrize("seed", [0, 7])
def test_with_and_without_mask_start_with_the_same_weights(seed):
    plain = weights_by_path(build_model(Protocol(model="lenet5", seed=seed)))
    masked = weights_by_path(build_model(Protocol(seed=seed)))
    assert len(plain) == 10
    for path, value in plain.items():
        np.testing.assert_array_equal(masked[path], value)


def test_seeds_and_layers_start_differently():
    first, second = (weights_by_path(lenet5(seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first["c1/kernel"], second["c1/kernel"])
    assert not np.array_equal(first["c1/kernel"].ravel()[:10], first["f6/kernel"].ravel()[:10])


@pytest.mark.parametrize(
    ("initializer", "deviation"),
    [
        ("glorot_uniform", np.sqrt(2 / (400 + 120))),
        ("lecun_normal", np.sqrt(1 / 400)),
        ("he_normal", np.sqrt(2 / 400)),
        ("narrow_normal", 0.01),
    ],
)
def test_initializers_have_their_standard_deviation(initializer, deviation):
    kernel = weights_by_path(lenet5(initializer=initializer))["c5/kernel"]
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert abs(kernel.mean()) < deviation / 50


@pytest.mark.parametrize("layer", ["c3", "c5"])
def test_glorot_uniform_agrees_with_keras_in_its_bounds(layer):
    ours = weights_by_path(lenet5())[f"{layer}/kernel"]
    theirs = np.asarray(keras.initializers.GlorotUniform(seed=0)(ours.shape))
    assert not np.array_equal(ours, theirs)
    assert [ours.min(), ours.max()] == pytest.approx([theirs.min(), theirs.max()], rel=0.01)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)


def test_every_initializer_of_the_protocol_can_be_drawn():
    for name in typing.get_args(Initializer):
        assert np.isfinite(weights_by_path(lenet5(initializer=name))["c1/kernel"]).all()


def test_units_and_pooling_follow_the_protocol():
    model = build_model(replace(PAPER, activation="tanh", pooling="average"))
    assert model.get_layer("f6").activation is keras.activations.tanh
    assert isinstance(model.get_layer("s2"), keras.layers.AveragePooling2D)


def test_own_layers_can_be_put_after_any_layer():
    model = lenet5(after={"s4": AttentionMask1x1(name="mine")})
    assert model.get_layer("mine").output.shape == (None, 5, 5, 16)


@pytest.mark.parametrize("name", ["pooling", "initializer", "mask_placement"])
@pytest.mark.parametrize("model", ["lenet5", "lenet5_attention", "lenet5_frozen", "lenet5_swish"])
def test_a_name_that_no_builder_knows_is_refused_with_those_that_exist(model, name):
    if name == "mask_placement" and model == "lenet5":
        return
    known = getattr(PAPER, name)
    with pytest.raises(ValueError, match=rf"{name} to be one of .*'{known}'.*Received: {name}='x'"):
        MODELS[model](**{name: "x"})


def test_a_layer_after_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r"Expected the layers of `after` among .*Received: \['c9'\]"
    ):
        lenet5(after={"c9": AttentionMask1x1()})


def test_networks_that_start_alike_share_their_start():
    here = replace(PAPER, seed=3, mask_channels=None)
    noisy = replace(here, epochs=20, background="clutter", strength=1.0, momentum=0.9)
    assert initial_protocol(noisy) == here == initial_protocol(here)
    plain = replace(PAPER, model="lenet5")
    assert initial_protocol(replace(plain, seed=3)) != initial_protocol(plain)
    first, second = (weights_by_path(build_model(p)) for p in (noisy, initial_protocol(noisy)))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_logits_are_the_same_with_a_compiled_call_and_without(uci):
    model, images = build_model(PAPER), uci.test_images[:7]
    expected = np.asarray(model(network_input(images), training=False))
    np.testing.assert_allclose(logits(model, images), expected, rtol=1e-5)
    model.compile(jit_compile=False)
    np.testing.assert_allclose(logits(model, images), expected, rtol=1e-5)
