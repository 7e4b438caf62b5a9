"""Attention maps: the scores of the layer itself, and in register with the image."""

import keras
import numpy as np
import pytest

from mnist_attention import AttentionMask1x1, attention_maps, lenet5, lenet5_attention
from mnist_attention.augmentation import network_input
from mnist_attention.masks import STRIDE_OF_MAP, centres, upsample


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return lenet5_attention()


def test_maps_are_the_scores_of_the_layers(model, uci):
    images = uci.test_images[:7]

    maps = attention_maps(model, images)

    assert {name: scores.shape for name, scores in maps.items()} == {
        "c1_attention": (7, 28, 28, 1),
        "c3_attention": (7, 10, 10, 1),
    }
    for name, scores in maps.items():
        layer = model.get_layer(name)
        features = keras.Model(model.input, layer.input)(network_input(images))
        _, expected = layer(features, return_attention_scores=True)
        np.testing.assert_allclose(scores, expected, rtol=1e-6)
        assert np.ptp(scores) > 0.01


def test_maps_of_many_images_come_in_their_order(model, uci):
    images = np.concatenate([uci.train_images[:499], uci.test_images[:3]])  # more than a batch

    maps = attention_maps(model, images)["c1_attention"]

    last = attention_maps(model, uci.test_images[:3])["c1_attention"]
    assert len(maps) == 502
    np.testing.assert_allclose(maps[-3:], last, rtol=1e-6)


def test_bytes_and_floats_give_the_same_maps(model, uci):
    images = uci.test_images[:2]
    for maps, same in zip(
        attention_maps(model, images).values(),
        attention_maps(model, images / 255).values(),
        strict=True,
    ):
        np.testing.assert_allclose(maps, same, atol=1e-6)


@pytest.mark.parametrize(
    ("placement", "shapes"),
    [
        ("c3", {"c3_attention": (10, 10, 16)}),
        ("after_pooling", {"s2_attention": (14, 14, 6), "s4_attention": (5, 5, 16)}),
    ],
)
def test_other_placements_and_one_mask_per_feature(uci, placement, shapes):
    model = lenet5_attention(mask_placement=placement, mask_channels=None)

    maps = attention_maps(model, uci.test_images[:2])

    assert {name: scores.shape[1:] for name, scores in maps.items()} == shapes
    assert all(upsample(scores).shape[1:3] == (28, 28) for scores in maps.values())


def test_softmax_maps_sum_to_one(uci):
    model = lenet5_attention(mask_activation="softmax")
    for scores in attention_maps(model, uci.test_images[:2]).values():
        np.testing.assert_allclose(scores.sum(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_asking_for_maps_leaves_the_model_as_it_was(model, uci):
    images = network_input(uci.test_images[:3])
    logits, layers = np.asarray(model(images)), len(model.layers)

    attention_maps(model, uci.test_images[:3])

    assert len(model.layers) == layers
    np.testing.assert_array_equal(np.asarray(model(images)), logits)


def test_a_model_without_mask_is_refused_with_its_layers(uci):
    with pytest.raises(ValueError, match=r"Expected a model with an AttentionMask1x1.*'c1', 's2'"):
        attention_maps(lenet5(), uci.test_images[:1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32, 32)), r"Expected images of shape \(n, 28, 28\).*\(2, 32, 32\)"),
        (np.zeros((28, 28)), r"Expected images of shape"),
        (np.zeros((0, 28, 28)), r"with n >= 1"),
        (np.full((1, 28, 28), 255.0), r"to lie in \[0, 1\].*Divide by 255"),
        (np.zeros((1, 28, 28), int), r"of type uint8 or float.*int64"),
        (np.full((1, 28, 28), np.nan), r"without NaN pixels"),
    ],
)
def test_unsuitable_images_are_refused(model, images, message):
    with pytest.raises(ValueError, match=message):
        attention_maps(model, images)


@pytest.mark.parametrize(("layer", "side"), [("c1", 28), ("s2", 14), ("c3", 10), ("s4", 5)])
def test_centres_are_the_middle_of_what_each_position_sees(layer, side):
    """Measured: of which canvas pixels does a position of the map depend at all?"""
    model = lenet5(activation="tanh", pooling="average")  # so that every pixel counts
    features = keras.Model(model.input, model.get_layer(layer).output)
    probes = np.eye(32, dtype="float32")[:, :, None, None] * np.ones((1, 1, 32, 1), "float32")

    moved = np.asarray(features(probes) - features(np.zeros((1, 32, 32, 1), "float32")))

    seen = np.abs(moved).max(axis=(2, 3)) > 1e-9  # (canvas row, row of the map)
    middle = [np.flatnonzero(rows)[[0, -1]].mean() for rows in seen.T]
    np.testing.assert_array_equal(centres(side, size=32), middle)
    np.testing.assert_array_equal(centres(side), np.array(middle) - 2)


def test_c3_looks_at_two_i_plus_four_and_a_half():
    np.testing.assert_array_equal(centres(10), 2 * np.arange(10) + 4.5)


@pytest.mark.parametrize("side", STRIDE_OF_MAP)
def test_a_constant_map_stays_constant(side):
    enlarged = upsample(np.full((2, side, side, 3), 0.3))
    assert enlarged.shape == (2, 28, 28, 3)
    np.testing.assert_allclose(enlarged, 0.3, rtol=1e-12)


def test_a_map_of_the_images_own_size_stays_as_it_is():
    maps = np.random.default_rng(0).random((2, 28, 28, 1))
    np.testing.assert_array_equal(upsample(maps), maps)


@pytest.mark.parametrize("side", [28, 14, 10, 5])
@pytest.mark.parametrize("size", [28, 32])
def test_a_hot_spot_lands_at_its_centre(side, size):
    row, column = side // 4, side // 2
    maps = np.zeros((1, side, side, 1))
    maps[0, row, column, 0] = 1

    spot = upsample(maps, size)[0, ..., 0]

    balance = np.array([(spot.sum(axis=1 - axis) * np.arange(size)).sum() for axis in (0, 1)])
    where = centres(side, size)
    np.testing.assert_allclose(balance / spot.sum(), [where[row], where[column]])


def test_a_linear_ramp_stays_linear_between_the_centres():
    where = centres(10)
    maps = np.broadcast_to(where[None, :, None, None], (1, 10, 10, 1))
    np.testing.assert_allclose(upsample(maps)[0, 5:23, 0, 0], np.arange(5, 23))


@pytest.mark.parametrize("shape", [(28, 28), (1, 10, 12, 1), (1, 11, 11, 1)])
def test_maps_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        upsample(np.zeros(shape))


def test_other_models_with_the_layer_work_too(uci):
    inputs = keras.Input((32, 32, 1))
    outputs = AttentionMask1x1(name="look")(inputs)
    maps = attention_maps(keras.Model(inputs, outputs), uci.test_images[:2])
    assert maps["look"].shape == (2, 32, 32, 1)
