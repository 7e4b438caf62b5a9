"""``train``: what it records, what it refuses, and that it learns."""

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from mnist_attention import Protocol, build_model, train, training
from mnist_attention.batches import TrainingBatches
from mnist_attention.data import (
    augment,
    augment_epoch,
    augmentation_table,
    epoch_plan,
    network_input,
    scale_pixels,
)
from mnist_attention.noise import apply_noise
from mnist_attention.records import (
    read_record,
    read_records,
    record_path,
    record_text,
    reproducible_text,
)
from mnist_attention.storage.record_format import RECORD_KEYS

PROTOCOL = Protocol(dataset="uci", epochs=2, batch_size=96, learning_rate=0.1)


@pytest.fixture(scope="module")
def record(uci) -> dict:
    return train(PROTOCOL, dataset=uci, verbose=False)


def test_a_record_has_its_parts(record, uci):
    assert set(record) == set(RECORD_KEYS)
    assert record["run_id"] == PROTOCOL.run_id(uci.digest)
    assert record["protocol"] == PROTOCOL.to_json()
    assert record["dataset"] == {
        "name": "uci", "digest": uci.digest, "train_size": 1437, "test_size": 360,
    }  # fmt: skip
    assert {name: len(values) for name, values in record["history"].items()} == {
        "loss": 2, "accuracy": 2, "test_loss": 2, "test_accuracy": 2,
    }  # fmt: skip
    json.dumps(record, allow_nan=False)


def test_accuracies_are_those_of_the_predictions(record, uci):
    predictions = np.array([int(digit) for digit in record["test_predictions"]])
    assert len(predictions) == 360
    assert record["result"]["test_accuracy"] == np.mean(predictions == uci.test_labels)
    assert record["result"]["test_accuracy"] == pytest.approx(
        record["history"]["test_accuracy"][-1], abs=1e-6
    )
    assert record["result"]["train_accuracy"] * 1437 == pytest.approx(
        round(record["result"]["train_accuracy"] * 1437)
    )


def test_the_same_protocol_gives_the_same_record(record, uci):
    again = train(PROTOCOL, dataset=uci, verbose=False)
    assert again["history"] == record["history"]
    assert again["test_predictions"] == record["test_predictions"]


def test_another_seed_gives_another_record(record, uci):
    other = train(replace(PROTOCOL, seed=1), dataset=uci, verbose=False)
    assert other["history"]["loss"] != record["history"]["loss"]


def test_it_learns(uci):
    protocol = replace(PROTOCOL, model="lenet5", epochs=8, flip=False, shift=1)
    result = train(protocol, dataset=uci, verbose=False)["result"]
    assert result["test_accuracy"] > 0.8
    assert result["train_accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="TensorFlow has oneDNN inside on Linux and x86-64 alone",
)
def test_training_computes_with_onednn_on_every_processor():
    script = (
        "from mnist_attention import Protocol, train; "
        "train(Protocol(dataset='uci', epochs=1), verbose=False)"
    )
    environment = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "KERAS_BACKEND": "tensorflow", "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    for step in ("forward_training", "backward_data", "backward_weights"):
        assert re.search(f",exec,cpu,convolution,[^,]+,{step},", run.stdout)


def test_a_finished_run_is_not_repeated(small, tmp_path, monkeypatch):
    first = train(PROTOCOL, dataset=small, results=tmp_path, verbose=False)
    path = record_path(tmp_path, "single", first["run_id"])
    assert path.read_text() == record_text(first)
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained again"))
    assert train(PROTOCOL, dataset=small, results=tmp_path, verbose=False) == read_record(path)


def test_a_damaged_record_is_replaced(small, tmp_path, capsys):
    first = train(PROTOCOL, dataset=small, results=tmp_path, verbose=False)
    path = record_path(tmp_path, "single", first["run_id"])
    path.write_text(path.read_text()[:200])
    again = train(PROTOCOL, dataset=small, results=tmp_path, verbose=False)
    assert "is damaged" in capsys.readouterr().err
    assert again["test_predictions"] == first["test_predictions"]
    assert read_record(path)["result"] == first["result"]


