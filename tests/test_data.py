"""The digits: what is loaded, what is refused, and the plan of an epoch."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mnist_attention import PAPER, Protocol, data, load_dataset
from mnist_attention.data import epoch_plan
from mnist_attention.storage import mnist as stored
from mnist_attention.storage.mnist import MnistUnavailable

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


# Where MNIST comes from


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A folder with four small files that pass for the canonical ones, and an empty cache."""
    folder = tmp_path / "source"
    folder.mkdir()
    files = {name: name.encode() * 9 for name in stored.MNIST_FILES}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(stored, "MNIST_FILES", sums)
    monkeypatch.setenv("MNIST_ATTENTION_DATA", str(folder))
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def prepared(small, monkeypatch):
    """Stands in for TensorFlow Datasets; counts how often it is asked."""
    calls = []
    as_mnist = {name: getattr(small, name) for name in stored.ARRAYS}
    monkeypatch.setattr(stored, "MNIST_DIGEST", small.digest)
    monkeypatch.setattr(stored, "_prepare_mnist", lambda folder: calls.append(folder) or as_mnist)
    return calls


def test_a_second_load_comes_from_the_cache(source, prepared):
    first, second = load_dataset("mnist"), load_dataset("mnist")
    assert prepared == [str(source)]
    assert first.digest == second.digest
    assert (stored.cache_folder() / "mnist-3.0.1.npz").is_file()


def with_wrong_bit(content: bytes, where: int) -> bytes:
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: with_wrong_bit(content, 5000),
        lambda content: with_wrong_bit(content, content.index(b"PK\1\2") + 8),
        lambda content: with_wrong_bit(content, content.index(b"PK\1\2") + 10),
    ],
    ids=["truncated", "empty", "of a pixel", "says encrypted", "says compressed"],
)
def test_a_damaged_cache_is_rebuilt(source, prepared, capsys, damage):
    load_dataset("mnist")
    cache = stored.cache_folder() / "mnist-3.0.1.npz"
    sound = cache.read_bytes()
    cache.write_bytes(damage(sound))
    assert load_dataset("mnist").digest == stored.MNIST_DIGEST
    assert len(prepared) == 2
    assert f"{cache} is damaged and is made anew." in capsys.readouterr().err
    assert cache.read_bytes() == sound


def test_a_cache_of_other_images_is_rebuilt(source, prepared, monkeypatch):
    load_dataset("mnist")
    monkeypatch.setattr(stored, "MNIST_DIGEST", "another")
    load_dataset("mnist")
    assert len(prepared) == 2


def test_a_missing_file_is_named(source, prepared):
    (source / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"t10k-labels-idx1-ubyte\.gz is missing.*must name"
    ):
        load_dataset("mnist", fallback=True)
    assert not prepared


@pytest.mark.parametrize("content", [b"", b"train-images", b"something else, and longer" * 99])
def test_a_damaged_file_is_named_with_its_sums(source, prepared, content):
    path = source / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    wrong = hashlib.sha256(content).hexdigest()
    with pytest.raises(OSError, match=rf"{path} is damaged: expected SHA-256 .*received {wrong}"):
        load_dataset("mnist", fallback=True)
    assert not prepared


def test_a_folder_that_cannot_be_prepared_is_named_and_no_other_digits_are_used(
    source, monkeypatch
):
    def fail(folder):
        raise RuntimeError("no space left\nand more")

    monkeypatch.setattr(stored, "_splits_from_tfds", fail)
    with pytest.raises(OSError, match=rf"from {source} \(RuntimeError: no space left\)") as refused:
        load_dataset("mnist", fallback=True)
    assert not isinstance(refused.value, MnistUnavailable)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No cache, no folder, and a network in which no host answers."""
    monkeypatch.delenv("MNIST_ATTENTION_DATA", raising=False)
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path))
    monkeypatch.setattr(stored, "MNIST_ADDRESS", "http://127.0.0.1:9/")  # nothing listens there


def test_without_network_the_way_out_is_named(offline):
    with pytest.raises(
        MnistUnavailable, match=r"could not be downloaded.*MNIST_ATTENTION_DATA.*'uci'"
    ):
        load_dataset("mnist")


def test_falling_back_is_loud(offline, uci, capsys):
    assert load_dataset("mnist", fallback=True).digest == uci.digest
    assert "MNIST IS NOT AVAILABLE: USING THE EMBEDDED UCI DIGITS" in capsys.readouterr().err


def test_an_unwritable_cache_is_named(source, prepared, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNIST_ATTENTION_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        load_dataset("mnist")


def test_other_images_from_tensorflow_datasets_are_refused(small, monkeypatch):
    splits = [
        {"image": small.train_images[..., None], "label": small.train_labels},
        {"image": small.test_images[..., None], "label": small.test_labels},
    ]
    monkeypatch.setattr(stored, "_splits_from_tfds", lambda source: splits)
    with pytest.raises(OSError, match=rf"expected digest {stored.MNIST_DIGEST}, received"):
        stored._prepare_mnist(None)


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


def test_loading_the_cache_needs_no_tensorflow(mnist):
    script = (
        "import sys; from mnist_attention import load_dataset; load_dataset('mnist'); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
