"""Backgrounds and corruptions: pure, graded, with the exact ink."""

import numpy as np
import pytest

from mnist_attention import noise as backgrounds
from mnist_attention.noise import (
    BACKGROUNDS,
    BRIGHTEST,
    CORRUPTIONS,
    SPLITS,
    Condition,
    add_noise,
    apply_noise,
)
from mnist_attention.protocol import Protocol

ALL = [*BACKGROUNDS, *CORRUPTIONS]
BLACK = np.zeros((400, 28, 28), np.uint8)


@pytest.fixture(scope="module")
def digits(uci) -> np.ndarray:
    return uci.test_images[:40]


def behind_nothing(name: str, **options) -> np.ndarray:
    """The background alone, from 0 to 1."""
    images = add_noise(BLACK, name, **{"strength": 1, "seed": 5, **options})
    return images / (255 * BRIGHTEST)


PINNED = {
    "uniform": [236, 233, 213, 199, 189, 183],
    "gaussian": [237, 229, 223, 197, 196, 177],
    "photographs": [232, 235, 222, 213, 201, 190],
    "clutter": [247, 248, 240, 207, 178, 157],
    "gaussian_noise": [255, 96, 245, 0, 237, 234],
    "shot_noise": [255, 255, 170, 255, 85, 170],
    "impulse_noise": [223, 227, 0, 0, 178, 149],
    "blur": [186, 204, 203, 191, 170, 146],
    "contrast": [107, 108, 105, 102, 98, 92],
    "stripes": [223, 227, 212, 128, 128, 128],
    "occlusion": [223, 227, 212, 197, 178, 149],
}
"""Six pixels of the second test digit, at full strength; of `gaussian` with gamma 0.5."""


@pytest.mark.parametrize("name", PINNED)
def test_the_draws_stay_those_of_the_records(digits, name):
    condition = Condition(name, 1.0, 0.5 if name == "gaussian" else 0.0)
    pixels = condition.apply(digits[:2], "test")[1, 14, 8:14]
    np.testing.assert_allclose(pixels.astype(int), PINNED[name], atol=1)  # the last bit may differ


def test_training_images_stay_those_of_the_records(uci):
    shown = apply_noise(Protocol(dataset="uci", background="uniform", strength=1.0), uci)
    assert shown.train_images[1, 14, 8:14].tolist() == [212, 189, 176, 187, 190, 159]


def test_permuted_labels_stay_those_of_the_records(uci):
    shown = apply_noise(Protocol(dataset="uci", permuted_labels=True), uci)
    assert shown.train_labels[:10].tolist() == [1, 9, 1, 0, 5, 7, 4, 0, 5, 0]
    assert shown.test_labels is uci.test_labels
    assert apply_noise(Protocol(dataset="uci"), uci) is uci


def test_the_list_is_the_one_that_was_asked_for():
    assert [*PINNED] == ALL


@pytest.mark.parametrize("name", ALL)
def test_the_same_arguments_give_the_same_bytes_and_leave_the_images_alone(digits, name):
    before = digits.copy()
    np.random.seed(1)  # of no account, and not to be disturbed either
    state = np.random.get_state()[1].copy()

    images = add_noise(digits, name, strength=0.7, seed=3)
    again = add_noise(digits, name, strength=0.7, seed=3)

    assert (images.shape, images.dtype) == (digits.shape, np.uint8)
    assert images.tobytes() == again.tobytes()
    assert digits.tobytes() == before.tobytes()
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("blur", "contrast")])
def test_another_seed_split_or_index_gives_another_picture(name):
    one = np.tile(np.pad(np.full((1, 12, 12), 255, np.uint8), ((0, 0), (8, 8), (8, 8))), (3, 1, 1))
    options = {"strength": 1, "seed": 3}

    images = add_noise(one, name, **options)

    for other in (
        images[[1, 2, 0]],
        add_noise(one, name, **{**options, "seed": 4}),
        add_noise(one, name, **options, split="test"),
    ):
        assert (images != other).any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", ALL)