def test_weights_can_be_kept_and_loaded(small, tmp_path):
    record = train(PROTOCOL, dataset=small, weights=tmp_path, verbose=False)
    model = build_model(PROTOCOL)
    model.load_weights(tmp_path / f"{record['run_id']}.weights.h5")
    predictions = model.predict(network_input(small.test_images), verbose=0).argmax(axis=1)
    assert "".join(map(str, predictions)) == record["test_predictions"]


def test_weights_are_kept_whole_or_not_at_all(small, tmp_path, monkeypatch):
    save_weights = keras.Model.save_weights

    def fail_at_the_end(model, path):
        save_weights(model, path)
        raise OSError("No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", fail_at_the_end)
    with pytest.raises(OSError, match="No space left"):
        train(PROTOCOL, dataset=small, weights=tmp_path, verbose=False)
    assert not [*tmp_path.iterdir()]


def test_weights_of_a_run_cut_short_are_not_kept_as_the_runs(small, tmp_path, monkeypatch):
    options = {"dataset": small, "results": tmp_path, "weights": tmp_path / "w", "verbose": False}
    short = train(PROTOCOL, budget_minutes=1e-6, **options)
    assert short["result"]["epochs"] == 1
    assert not [*(tmp_path / "w").iterdir()]
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "start_model", lambda *_: pytest.fail("its time was up, and ran again")
        )
        assert train(PROTOCOL, budget_minutes=1e-6, **options) == short
    record = train(PROTOCOL, **options)
    assert [path.name for path in (tmp_path / "w").iterdir()] == [f"{record['run_id']}.weights.h5"]


def test_a_loss_that_is_not_finite_stops_the_run(small, capsys):
    protocol = replace(PROTOCOL, epochs=9, learning_rate=1e3, mask_activation="linear")
    record = train(protocol, dataset=small, verbose=False)
    assert record["result"]["diverged"]
    assert record["result"]["epochs"] < 9
    assert "at learning rate 1000. The run stops here." in capsys.readouterr().err
    assert "null" in record_text(record)


# What a user may bring


def test_callbacks_see_one_training_also_after_a_resume(small, tmp_path):
    epochs = []

    def log(path):
        end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
        return [keras.callbacks.CSVLogger(path, append=True), end]

    options = {"dataset": small, "results": tmp_path, "verbose": False}
    train(replace(PROTOCOL, epochs=2), callbacks=log(tmp_path / "log.csv"), **options)
    record = train(replace(PROTOCOL, epochs=4), callbacks=log(tmp_path / "log.csv"), **options)
    assert epochs == [0, 1, 2, 3]
    logged = pd.read_csv(tmp_path / "log.csv")
    assert list(logged.epoch) == epochs
    assert list(logged.loss) == pytest.approx(record["history"]["loss"], abs=1e-12)
    assert list(logged.val_accuracy) == pytest.approx(record["history"]["test_accuracy"])


