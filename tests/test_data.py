"""The digits: what is loaded, what is refused, and the plan of an epoch."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from mnist_attention import PAPER, Protocol, data, load_dataset
from mnist_attention.data import epoch_plan, network_input
from mnist_attention.storage import mnist as stored

# The real thing


def test_mnist_is_complete_and_canonical(mnist):
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    assert mnist.digest == stored.MNIST_DIGEST
    assert np.bincount(mnist.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert not mnist.banner


def test_uci_digits_are_stratified_and_marked(uci):
    assert len(uci.train_images) == data.TRAIN_SIZE["uci"] == 1437
    assert len(uci.test_images) == 360
    assert np.bincount(uci.test_labels).min() >= 34
    assert uci.train_images.dtype == np.uint8
    assert uci.train_images.max() == 255
    assert "not MNIST" in uci.banner
    assert load_dataset("uci").digest == uci.digest


def test_unknown_dataset_is_refused():
    with pytest.raises(ValueError, match=r"'mnist', 'uci'.*Received: name='cifar'"):
        load_dataset("cifar")


# Bad arrays


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("train_images", lambda x: x[0], r"shape \(n, 28, 28\).*Received: shape=\(28, 28\)"),
        ("train_images", lambda x: x[..., None], r"shape \(n, 28, 28\)"),
        ("test_images", lambda x: x[:0], r"test_images.*n >= 1"),
        ("train_images", lambda x: x.astype(int), "uint8 or float.*Received: dtype=int64"),
        ("train_images", lambda x: x.astype("float32"), r"\[0, 1\].*Divide by 255"),
        ("train_images", lambda x: x / -255, r"\[0, 1\]"),
        ("train_images", lambda x: np.where(x == 255, np.nan, x / 255), "without NaN pixels"),
        ("train_labels", lambda y: y[:-1], "one per image"),
        ("train_labels", lambda y: y + 1, "from 0 to 9.*Received: values from 1 to 10"),
        ("train_labels", lambda y: y.astype("float32"), "integer"),
        ("test_labels", lambda y: y.astype(int) - 1, "from 0 to 9.*Received: values from -1"),
    ],
)
def test_bad_arrays_are_refused(small, field, change, message):
    with pytest.raises(ValueError, match=message):
        replace(small, **{field: change(getattr(small, field))})


def test_digests_see_every_array(small):
    digests = {small.digest}
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(small, field).copy()
        changed.flat[0] ^= 1
        digests.add(replace(small, **{field: changed}).digest)
    assert len(digests) == 5


# The plan of an epoch


def test_a_plan_is_a_permutation_with_draws_in_range():
    plan = epoch_plan(PAPER, 0)
    assert sorted(plan.order) == list(range(60_000))
    assert 0.49 < plan.flip.mean() < 0.51
    assert set(np.unique(plan.shift)) == {-2, -1, 0, 1, 2}
    assert plan.shift.shape == (60_000, 2)


def test_no_two_epochs_and_no_two_seeds_share_an_order():
    protocols = [Protocol(dataset="uci", seed=seed) for seed in range(4)]
    orders = {
        epoch_plan(protocol, epoch).order.tobytes() for protocol in protocols for epoch in range(25)
    }
    assert len(orders) == 100


def test_a_plan_is_a_pure_function_of_seed_and_epoch():
    first, again = epoch_plan(PAPER, 3), epoch_plan(PAPER, 3)
    for name in ("order", "flip", "shift"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_with_and_without_mask_and_at_all_rates_the_plan_is_shared():
    plan = epoch_plan(PAPER, 5)
    other = epoch_plan(replace(PAPER, model="lenet5", learning_rate=0.1, batch_size=48), 5)
    np.testing.assert_array_equal(plan.order, other.order)
    np.testing.assert_array_equal(plan.flip, other.flip)
    np.testing.assert_array_equal(plan.shift, other.shift)


def test_without_one_augmentation_the_other_is_unchanged():
    both = epoch_plan(PAPER, 1)
    shifted, flipped = (
        epoch_plan(replace(PAPER, **off), 1) for off in ({"flip": False}, {"shift": 0})
    )
    assert not shifted.flip.any()
    assert not flipped.shift.any()
    np.testing.assert_array_equal(shifted.shift, both.shift)
    np.testing.assert_array_equal(flipped.flip, both.flip)


def test_the_plan_is_pinned():
    """Records name a seed: were the draws to change, the same run would give another record."""
    plan = epoch_plan(Protocol(dataset="uci", seed=1), 2)
    digest = hashlib.sha256(plan.order.tobytes() + plan.flip.tobytes() + plan.shift.tobytes())
    assert digest.hexdigest()[:16] == "368bf30a999f3b71"


@pytest.mark.parametrize("canvas", [26, 33])
def test_a_canvas_that_digits_cannot_stand_in_the_middle_of_is_refused(canvas):
    with pytest.raises(ValueError, match=f"an even canvas of at least 28 .*canvas={canvas}"):
        network_input(np.zeros((1, 28, 28), np.uint8), canvas)