def test_an_image_does_not_depend_on_its_neighbours(monkeypatch, digits, name):
    monkeypatch.setattr(backgrounds, "_BLOCK", 16)  # so that 40 images are three blocks
    options = {"strength": 0.7, "seed": 3}

    images = add_noise(digits, name, **options)
    first = add_noise(digits[:17], name, **options)
    replaced = add_noise(np.concatenate([BLACK[:20], digits[20:]]), name, **options)

    np.testing.assert_array_equal(first, images[:17])
    np.testing.assert_array_equal(replaced[20:], images[20:])


@pytest.mark.parametrize("name", ALL)
def test_bytes_and_floats_give_the_same(digits, name):
    images = add_noise(digits, name, strength=0.7, seed=3)
    np.testing.assert_array_equal(images, add_noise(digits / 255, name, strength=0.7, seed=3))


@pytest.mark.parametrize("name", ALL)
def test_strength_zero_changes_nothing(digits, name):
    every_value = np.arange(28 * 28, dtype=np.uint16).astype(np.uint8).reshape(1, 28, 28)
    for clean in (digits, every_value):
        images = add_noise(clean, name, strength=0, seed=3)
        np.testing.assert_array_equal(images, clean)


@pytest.mark.parametrize("name", ALL)
def test_the_change_grows_with_strength(digits, name):
    changes = [
        np.abs(add_noise(digits, name, strength=strength, seed=3) - digits.astype(float)).mean()
        for strength in (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1)
    ]
    assert (np.diff(changes) > 0).all(), changes


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_background_leaves_full_ink_full_and_stays_darker_than_it(digits, name):
    images = add_noise(digits, name, strength=1, seed=3)

    assert (images[digits == 255] == 255).all()
    assert (images >= digits).all()
    brightest = 255 * BRIGHTEST
    assert brightest * 0.9 < images[digits == 0].max() <= np.rint(brightest)


def test_ink_covers_the_background_as_much_as_it_is_bright():
    half = np.full((1, 28, 28), 102, np.uint8)  # 0.4
    background = add_noise(np.zeros_like(half), "uniform", strength=0.5, seed=3) / 255

    images = add_noise(half, "uniform", strength=0.5, seed=3)

    np.testing.assert_allclose(images / 255, 0.4 + 0.6 * background, atol=1 / 255)