def test_callbacks_do_not_change_the_record(record, uci, tmp_path):
    callbacks = [keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")]
    watched = train(PROTOCOL, dataset=uci, callbacks=callbacks, verbose=False)
    assert reproducible_text(watched) == reproducible_text(record)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras"]


def test_a_run_that_a_callback_stopped_goes_on_when_called_again(small, tmp_path):
    options = {"dataset": small, "results": tmp_path, "verbose": False}
    stop = keras.callbacks.LambdaCallback()
    stop.on_epoch_end = lambda *_: setattr(stop.model, "stop_training", True)
    assert train(PROTOCOL, callbacks=[stop], **options)["result"]["epochs"] == 1
    again = train(PROTOCOL, **options)
    assert again["history"] == train(PROTOCOL, dataset=small, verbose=False)["history"]


def test_the_record_is_of_the_last_epoch_where_a_callback_puts_back_others(record, uci, tmp_path):
    """As `EarlyStopping(restore_best_weights=True)` does, which would choose on the test images."""
    best = keras.callbacks.LambdaCallback()
    best.on_train_begin = lambda *_: setattr(best, "kept", best.model.get_weights())
    best.on_train_end = lambda *_: best.model.set_weights(best.kept)
    watched = train(PROTOCOL, dataset=uci, results=tmp_path, callbacks=[best], verbose=False)
    assert reproducible_text(watched) == reproducible_text(record)
    assert read_records(tmp_path)[1] == []


def test_a_callback_that_stops_within_an_epoch_is_refused(small, tmp_path):
    stop = keras.callbacks.LambdaCallback()
    stop.on_train_batch_end = lambda batch, logs: setattr(stop.model, "stop_training", True)
    protocol = replace(PROTOCOL, batch_size=10)  # 30 steps, 15 a call of the compiled graph
    with pytest.raises(ValueError, match=r"between epochs\. Received: a stop at step 15 of 30"):
        train(protocol, dataset=small, results=tmp_path, callbacks=[stop], verbose=False)
    assert not [*tmp_path.glob(".checkpoints/*/*.npz")]


def test_a_callback_that_changes_the_rate_is_refused(small, tmp_path):
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    with pytest.raises(ValueError, match=r"Expected learning_rate=0\.1 .* Received: 0\.05 after"):
        train(PROTOCOL, dataset=small, results=tmp_path, callbacks=[halve], verbose=False)
    assert not [*tmp_path.glob(".checkpoints/*/*.npz")]


SETTINGS = {
    "image_data_format": "channels_first",
    "floatx": "float16",
    "dtype_policy": "float16",
    "epsilon": 0.1,
    "max_epochs": 1,
    "max_steps_per_epoch": 2,
}


@pytest.mark.parametrize(
    "model", ["lenet5_attention", pytest.param("lenet5_squeeze", marks=pytest.mark.slow)]
)
def test_keras_settings_of_the_user_decide_no_number(small, model):
    protocol = replace(PROTOCOL, model=model)
    expected = reproducible_text(train(protocol, dataset=small, verbose=False))
    before = {name: getattr(keras.config, name)() for name in SETTINGS}
    try:
        for name, value in SETTINGS.items():
            getattr(keras.config, f"set_{name}")(value)
        record = train(protocol, dataset=small, verbose=False)
        started = training.start_model(protocol, small)
        for name, value in SETTINGS.items():
            now = getattr(keras.config, name)()
            assert getattr(now, "name", now) == value
    finally:
        for name, value in before.items():
            getattr(keras.config, f"set_{name}")(value)
    assert reproducible_text(record) == expected
    assert {variable.dtype for variable in started.trainable_variables} == {"float32"}


# What is fed


def test_every_image_is_fed_once_an_epoch_in_the_planned_order(small):
    protocol = replace(PROTOCOL, flip=False, shift=0)
    table = augmentation_table(small.train_images, 0)
    for epoch in (0, 1):
        batches = TrainingBatches(protocol, table, small.train_labels, epoch)
        batches = batches.to_input().take(batches.steps)
        # TensorFlow's tuner, asleep at an epoch's end, would hold up the run for seconds.
        assert not batches.options().autotune.enabled
        images, labels = zip(*batches.as_numpy_iterator(), strict=True)
        assert [len(batch) for batch in images] == [96, 96, 96, 12]
        order = epoch_plan(protocol, epoch, 300).order
        expected = network_input(small.train_images[order])
        np.testing.assert_allclose(np.concatenate(images), expected, atol=1e-7)
        np.testing.assert_array_equal(np.concatenate(labels), small.train_labels[order])


def test_batches_are_numbered_on_from_epoch_to_epoch(small):
    """What other backends are fed one by one is what TensorFlow gets in whole epochs."""
    protocol = replace(PROTOCOL, brightness=0.4)
    table = augmentation_table(small.train_images, protocol.shift)
    batches = TrainingBatches(protocol, table, small.train_labels, epoch=3)
    stream = batches.to_input().take(2 * batches.steps).as_numpy_iterator()
    for index, (images, labels) in enumerate(stream):
        single = batches[index]
        np.testing.assert_allclose(keras.ops.convert_to_numpy(single[0]), images, atol=1e-7)
        np.testing.assert_array_equal(single[1], labels)
    assert index == 2 * 4 - 1


def test_augmentation_is_flip_then_shift_and_loses_no_pixel(small):
    plan = epoch_plan(PROTOCOL, 0, 300)
    table = augmentation_table(small.train_images, 2)
    fed = keras.ops.convert_to_numpy(augment(table, plan.order, plan.flip, plan.shift))
    assert fed.shape == (300, 32, 32, 1)
    for image, index, flip, (down, right) in zip(
        fed, plan.order, plan.flip, plan.shift, strict=True
    ):
        digit = small.train_images[index]
        expected = np.zeros((32, 32), "float32")
        expected[2 + down : 30 + down, 2 + right : 30 + right] = (
            digit[:, ::-1] if flip else digit
        ) / np.float32(255)
        np.testing.assert_allclose(image[..., 0], expected, atol=1e-7)


@pytest.mark.parametrize("shift", [0, 1, 8])
def test_a_whole_epoch_is_augmented_as_its_batches_are(small, shift):
    plan = epoch_plan(replace(PROTOCOL, shift=shift), 0, 300)
    table = augmentation_table(small.train_images, shift)
    whole = augment_epoch(table, plan.order, plan.flip, plan.shift)
    assert (whole.dtype, whole.shape) == (np.uint8, (300, 32, 32, 1))
    batch = keras.ops.convert_to_numpy(augment(table, plan.order, plan.flip, plan.shift))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(scale_pixels(whole)), batch)


