"""Replacing the masks of a network, and re-initialising its weights."""

import keras
import numpy as np
import pytest

from mnist_attention import build_model, lenet5
from mnist_attention.probes.interventions import (
    DRAWS,
    INTERVENTIONS,
    draw_seeds,
    intervene,
    reinitialise_from_the_top,
)
from mnist_attention.protocol import Protocol


@pytest.fixture(scope="module")
def images(uci) -> np.ndarray:
    return np.pad(uci.test_images[:6] / 255, ((0, 0), (2, 2), (2, 2)))[..., None].astype("float32")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model(Protocol(dataset="uci", seed=5))


def test_ones_leave_the_network_without_masks(model, images):
    plain = lenet5()
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    np.testing.assert_allclose(
        intervene(model, "ones")(images), plain(images), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ones", [[[1, 1], [1, 1]], [[1, 1], [1, 1]]]),
        ("mean", [[[2.5, 2.5], [2.5, 2.5]], [[6.5, 6.5], [6.5, 6.5]]]),
        ("another image", [[[5, 6], [7, 8]], [[1, 2], [3, 4]]]),
    ],
)
def test_what_stands_where_the_mask_stood(name, expected):
    scores = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "float32")[..., None]
    changed = np.asarray(INTERVENTIONS[name](keras.ops.convert_to_tensor(scores)))[..., 0]
    np.testing.assert_allclose(changed, expected)


def test_shuffling_keeps_the_values_of_each_mask_and_moves_them_alike():
    scores = np.arange(2 * 4 * 4 * 3, dtype="float32").reshape(2, 4, 4, 3)
    changed = np.asarray(INTERVENTIONS["shuffled"](keras.ops.convert_to_tensor(scores)))
    assert changed.shape == scores.shape
    assert not np.array_equal(changed, scores)
    np.testing.assert_array_equal(np.sort(changed, axis=None), np.sort(scores, axis=None))
    np.testing.assert_array_equal(changed[1] - changed[0], 48)
    np.testing.assert_array_equal(changed[..., 1] - changed[..., 0], 1)


def test_another_images_mask_is_a_mask_of_the_batch(model, images):
    """With copies of one image nothing changes; with different ones something does."""
    changed = intervene(model, "another image")
    same = np.repeat(images[:1], 3, axis=0)
    np.testing.assert_allclose(changed(same), model(same), rtol=1e-5, atol=1e-6)
    assert not np.allclose(changed(images), model(images), atol=1e-4)


def test_bad_requests_are_refused(model):
    with pytest.raises(ValueError, match=r"one of \('mean', 'another image'.*name='zeros'"):
        intervene(model, "zeros")
    with pytest.raises(ValueError, match=r"with an AttentionMask1x1.*'lenet5' with the layers"):
        intervene(lenet5(), "ones")


def test_the_seeds_of_new_weights_stay_those_of_the_records():
    assert draw_seeds(3) == [2**32 + 15 + draw for draw in range(DRAWS)]


def test_layers_lose_their_training_from_the_top(model):
    trained = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    lost = []
    for name, copy in reinitialise_from_the_top(model, seed=2**32):
        lost.append(name)
        changed = {
            layer
            for layer, weights in trained.items()
            if not np.array_equal(copy.get_layer(layer).get_weights()[0], weights[0])
        }
        assert changed == set(lost)
    assert lost == ["output", "f6", "c5", "c3_attention", "c3", "c1_attention", "c1"]
    for layer, weights in trained.items():
        np.testing.assert_array_equal(model.get_layer(layer).get_weights()[0], weights[0])