@pytest.mark.parametrize(
    ("name", "gamma"), [("uniform", 0), *(("gaussian", gamma) for gamma in (0, 0.3, 1))]
)
def test_noise_is_uniform_from_black_to_white(name, gamma):
    noise = behind_nothing(name, gamma=gamma)
    np.testing.assert_allclose(np.quantile(noise, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)


@pytest.mark.parametrize("gamma", [0, 0.4, 1])
@pytest.mark.parametrize("shift", [(0, 1), (3, 0), (4, 6)])
def test_gamma_is_the_correlation(gamma, shift):
    """A normal pair with correlation r, made uniform, has correlation 6/pi asin(r/2)."""
    rows, columns = shift
    stated = gamma * np.exp(-(rows**2 + columns**2) / 36)
    noise = behind_nothing("gaussian", gamma=gamma) - 0.5

    pairs = noise[:, rows:, columns:], noise[:, : 28 - rows, : 28 - columns]

    correlation = (pairs[0] * pairs[1]).mean() * 12  # a uniform variable has variance 1/12
    assert correlation == pytest.approx(6 / np.pi * np.arcsin(stated / 2), abs=0.04)


def test_patches_of_photographs_are_not_flat_and_come_from_both_photographs():
    for split in SPLITS:
        patches = behind_nothing("photographs", split=split)
        assert patches.std(axis=(1, 2)).min() > 0.99 * backgrounds.FLATTEST_PATCH
        photo = backgrounds._patches(split)[1][:, 0] % 2  # strips of one, then the other, in turn
        assert 0.1 < photo.mean() < 0.9


def test_training_and_testing_share_no_strip_of_a_photograph():
    strips = {
        split: {strip[:, ::28].tobytes() for strip in backgrounds._patches(split)[0][:, ::28, 0, 0]}
        for split in SPLITS
    }
    assert (len(strips["train"]), len(strips["test"])) == (12, 4)
    assert not strips["train"] & strips["test"]


def test_training_and_testing_share_no_digit_that_clutter_is_cut_from():
    train, test = ({digit.tobytes() for digit in backgrounds._other_digits(s)} for s in SPLITS)
    assert len(train) > len(test) > 300
    assert not train & test


def test_clutter_is_pieces_with_room_between_them_all_over_the_image():
    clutter = behind_nothing("clutter") > 0.5
    assert 0.03 < clutter.mean() < 4 * 8 * 8 / 28**2
    often = clutter.mean(axis=0)
    assert often[4:-4, 4:-4].min() > 0.03
    assert often[:, 0].max() > 0
    assert often[:, -1].max() > 0


def test_noise_is_as_strong_as_stated():
    grey = np.full((200, 28, 28), 0.5)
    noise = add_noise(grey, "gaussian_noise", strength=0.5, seed=3) / 255 - 0.5
    assert noise.std() == pytest.approx(0.19, rel=0.02)

    counts = add_noise(np.full((200, 28, 28), 0.25), "shot_noise", strength=0.5, seed=3) / 255
    assert counts.mean() == pytest.approx(0.25, rel=0.02)
    assert counts.std() == pytest.approx(np.sqrt(0.25 / 12), rel=0.02)  # 12 photons for 1

    impulses = add_noise(grey, "impulse_noise", strength=1, seed=3)
    assert np.mean(impulses == 0) == pytest.approx(0.135, abs=0.005)
    assert np.mean(impulses == 255) == pytest.approx(0.135, abs=0.005)


def test_blur_keeps_the_amount_of_ink_and_contrast_the_mean(digits):
    dot = np.zeros((1, 28, 28))
    dot[0, 14, 14] = 1
    blurred = add_noise(dot, "blur", strength=1, seed=3) / 255
    assert blurred.sum() == pytest.approx(1, abs=0.1)
    assert blurred.max() == pytest.approx(1 / (2 * np.pi * 1.5**2), rel=0.1)

    faint = add_noise(digits, "contrast", strength=1, seed=3)
    np.testing.assert_allclose(faint.mean(axis=(1, 2)), digits.mean(axis=(1, 2)), atol=0.5)
    np.testing.assert_allclose(np.ptp(faint, axis=(1, 2)), np.ptp(digits, axis=(1, 2)) / 5, atol=1)


def test_stripes_and_occlusion_cover_the_stated_area():
    stripes = behind_nothing_but_grey("stripes")
    assert stripes.mean() == pytest.approx(1 / 3, abs=0.01)

    disc = behind_nothing_but_grey("occlusion")
    np.testing.assert_allclose(disc.sum(axis=(1, 2)), 25 * np.pi, rtol=0.15)
    assert np.argwhere(disc)[:, 1:].min() >= 0


def behind_nothing_but_grey(name: str) -> np.ndarray:
    images = add_noise(BLACK, name, strength=1, seed=3)
    assert set(np.unique(images)) == {0, 128}
    return images == 128


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "snow"}, r"Expected name to be one of \('uniform', .*'occlusion'\).*name='snow'"),
        ({"strength": 1.1}, r"Expected strength from 0 to 1. Received: strength=1.1"),
        ({"strength": -0.1}, r"strength from 0 to 1"),
        ({"strength": float("nan")}, r"strength from 0 to 1. Received: strength=nan"),
        ({"seed": -1}, r"Expected seed from 0 to 2\*\*32 - 1. Received: seed=-1"),
        ({"name": "gaussian", "gamma": 2}, r"Expected gamma from 0 to 1. Received: gamma=2"),
        ({"gamma": 0.5}, r"Expected gamma 0 with 'uniform', which has none. Received: gamma=0.5"),
        ({"split": "dev"}, r"Expected split to be one of \('train', 'test'\).*split='dev'"),
        ({"images": np.zeros((2, 32, 32))}, r"shape \(n, 28, 28\).*\(2, 32, 32\)"),
        ({"images": np.full((2, 28, 28), 255.0)}, r"to lie in \[0, 1\].*Divide by 255"),
        ({"images": np.zeros((2, 28, 28), int)}, r"of type uint8 or float.*int64"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"images": BLACK[:2], "name": "uniform", "strength": 0.5, "seed": 0, **changes}
    with pytest.raises(ValueError, match=message):
        add_noise(**arguments)