def test_float_images_are_taken_as_they_are(small):
    images = (small.train_images[:5] / 255).astype("float32")
    plan = np.arange(5), np.zeros(5, bool), np.zeros((5, 2), "int32")
    table = augmentation_table(images, 2)
    for fed in (augment(table, *plan), scale_pixels(augment_epoch(table, *plan))):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(fed), network_input(images))


# What is refused before any training starts


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained"))


def test_a_batch_larger_than_the_data_is_refused(small, no_training):
    with pytest.raises(ValueError, match=r"batch_size to be at most 300.*Received: batch_size=301"):
        train(replace(PROTOCOL, batch_size=301), dataset=small)


def test_the_data_of_another_protocol_are_refused(small, no_training):
    with pytest.raises(ValueError, match=r"'mnist'. Received: dataset 'uci'"):
        train(replace(PROTOCOL, dataset="mnist"), dataset=small)


@pytest.mark.parametrize("study", ["../elsewhere", "", ".", ".x", "a/", "measurements"])
def test_a_study_whose_records_would_not_be_read_is_refused(small, tmp_path, no_training, study):
    with pytest.raises(ValueError, match=rf"Received: study='{study}'"):
        train(PROTOCOL, dataset=small, results=tmp_path, study=study)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("argument", ["results", "weights"])
def test_a_folder_that_cannot_be_written_is_refused(small, tmp_path, no_training, argument):
    (tmp_path / "file").write_text("")
    reason = f"Expected a folder that can be written.*MNIST_ATTENTION_{argument.upper()} moves"
    with pytest.raises(OSError, match=reason):
        train(PROTOCOL, dataset=small, **{argument: tmp_path / "file"})


def test_a_noisy_run_is_a_clean_run_on_noisy_digits(small):
    noisy = Protocol(dataset="uci", epochs=1, background="clutter", strength=0.5)
    expected = train(
        Protocol(dataset="uci", epochs=1), dataset=apply_noise(noisy, small), verbose=False
    )
    record = train(noisy, dataset=small, verbose=False)
    assert record["history"] == expected["history"]
    assert record["test_predictions"] == expected["test_predictions"]
    assert record["protocol"]["background"] == "clutter"
    assert record["dataset"] == small.to_json()  # the clean digits


def test_permuted_labels_keep_their_numbers_and_the_test_labels(small):
    shown = apply_noise(Protocol(dataset="uci", permuted_labels=True), small)
    assert (np.bincount(shown.train_labels) == np.bincount(small.train_labels)).all()
    assert np.mean(shown.train_labels == small.train_labels) < 0.3
    assert (shown.test_labels == small.test_labels).all()
    assert (shown.train_images == small.train_images).all()
