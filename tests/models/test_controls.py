"""The control networks: what stands where the mask stood, computed by hand, and their pairing."""

import keras
import numpy as np
import pytest

from mnist_attention import Protocol, build_model
from mnist_attention.models.controls import BLOCKS, cbam, squeeze_excitation

CONTROLS = ("lenet5_frozen", *BLOCKS)


def apply(block, maps: np.ndarray, **weights: np.ndarray) -> np.ndarray:
    """What a block makes of feature maps; every weight is 0 unless its layer is named."""
    inputs = keras.Input(maps.shape[1:])
    model = keras.Model(inputs, block(inputs, "b"))
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape))
    for layer, kernel in weights.items():
        model.get_layer(f"b_{layer}" if layer != "b" else "b").kernel.assign(kernel)
    return np.asarray(model(maps))


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype("float32")


def test_constant_halves(maps):
    np.testing.assert_allclose(apply(BLOCKS["lenet5_constant"], maps), maps / 2)


def test_convolution_mixes_features_and_keeps_no_product(maps):
    swap = np.eye(4)[[1, 0, 2, 3]].reshape(1, 1, 4, 4)
    mixed = apply(BLOCKS["lenet5_convolution"], maps, b=swap)
    np.testing.assert_allclose(mixed, np.maximum(maps[..., [1, 0, 2, 3]], 0), rtol=1e-6)


def test_swish_gates_each_feature_by_itself(maps):
    gated = apply(BLOCKS["lenet5_swish"], maps)
    np.testing.assert_allclose(gated, maps / (1 + np.exp(-maps)), rtol=1e-5)


def test_squeeze_excitation_weighs_whole_maps_by_the_means(maps):
    maps = np.abs(maps)
    reduce, expand = np.eye(4)[:, :2], np.ones((2, 4))
    gated = apply(squeeze_excitation, maps, reduce=reduce, expand=expand)
    sums = maps.mean(axis=(1, 2))[:, :2].sum(axis=1)
    np.testing.assert_allclose(gated, maps / (1 + np.exp(-sums))[:, None, None, None], rtol=1e-5)


def test_cbam_without_weights_halves_twice(maps):
    np.testing.assert_allclose(apply(cbam, maps), maps / 4, rtol=1e-6)


def test_cbam_looks_at_the_neighbourhood(maps):
    """A kernel that sees the position to its left only: the mask is shifted by one."""
    kernel = np.zeros((7, 7, 2, 1))
    kernel[3, 2, 1] = 1  # of the maxima over the features
    gated = apply(cbam, maps, where=kernel)
    seen = np.pad(maps.max(axis=-1) / 2, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
    np.testing.assert_allclose(gated, maps / 2 / (1 + np.exp(-seen))[..., None], rtol=1e-5)


@pytest.fixture(scope="module")
def lenets() -> list[keras.Model]:
    return [build_model(Protocol(model=name, seed=7)) for name in ("lenet5", "lenet5_attention")]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_starts_with_the_weights_of_lenet(name, lenets):
    control = build_model(Protocol(model=name, seed=7))
    for layer in ("c1", "c3", "c5", "f6", "output"):
        for lenet in lenets:
            expected = lenet.get_layer(layer).kernel
            np.testing.assert_array_equal(control.get_layer(layer).kernel, expected)


def test_frozen_masks_are_those_of_the_untrained_network():
    frozen, masked = (
        build_model(Protocol(model=name, seed=3, mask_channels=None))
        for name in ("lenet5_frozen", "lenet5_attention")
    )
    kernel = frozen.get_layer("c1_attention").kernel
    np.testing.assert_array_equal(kernel, masked.get_layer("c1_attention").kernel)
    assert np.ptp(kernel) > 0
    trained = {variable.path for variable in frozen.trainable_variables}
    assert not any("attention" in path for path in trained)
    assert len(trained) == 10


@pytest.mark.parametrize("name", CONTROLS)
def test_blocks_stand_where_the_mask_is_placed(name, lenets):
    model = build_model(Protocol(model=name, mask_placement="c3"))
    added = {layer.name for layer in model.layers} - {layer.name for layer in lenets[0].layers}
    assert added
    assert not any(name.startswith("c1_") for name in added)
