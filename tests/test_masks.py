"""Attention maps: those of the layer itself, in register with the image; their scores by hand."""

import keras
import numpy as np
import pytest
from sklearn import metrics

from mnist_attention import AttentionMask1x1, attention_maps, lenet5, lenet5_attention
from mnist_attention.augmentation import network_input
from mnist_attention.masks import (
    CENTRE_DEVIATION,
    SCORES,
    STRIDE_OF_MAP,
    TRIVIAL_MAPS,
    centres,
    deletion,
    features_around_masks,
    ink,
    ink_auroc,
    ink_on_grid,
    insertion,
    mask_on_image,
    perturbation_curves,
    relevance_mass,
    relevance_rank,
    snr_gain_db,
    upsample,
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


# Features around the masks


def test_features_around_masks_are_those_of_the_network_itself(model, uci):
    images = uci.test_images[:5]

    around = features_around_masks(model, images)

    scores = attention_maps(model, images)
    assert [*around] == ["c1_attention", "c3_attention"]
    for name, (before, after) in around.items():
        layer = model.get_layer(name)
        whole = keras.Model(model.input, [layer.input, layer.output])(network_input(images))
        np.testing.assert_allclose(before, whole[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after, whole[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(after, before * scores[name], rtol=1e-6)


def test_mask_on_image_is_the_mean_over_the_channels_enlarged():
    scores = np.random.default_rng(0).random((3, 10, 10, 16))
    expected = upsample(scores).mean(axis=-1)
    np.testing.assert_allclose(mask_on_image(scores), expected, rtol=1e-12)


@pytest.mark.parametrize("side", STRIDE_OF_MAP)
@pytest.mark.parametrize("channels", [1, 6, 16])
def test_a_constant_mask_stays_constant_to_the_last_bit(side, channels):
    """Or its score would be that of rounding errors."""
    scores = np.full((1, side, side, channels), 0.3, "float32")
    assert np.unique(mask_on_image(scores)).tolist() == [np.float32(0.3)]


def test_mask_on_image_refuses_maps_that_lost_their_channels():
    with pytest.raises(ValueError, match=r"Expected maps of shape.*\(2, 28, 28\)"):
        mask_on_image(np.zeros((2, 28, 28)))


# The ink


def test_ink_is_brighter_than_half():
    images = np.zeros((1, 28, 28), "uint8")
    images[0, 3, :4] = 0, 127, 128, 255
    for same in (images, images / 255):
        assert np.argwhere(ink(same)).tolist() == [[0, 3, 2], [0, 3, 3]]
    assert ink(images, threshold=0.4).sum() == 3
    assert not ink(np.full((1, 28, 28), 0.5)).any()
    with pytest.raises(ValueError, match=r"Expected images"):
        ink(images.astype(int))


@pytest.mark.parametrize(("side", "reach"), [(28, 0), (14, 0.5), (10, 0.5), (5, 1.5)])
def test_a_position_stands_on_the_pixels_nearest_to_its_centre(side, reach):
    row, column = 1, side - 2
    middle = centres(side)
    near = [np.abs(np.arange(28) - middle[place]) <= reach for place in (row, column)]
    strokes = np.outer(*near)[None]

    assert np.argwhere(ink_on_grid(strokes, side)).tolist() == [[0, row, column]]


def test_a_position_is_ink_if_half_of_its_pixels_are():
    strokes = np.zeros((2, 28, 28), bool)
    strokes[0, 4, 4] = True  # one of the four pixels of the first position of C3
    strokes[1, 4:6, 4] = True  # two of them
    assert ink_on_grid(strokes, 10)[:, 0, 0].tolist() == [False, True]


def test_on_c1_the_ink_is_as_it_is(uci):
    strokes = ink(uci.test_images[:5])
    np.testing.assert_array_equal(ink_on_grid(strokes, 28), strokes)


@pytest.mark.parametrize(
    ("strokes", "side", "message"),
    [
        (np.zeros((1, 28, 28)), 10, r"of type bool.*float64"),
        (np.zeros((1, 32, 32), bool), 10, r"shape \(n, 28, 28\).*\(1, 32, 32\)"),
        (np.zeros((1, 28, 28), bool), 11, r"Expected the side.*side=11"),
    ],
)
def test_ink_of_another_kind_is_refused(strokes, side, message):
    with pytest.raises(ValueError, match=message):
        ink_on_grid(strokes, side)


# Scores

STROKE = np.array([[[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]], bool)  # 3 of 10 pixels


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        # auroc, mass, rank, pointing
        (STROKE, (1, 1, 1, 1)),
        (~STROKE, (0, 0, 0, 0)),
        (np.full(STROKE.shape, 0.7), (0.5, 0.3, 0.3, 0.3)),
        (np.zeros(STROKE.shape), (0.5, 0.3, 0.3, 0.3)),
        # Ink 5, 4, 0 against background 5, 4, 0, 0, 0, 0, 0. The third place goes to a 4.
        (
            np.array([[[5, 4, 5, 4, 0], [0, 0, 0, 0, 0]]]),
            ((6 + 1 / 2 + 5 + 1 / 2 + 5 / 2) / 21, 9 / 18, (1 + 1 / 2) / 3, 1 / 2),
        ),
        # Two places are left for four equal pixels, one of which is ink.
        (
            np.array([[[9, 2, 2, 2, 2], [1, 1, 1, 1, 1]]]),
            ((7 + (4 + 3 / 2) + 4 / 2) / 21, 12 / 22, (1 + 2 * 1 / 4) / 3, 1),
        ),
    ],
)
def test_scores_by_hand(maps, expected):
    for (name, score), value in zip(SCORES.items(), expected, strict=True):
        received = score(maps.astype(float), STROKE)
        assert received.shape == (1,)
        assert received.dtype == np.float64
        assert received[0] == pytest.approx(value), name


@pytest.mark.parametrize("levels", [4, 1000])
def test_ink_auroc_is_that_of_scikit_learn(levels):
    generator = np.random.default_rng(levels)
    maps = generator.integers(levels, size=(20, 28, 28)) / levels
    strokes = generator.random(maps.shape) < generator.uniform(0.01, 0.99, (20, 1, 1))

    expected = [
        metrics.roc_auc_score(s.ravel(), m.ravel()) for s, m in zip(strokes, maps, strict=True)
    ]

    np.testing.assert_allclose(ink_auroc(maps, strokes), expected, rtol=1e-12)


def test_ties_of_relevance_rank_are_the_mean_over_random_orders():
    generator = np.random.default_rng(0)
    maps = generator.integers(4, size=(1, 8, 8)).astype(float)
    strokes = generator.random(maps.shape) < 0.3

    broken = maps + generator.uniform(0, 0.5, (20_000, 8, 8))

    sample = relevance_rank(broken, np.broadcast_to(strokes, broken.shape))
    error = sample.std() / np.sqrt(len(sample))
    assert sample.std() > 0
    assert abs(relevance_rank(maps, strokes)[0] - sample.mean()) < 4 * error


@pytest.mark.parametrize("name", ["ink_auroc", "relevance_rank", "pointing_game"])
def test_scores_of_the_order_ignore_the_scale(name, uci):
    maps = np.random.default_rng(0).standard_normal((9, 28, 28))
    strokes = ink(uci.test_images[:9])
    np.testing.assert_array_equal(
        SCORES[name](maps, strokes), SCORES[name](np.exp(maps) - 5, strokes)
    )


def test_each_image_has_its_own_score(uci):
    maps = np.random.default_rng(0).random((6, 28, 28)).astype("float32")
    strokes = ink(uci.test_images[:6])
    for score in SCORES.values():
        together = score(maps, strokes)
        apart = [score(maps[i : i + 1], strokes[i : i + 1])[0] for i in range(6)]
        np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_scores_leave_their_arguments_alone():
    maps, strokes = STROKE.astype(float), STROKE.copy()
    for score in SCORES.values():
        score(maps, strokes)
    np.testing.assert_array_equal(maps, STROKE)
    np.testing.assert_array_equal(strokes, STROKE)


def spoiled(value: float, index: int) -> np.ndarray:
    """Three maps; one pixel of one of them is `value`."""
    maps = np.ones((3, 2, 5))
    maps[index, 1, 2] = value
    return maps


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize(
    ("maps", "strokes", "message"),
    [
        (np.ones((3, 2, 5, 1)), STROKE.repeat(3, 0), r"shape \(3, 2, 5\).*\(3, 2, 5, 1\)"),
        (spoiled(np.nan, 1), STROKE.repeat(3, 0), r"finite.*map 1 with NaN.* and 0 more"),
        (spoiled(np.inf, 2), STROKE.repeat(3, 0), r"finite.*map 2"),
        (np.ones((3, 2, 5)), STROKE.repeat(3, 0) * 1.0, r"ink of type bool.*float64"),
        (
            np.ones((3, 2, 5)),
            np.concatenate([STROKE, STROKE & False, STROKE & False]),
            r"ink and background.*image 1 with 0 of 10 pixels ink, and 1 more",
        ),
        (
            np.ones((3, 2, 5)),
            np.concatenate([STROKE, STROKE, STROKE | True]),
            r"image 2 with 10 of 10 pixels ink, and 0 more",
        ),
        (np.ones((0, 2, 5)), np.ones((0, 2, 5), bool), r"n >= 1"),
    ],
)
def test_unsuitable_maps_and_ink_are_refused(score, maps, strokes, message):
    with pytest.raises(ValueError, match=message):
        score(maps, strokes)


def test_relevance_mass_refuses_a_linear_mask_and_says_what_to_do():
    maps = spoiled(-0.25, 2)
    with pytest.raises(ValueError, match=r"map 2 goes down to -0.25.*np\.abs\(scores\)"):
        relevance_mass(maps, STROKE.repeat(3, 0))


# Signal to noise


def noisy_features(channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random features of four images on a 28x28 grid, and their ink."""
    generator = np.random.default_rng(0)
    strokes = generator.random((4, 28, 28)) < 0.2
    return generator.standard_normal((4, 28, 28, channels)).astype("float32"), strokes


@pytest.mark.parametrize(
    ("on", "off", "gain"), [(1, 0.1, 20), (0.1, 1, -20), (0.5, 0.5, 0), (-1, 0.1, 20)]
)
def test_snr_gain_by_hand(on, off, gain):
    """Energies go with the square: ten times less noise is 20 dB."""
    before, strokes = noisy_features()
    after = before * np.where(strokes, on, off)[..., None]
    np.testing.assert_allclose(snr_gain_db(before, after, strokes), gain, atol=1e-5)


def test_snr_takes_positions_and_channels_together():
    before = np.ones((1, 2, 5, 2))
    after = before.copy()
    after[0, 0, 0, 0] = np.sqrt(7)  # mean square on ink: from 1 to (7 + 5) / 6 = 2
    assert snr_gain_db(before, after, STROKE)[0] == pytest.approx(10 * np.log10(2))


def test_snr_gain_where_energies_are_zero():
    features, nothing = np.ones((1, 2, 5, 1)), np.zeros((1, 2, 5, 1))
    signal, noise = STROKE[..., None] * 1.0, ~STROKE[..., None] * 1.0

    def gain(before, after):
        return snr_gain_db(before, after, STROKE)[0]

    assert gain(features, signal) == np.inf  # all noise removed
    assert gain(features, noise) == -np.inf  # all signal removed
    assert np.isnan(gain(signal, 0.5 * signal))  # no noise to remove
    assert np.isnan(gain(noise, 0.5 * noise))  # no signal to raise
    assert np.isnan(gain(nothing, nothing))
    assert np.isnan(gain(features, nothing))


def test_snr_gain_of_features_that_do_not_fit_is_refused():
    features, strokes = noisy_features()
    for arguments in (
        (features, features[..., :1], strokes),
        (features, features, strokes[:, :14, :14]),
        (features[..., 0], features[..., 0], strokes),
    ):
        with pytest.raises(ValueError, match=r"Expected features before and after"):
            snr_gain_db(*arguments)
    with pytest.raises(ValueError, match=r"ink and background.*image 0"):
        snr_gain_db(features, features, strokes & False)
    with pytest.raises(ValueError, match=r"Expected finite features"):
        snr_gain_db(features, features * np.nan, strokes)


def test_snr_gain_of_a_network_is_a_number_for_every_image(model, uci):
    images = uci.test_images[:20]
    for before, after in features_around_masks(model, images).values():
        gain = snr_gain_db(before, after, ink_on_grid(ink(images), before.shape[1]))
        assert gain.shape == (20,)
        assert np.isfinite(gain).all()


# Trivial maps


@pytest.mark.parametrize("name", TRIVIAL_MAPS)
def test_trivial_maps_lie_between_zero_and_one(name, uci):
    images = uci.test_images[:4]
    maps = TRIVIAL_MAPS[name](images, seed=1)
    assert maps.shape == (4, 28, 28)
    assert maps.min() >= 0
    assert maps.max() <= 1
    np.testing.assert_array_equal(maps, TRIVIAL_MAPS[name](images, seed=1))
    np.testing.assert_allclose(maps, TRIVIAL_MAPS[name](images / 255, seed=1), atol=1e-6)
    with pytest.raises(ValueError, match=r"Expected images of shape"):
        TRIVIAL_MAPS[name](images[0])


def test_brightness_is_a_perfect_map_of_a_clean_digit(uci):
    images = uci.test_images[:50]
    maps = TRIVIAL_MAPS["brightness"](images)
    for name in ("ink_auroc", "relevance_rank", "pointing_game"):
        np.testing.assert_array_equal(SCORES[name](maps, ink(images)), 1)


def test_edges_stand_beside_the_step_and_are_alike_in_both_directions():
    image = np.zeros((2, 28, 28))
    image[0, :, 14:] = 1
    image[1, 14:] = 1

    edges = TRIVIAL_MAPS["edges"](image)

    assert np.flatnonzero(edges[0].any(axis=0)).tolist() == [13, 14]
    np.testing.assert_allclose(edges[1], edges[0].T)


def test_the_centre_prior_falls_to_its_gaussian_value():
    prior = TRIVIAL_MAPS["centre"](np.zeros((2, 28, 28)))
    np.testing.assert_array_equal(prior[0], prior[1])
    np.testing.assert_allclose(prior[0], prior[0, ::-1, ::-1])
    # From 1/2 to 13/2 pixels off the middle along one axis, deviation 5.
    expected = np.exp(-((6.5**2 - 0.5**2) / (2 * CENTRE_DEVIATION**2)))
    assert prior[0, 14, 20] / prior[0, 14, 14] == pytest.approx(expected)


def test_random_maps_differ_by_seed_and_image_and_score_as_chance(uci):
    images = uci.test_images[:300]
    maps = TRIVIAL_MAPS["random"](images, seed=0)
    assert (maps != TRIVIAL_MAPS["random"](images, seed=1)).all()
    assert (maps[0] != maps[1]).all()
    assert ink_auroc(maps, ink(images)).mean() == pytest.approx(0.5, abs=0.01)


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


def test_curves_follow_the_pixels_that_the_map_names(counter):
    image, maps = two_rows()
    labels = np.array([1])

    shares, gone = perturbation_curves(counter, image, labels, maps, insert=False)
    _, come = perturbation_curves(counter, image, labels, maps, insert=True)

    bright = np.zeros(29)
    bright[:3] = 56, 28, 0
    np.testing.assert_allclose(shares, np.arange(29) / 28)
    np.testing.assert_allclose(gone[0], odds(bright), atol=1e-6)
    np.testing.assert_allclose(come[0], odds(56 - bright), atol=1e-6)


def test_areas_by_hand(counter):
    image, maps = two_rows()
    first, second = odds(np.array([56, 28]))
    labels = np.array([1])

    gone = deletion(counter, image, labels, maps)
    come = insertion(counter, image, labels, maps)

    np.testing.assert_allclose(gone, [(first / 2 + second) / 28], atol=1e-6)
    np.testing.assert_allclose(come, [(second + 25 * first + first / 2 + first) / 28], atol=1e-6)


def test_the_probability_is_that_of_the_true_class(counter):
    image, maps = two_rows()
    both = np.concatenate([image, image]), np.array([1, 0]), np.concatenate([maps, maps])
    np.testing.assert_allclose(deletion(counter, *both).sum(), 1, atol=1e-6)


def test_a_network_that_sees_nothing_has_the_area_of_its_guess(uci):
    inputs = keras.Input((32, 32, 1))
    blank = keras.layers.Dense(10, kernel_initializer="zeros")
    blind = keras.Model(inputs, blank(keras.layers.Flatten()(inputs)))
    images, labels = uci.test_images[:3], uci.test_labels[:3]
    maps = TRIVIAL_MAPS["random"](images)
    for area in (deletion, insertion):
        np.testing.assert_allclose(area(blind, images, labels, maps, steps=5), 0.1, rtol=1e-6)


def test_equal_pixels_go_row_by_row_from_the_top(counter):
    image, _ = two_rows()
    for constant in (np.zeros((1, 28, 28)), np.ones((1, 28, 28), bool)):
        _, curve = perturbation_curves(counter, image, np.array([1]), constant, insert=False)
        bright = np.r_[np.full(11, 56), 28, np.zeros(17)]
        np.testing.assert_allclose(curve[0], odds(bright), atol=1e-6)


def test_maps_of_unsigned_bytes_have_the_same_order(counter):
    image, maps = two_rows()
    bytes_ = (100 * maps).astype("uint8")
    label = np.array([1])
    assert deletion(counter, image, label, maps) == deletion(counter, image, label, bytes_)


def test_a_baseline_is_what_is_seen_in_the_place_of_pixels(counter):
    image, maps = two_rows()
    label = np.array([1])

    _, grey = perturbation_curves(counter, image, label, maps, insert=False, steps=1, baseline=0.5)
    np.testing.assert_allclose(grey[0], odds(np.array([56, 784 / 2])), atol=1e-6)

    itself = {"steps": 4, "baseline": image / 255}
    for area in (deletion, insertion):
        np.testing.assert_allclose(
            area(counter, image, label, maps, **itself), odds(56.0), atol=1e-6
        )


def test_many_images_keep_their_order_and_fit_into_batches(model, uci):
    images = np.concatenate([uci.train_images[:499], uci.test_images[:3]])  # more than a batch
    labels = np.concatenate([uci.train_labels[:499], uci.test_labels[:3]])
    maps = TRIVIAL_MAPS["random"](images)

    areas = deletion(model, images, labels, maps, steps=2)

    last = deletion(model, images[-3:], labels[-3:], maps[-3:], steps=2)
    assert areas.shape == (502,)
    np.testing.assert_allclose(areas[-3:], last, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((1, 32, 32))}, r"Expected images of shape"),
        ({"maps": np.zeros((1, 10, 10))}, r"Expected maps of shape \(1, 28, 28\).*10"),
        ({"maps": np.full((1, 28, 28), np.nan)}, r"map 0 with NaN"),
        ({"labels": np.array([1, 1])}, r"Expected 1 integer labels"),
        ({"labels": np.array([1.0])}, r"integer labels.*float64"),
        ({"labels": np.array([-1])}, r"labels from 0 to 1\. .*from -1"),
        ({"labels": np.array([2])}, r"labels from 0 to 1\. .*to 2"),
        ({"steps": 0}, r"steps from 1 to 784.*steps=0"),
        ({"steps": 785}, r"steps=785"),
        ({"baseline": 255}, r"baseline to lie in \[0, 1\].*255"),
        ({"baseline": np.nan}, r"baseline.*nan"),
        ({"baseline": np.zeros((2, 28, 28))}, r"broadcast|baseline"),
    ],
)
def test_unsuitable_perturbations_are_refused(counter, change, message):
    image, maps = two_rows()
    arguments = {"images": image, "labels": np.array([1]), "maps": maps, **change}
    for area in (deletion, insertion):
        with pytest.raises(ValueError, match=message):
            area(counter, **arguments)
