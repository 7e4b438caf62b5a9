"""Masks of a network: those of the layer itself, their gain, and areas by hand."""

import keras
import numpy as np
import pytest
from sklearn import metrics

from mnist_attention import AttentionMask1x1, attention_maps, lenet5, lenet5_attention
from mnist_attention.data import ink, network_input
from mnist_attention.noise import add_noise
from mnist_attention.probes.masks import (
    deletion,
    insertion,
    maps_on_image,
    snr_gain,
)
from mnist_attention.probes.scores import (
    TRIVIAL_MAPS,
    centres,
    ink_on_grid,
    mask_on_image,
    snr_gain_db,
)


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
    on_image = maps_on_image(model, uci.test_images[:2])
    assert [*on_image] == [name.removesuffix("_attention").upper() for name in shapes]
    for laid, scores in zip(on_image.values(), maps.values(), strict=True):
        np.testing.assert_array_equal(laid, mask_on_image(scores))


def test_masks_of_a_network_whose_convolutions_pad(uci):
    """Of any model: one that keeps the 32x32 of its input, and halves it."""
    inputs = keras.Input((32, 32, 1))
    maps = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    maps = keras.layers.MaxPooling2D()(AttentionMask1x1(name="one")(maps))
    maps = AttentionMask1x1(name="another")(maps)
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(maps)))
    images = uci.test_images[:3]

    assert {name: m.shape for name, m in maps_on_image(model, images).items()} == {
        "ONE": (3, 28, 28), "ANOTHER": (3, 28, 28),
    }  # fmt: skip
    gains = snr_gain(model, images, ink(images))
    assert {name: gain.shape for name, gain in gains.items()} == {
        "one": (3,), "another": (3,),
    }  # fmt: skip


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
    np.testing.assert_array_equal(centres(side), np.array(middle) - 2)  # from canvas to digit


# Signal to noise


def test_gains_are_those_of_the_features_of_the_network_itself(model, uci):
    clean = np.concatenate([uci.train_images[:499], uci.test_images[:3]])  # more than a batch
    images, strokes = add_noise(clean, "uniform", strength=1, seed=0), ink(clean)

    gains = snr_gain(model, images, strokes)

    assert [*gains] == ["c1_attention", "c3_attention"]
    for name, gain in gains.items():
        layer = model.get_layer(name)
        before, after = keras.Model(model.input, [layer.input, layer.output])(network_input(images))
        on_grid = ink_on_grid(strokes, before.shape[1])
        expected = snr_gain_db(np.asarray(before), np.asarray(after), on_grid)
        np.testing.assert_allclose(gain, expected, atol=1e-4)
        assert gain.dtype == np.float64
        assert np.ptp(gain) > 0.01


def test_a_gate_that_opens_to_ink_alone_gains(uci):
    """One channel, the image itself; the mask is near 1 on full ink and near 0 on black."""
    inputs = keras.Input((32, 32, 1))
    inside = keras.layers.Cropping2D(2)(inputs)
    gate = AttentionMask1x1(name="gate", kernel_initializer=keras.initializers.Constant(20))
    gate_model = keras.Model(inputs, gate(inside))
    gate.set_weights([gate.get_weights()[0], np.array([-10.0])])
    image = np.full((1, 28, 28), 0.25)
    image[0, 10:12] = 1

    gain = snr_gain(gate_model, image, ink(image))["gate"]

    # A sigmoid of 10 on ink and of -5 off it, squared.
    expected = 20 * np.log10((1 + np.exp(5)) / (1 + np.exp(-10)))
    np.testing.assert_allclose(gain, [expected], rtol=1e-5)


def test_gains_of_what_does_not_fit_are_refused(model, uci):
    images = uci.test_images[:2]
    strokes = ink(images)
    with pytest.raises(ValueError, match=r"Expected ink of shape \(2, 28, 28\).*\(3, 28, 28\)"):
        snr_gain(model, images, np.concatenate([strokes, strokes[:1]]))
    with pytest.raises(ValueError, match=r"Expected ink of type bool"):
        snr_gain(model, images, strokes * 1.0)
    with pytest.raises(ValueError, match=r"ink and background.*image 1"):
        snr_gain(model, images, strokes & np.array([True, False])[:, None, None])
    with pytest.raises(ValueError, match=r"Expected a model with an AttentionMask1x1"):
        snr_gain(lenet5(), images, strokes)


# Deletion and insertion


@pytest.fixture(scope="module")
def counter() -> keras.Model:
    """Class 1 has the logit log(number of bright pixels), class 0 the logit log(10)."""
    inputs = keras.Input((32, 32, 1))
    bright = keras.layers.GlobalAveragePooling2D()(inputs)
    logits = keras.layers.Lambda(
        lambda mean: keras.ops.concatenate(
            [0 * mean + float(np.log(10)), keras.ops.log(1024 * mean + 1e-30)], axis=1
        )
    )(bright)
    return keras.Model(inputs, logits)


