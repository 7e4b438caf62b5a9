"""Maps in register with the image, the ink, and their scores by hand."""

import numpy as np
import pytest
from skimage import filters
from sklearn import metrics

from mnist_attention.data import ink
from mnist_attention.probes.scores import (
    CENTRE_DEVIATION,
    SCORES,
    TRIVIAL_MAPS,
    centres,
    ink_auroc,
    ink_on_grid,
    mask_on_image,
    relevance_mass,
    relevance_rank,
    snr_gain_db,
    stride,
)

SIDES = (28, 14, 10, 5, 32, 16, 8)  # of LeNet-5, then of networks whose convolutions pad


def test_c3_looks_at_two_i_plus_four_and_a_half():
    np.testing.assert_array_equal(centres(10), 2 * np.arange(10) + 4.5)


@pytest.mark.parametrize("side", SIDES)
def test_a_constant_map_stays_constant(side):
    enlarged = mask_on_image(np.full((2, side, side, 3), 0.3))
    assert enlarged.shape == (2, 28, 28)
    np.testing.assert_allclose(enlarged, 0.3, rtol=1e-12)


def test_a_map_of_the_images_own_size_stays_as_it_is():
    maps = np.random.default_rng(0).random((2, 28, 28, 1))
    np.testing.assert_array_equal(mask_on_image(maps), maps[..., 0])


@pytest.mark.parametrize("side", SIDES)
def test_a_hot_spot_lands_at_its_centre(side):
    row, column = side // 4, side // 2
    maps = np.zeros((1, side, side, 1))
    maps[0, row, column, 0] = 1

    spot = mask_on_image(maps)[0]

    balance = np.array([(spot.sum(axis=1 - axis) * np.arange(28)).sum() for axis in (0, 1)])
    where = centres(side)
    np.testing.assert_allclose(balance / spot.sum(), [where[row], where[column]])


def test_a_linear_ramp_stays_linear_between_the_centres():
    where = centres(10)
    maps = np.broadcast_to(where[None, :, None, None], (1, 10, 10, 1))
    np.testing.assert_allclose(mask_on_image(maps)[0, 5:23, 0], np.arange(5, 23))


@pytest.mark.parametrize("shape", [(28, 28), (1, 10, 10)])
def test_maps_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"Expected .*Received"):
        mask_on_image(np.zeros(shape))


def test_strides_of_maps():
    assert [stride(side) for side in SIDES] == [1, 2, 2, 4, 1, 2, 4]
    # Two 3x3 convolutions, each followed by pooling, on images of 64 pixels.
    assert [stride(side, 64) for side in (62, 31, 29, 14)] == [1, 2, 2, 4]
    assert stride(64, 32) == 0.5


def test_maps_of_an_image_that_is_the_whole_input_and_not_square():
    maps = np.zeros((1, 15, 23, 1))  # 3x3 convolution and pooling of 32x48
    maps[0, 0, 22] = 1
    spot = mask_on_image(maps, (32, 48), (32, 48))[0]
    assert spot.shape == (32, 48)
    row, column = np.argwhere(spot == 1).T
    assert set(row) == {0, 1}
    assert column.min() >= 46
    assert centres(15, 32, 32)[[0, -1]].tolist() == [1.5, 29.5]


def test_mask_on_image_is_the_mean_over_the_channels_enlarged():
    scores = np.random.default_rng(0).random((3, 10, 10, 16))
    expected = np.mean([mask_on_image(scores[..., [k]]) for k in range(16)], axis=0)
    np.testing.assert_allclose(mask_on_image(scores), expected, rtol=1e-12)


@pytest.mark.parametrize("side", SIDES)
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
    assert not ink(np.full((1, 28, 28), 0.5)).any()
    with pytest.raises(ValueError, match=r"Expected images"):
        ink(images.astype(int))


REACHES = [(28, 0), (14, 0.5), (10, 0.5), (5, 1.5), (32, 0), (16, 0.5), (8, 1.5)]


@pytest.mark.parametrize(("side", "reach"), REACHES)
def test_a_position_stands_on_the_pixels_nearest_to_its_centre(side, reach):
    row, column = side // 3, side - side // 3
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
        (np.zeros((28, 28), bool), 10, r"shape \(n, height, width\).*\(28, 28\)"),
        (np.zeros((1, 28, 28), bool), 56, r"at most 28 positions a side\. Received: 56"),
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
        (spoiled(np.nan, 1), STROKE.repeat(3, 0), r"finite maps.*map 1"),
        (spoiled(np.inf, 2), STROKE.repeat(3, 0), r"finite maps.*map 2"),
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
    with pytest.raises(ValueError, match=r"down to -0.25.*np\.abs\(scores\)"):
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


# Trivial maps


@pytest.mark.parametrize("name", TRIVIAL_MAPS)
def test_trivial_maps_lie_between_zero_and_one(name, uci):
    images = uci.test_images[:4]
    maps = TRIVIAL_MAPS[name](images)
    assert maps.shape == (4, 28, 28)
    assert maps.min() >= 0
    assert maps.max() <= 1
    np.testing.assert_array_equal(maps, TRIVIAL_MAPS[name](images))
    np.testing.assert_allclose(maps, TRIVIAL_MAPS[name](images / 255), atol=1e-6)
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


def test_edges_are_those_of_scikit_image(uci):
    images = uci.test_images[:5]
    expected = [filters.sobel(image / 255) for image in images]
    np.testing.assert_allclose(TRIVIAL_MAPS["edges"](images), expected, atol=1e-6)


def test_the_centre_prior_falls_to_its_gaussian_value():
    prior = TRIVIAL_MAPS["centre"](np.zeros((2, 28, 28)))
    np.testing.assert_array_equal(prior[0], prior[1])
    np.testing.assert_allclose(prior[0], prior[0, ::-1, ::-1])
    # From 1/2 to 13/2 pixels off the middle along one axis, deviation 5.
    expected = np.exp(-((6.5**2 - 0.5**2) / (2 * CENTRE_DEVIATION**2)))
    assert prior[0, 14, 20] / prior[0, 14, 14] == pytest.approx(expected)


def test_random_maps_differ_by_image_and_score_as_chance(uci):
    images = uci.test_images[:300]
    maps = TRIVIAL_MAPS["random"](images)
    assert (maps[0] != maps[1]).all()
    assert ink_auroc(maps, ink(images)).mean() == pytest.approx(0.5, abs=0.01)
    assert maps[0, 0, :2] == pytest.approx([0.636962, 0.269787], abs=1e-6)  # as in the records