def odds(pixels: np.ndarray) -> np.ndarray:
    """The probability of class 1 by the number of bright pixels."""
    return pixels / (pixels + 10)


def two_rows() -> tuple[np.ndarray, np.ndarray]:
    """An image with 56 bright pixels, two whole rows; a map that finds them."""
    image = np.zeros((1, 28, 28), "uint8")
    image[0, 10:12] = 255
    maps = np.zeros((1, 28, 28))
    maps[0, 10], maps[0, 11] = 0.9, 0.8
    return image, maps


def test_areas_by_hand(counter):
    image, maps = two_rows()
    first, second = odds(np.array([56, 28]))
    labels = np.array([1])

    gone = deletion(counter, image, labels, maps)
    come = insertion(counter, image, labels, maps)

    np.testing.assert_allclose(gone, [(first / 2 + second) / 28], atol=1e-6)
    np.testing.assert_allclose(come, [(second + 25 * first + first / 2 + first) / 28], atol=1e-6)
    bright = np.r_[56, 28, np.zeros(27)]
    curves = [odds(bright), odds(56 - bright)]
    expected = [metrics.auc(np.arange(29) / 28, curve) for curve in curves]
    np.testing.assert_allclose([*gone, *come], expected, atol=1e-6)


def test_the_probability_is_that_of_the_true_class(counter):
    image, maps = two_rows()
    both = np.concatenate([image, image]), np.array([1, 0]), np.concatenate([maps, maps])
    np.testing.assert_allclose(deletion(counter, *both).sum(), 1, atol=1e-6)


def test_areas_of_models_that_do_not_tell_their_shapes(counter):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return counter(inputs)

    image, maps = two_rows()
    anything = keras.Input((None, None, 1))
    any_size = keras.Model(anything, keras.layers.GlobalMaxPooling2D()(anything))
    assert deletion(Subclassed(), image, np.array([1]), maps) == deletion(
        counter, image, np.array([1]), maps
    )
    assert deletion(any_size, image, np.array([0]), maps) == pytest.approx(1)


def test_a_network_that_sees_nothing_has_the_area_of_its_guess(uci, two_steps):
    inputs = keras.Input((32, 32, 1))
    blank = keras.layers.Dense(10, kernel_initializer="zeros")
    blind = keras.Model(inputs, blank(keras.layers.Flatten()(inputs)))
    images, labels = uci.test_images[:3], uci.test_labels[:3]
    maps = TRIVIAL_MAPS["random"](images)
    for area in (deletion, insertion):
        np.testing.assert_allclose(area(blind, images, labels, maps), 0.1, rtol=1e-6)


def test_equal_pixels_go_row_by_row_from_the_top(counter):
    image, _ = two_rows()
    for constant in (np.zeros((1, 28, 28)), np.ones((1, 28, 28), bool)):
        area = deletion(counter, image, np.array([1]), constant)
        bright = np.r_[np.full(11, 56), 28, np.zeros(17)]
        np.testing.assert_allclose(area, np.trapezoid(odds(bright), dx=1 / 28), atol=1e-6)


def test_maps_of_unsigned_bytes_have_the_same_order(counter):
    image, maps = two_rows()
    bytes_ = (100 * maps).astype("uint8")
    label = np.array([1])
    assert deletion(counter, image, label, maps) == deletion(counter, image, label, bytes_)


def test_many_images_keep_their_order_and_fit_into_batches(model, uci, two_steps):
    images = np.concatenate([uci.train_images[:499], uci.test_images[:3]])  # more than a batch
    labels = np.concatenate([uci.train_labels[:499], uci.test_labels[:3]])
    maps = TRIVIAL_MAPS["random"](images)

    areas = deletion(model, images, labels, maps)

    last = deletion(model, images[-3:], labels[-3:], maps[-3:])
    assert areas.shape == (502,)
    np.testing.assert_allclose(areas[-3:], last, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((1, 32, 32))}, r"Expected images of shape"),
        ({"maps": np.zeros((1, 10, 10))}, r"Expected maps of shape \(1, 28, 28\).*10"),
        ({"maps": np.full((1, 28, 28), np.nan)}, r"finite maps.*map 0"),
        ({"labels": np.array([1, 1])}, r"Expected labels of shape \(1,\), one per image.*\(2,\)"),
        ({"labels": np.array([1.0])}, r"labels of integer type.*float64"),
        ({"labels": np.array([-1])}, r"labels from 0 to 1\. .*from -1"),
        ({"labels": np.array([2])}, r"labels from 0 to 1\. .*to 2"),
    ],
)
def test_unsuitable_perturbations_are_refused(counter, change, message):
    image, maps = two_rows()
    arguments = {"images": image, "labels": np.array([1]), "maps": maps, **change}
    for area in (deletion, insertion):
        with pytest.raises(ValueError, match=message):
            area(counter, **arguments)
