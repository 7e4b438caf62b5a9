"""``train(protocol)``: Keras's own ``fit`` on planned batches, then one record."""

import dataclasses
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import filelock
import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from .augmentation import augment, augmentation_table, network_input
from .checkpoints import State, latest_state, write_state
from .data import Dataset, epoch_plan, load_dataset
from .files import require_writable
from .models import build_model
from .protocol import Protocol, run_id, trajectory_id
from .records import read_record, record_path, write_record

EVALUATION_BATCH = 500


def train(
    protocol: Protocol,
    *,
    dataset: Dataset | None = None,
    results: Path | str | None = None,
    study: str = "single",
    weights: Path | str | None = None,
    verbose: bool = True,
) -> dict:
    """Train the network of `protocol` and return its record.

    With `results`, the state is kept at every epoch's end in `results/.checkpoints`, so that a
    run that was killed goes on exactly where it was; a run whose record is there is not repeated.

    Args:
        protocol: What to train, on what, and how.
        dataset: The digits; by default those that the protocol names.
        results: Folder for the record (`<results>/<study>/<run_id>.json`) and the state.
        study: Name of the subfolder.
        weights: Folder for the trained weights (`<weights>/<run_id>.weights.h5`).
        verbose: Whether to show a progress bar.

    Returns:
        The record: `run_id`, `protocol`, `dataset`, `history`, `result`, `test_predictions`,
        `environment`. Accuracies are fractions.

    Raises:
        ValueError: if the protocol does not fit the data.
        OSError: if the data cannot be had or a folder cannot be written.
    """
    dataset = dataset or load_dataset(protocol.dataset)
    _check_fit(protocol, dataset)
    name = run_id(protocol, dataset.digest)
    weights_path = require_writable(Path(weights)) / f"{name}.weights.h5" if weights else None
    if results is None:
        return _run(protocol, dataset, None, weights_path, verbose)

    results = require_writable(Path(results))
    require_writable(results / study)
    checkpoint = checkpoint_path(results, protocol, dataset)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Whoever comes second waits here, then finds the record of whoever came first.
    with filelock.FileLock(checkpoint.with_suffix(".lock")):
        finished = _finished(record_path(results, study, name))
        if finished and (weights_path is None or weights_path.exists()):
            return finished
        record = _run(protocol, dataset, checkpoint, weights_path, verbose)
        if not finished:
            write_record(record, results, study)
        return finished or record


def checkpoint_path(results: Path, protocol: Protocol, dataset: Dataset) -> Path:
    """Where the state of a run is kept. Runs that differ in `epochs` alone share the folder."""
    trajectory = trajectory_id(protocol, dataset.digest)
    return Path(results) / ".checkpoints" / trajectory / f"{protocol.epochs}.npz"


def _finished(path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        return read_record(path)
    except ValueError as error:
        print(f"{error}. It is made anew.", file=sys.stderr)
        return None


def _check_fit(protocol: Protocol, dataset: Dataset) -> None:
    if dataset.name != protocol.dataset:
        raise ValueError(
            f"Expected the dataset of the protocol, {protocol.dataset!r}. "
            f"Received: dataset {dataset.name!r}"
        )
    size = len(dataset.train_images)
    if protocol.batch_size > size:
        raise ValueError(
            f"Expected batch_size to be at most {size}, the number of training images. "
            f"Received: batch_size={protocol.batch_size}"
        )


def _run(
    protocol: Protocol,
    dataset: Dataset,
    checkpoint: Path | None,
    weights: Path | None,
    verbose: bool,
) -> dict:
    model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
    state = _initial_state(protocol, dataset, checkpoint)
    keeper = StateKeeper(state, checkpoint)
    diverged = bool(state.history["loss"]) and not np.isfinite(state.history["loss"][-1])
    if state.variables:
        _restore(model, state)
    if state.epoch < protocol.epochs and not diverged:
        _fit(model, protocol, dataset, keeper, verbose)
    record = make_record(protocol, dataset, model, keeper.state)
    if weights:
        model.save_weights(weights)
    return record


def _initial_state(protocol: Protocol, dataset: Dataset, checkpoint: Path | None) -> State:
    trajectory = trajectory_id(protocol, dataset.digest)
    if checkpoint is not None:
        state, refused = latest_state(checkpoint.parent, trajectory, protocol.epochs)
        for reason in refused:
            print(f"{reason}. It is not used.", file=sys.stderr)
        if state is not None:
            return state
    return State(trajectory, 0, {name: [] for name in HISTORY.values()}, [], [])


def compile_model(model: keras.Model, protocol: Protocol, steps: int) -> keras.Model:
    """Give `model` the protocol's optimizer, the cross entropy of Eq. 1, and accuracy.

    Args:
        model: Network from images to logits.
        protocol: Its `learning_rate` and `momentum` matter.
        steps: Training steps per epoch. Several steps run as one call of the compiled graph,
            which saves the way through Python; their number divides the epoch's.
    """
    together = max(size for size in range(1, 26) if steps % size == 0)
    model.compile(
        optimizer=keras.optimizers.SGD(protocol.learning_rate, momentum=protocol.momentum),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=together,
        jit_compile=False,  # on a CPU XLA is several times slower than oneDNN for this network
    )
    return model


def steps_per_epoch(protocol: Protocol, dataset: Dataset) -> int:
    """Batches in an epoch; the last may be smaller, no image is left out."""
    return -(-len(dataset.train_images) // protocol.batch_size)


def training_batches(protocol: Protocol, dataset: Dataset, first_epoch: int = 0) -> tf.data.Dataset:
    """The batches of all epochs from `first_epoch` on, as `epoch_plan` orders them.

    Yields:
        Images float32 `(batch, 32, 32, 1)` and labels `(batch,)`.
    """
    table = tf.constant(augmentation_table(dataset.train_images, protocol.shift))
    labels = tf.constant(dataset.train_labels, tf.int32)
    size, batch_size = len(dataset.train_images), protocol.batch_size

    def plans() -> Iterator[tuple]:
        for epoch in range(first_epoch, protocol.epochs):
            plan = epoch_plan(protocol, epoch, size)
            yield plan.order, plan.flip, plan.shift

    def batches(order, flip, shift) -> tf.data.Dataset:
        def batch(step):
            start = tf.cast(step, tf.int32) * batch_size
            part = slice(start, start + batch_size)
            return augment(table, order[part], flip[part], shift[part]), tf.gather(
                labels, order[part]
            )

        return tf.data.Dataset.range(steps_per_epoch(protocol, dataset)).map(batch)

    signature = (
        tf.TensorSpec((size,), tf.int32),
        tf.TensorSpec((size,), tf.bool),
        tf.TensorSpec((size, 2), tf.int32),
    )
    planned = tf.data.Dataset.from_generator(plans, output_signature=signature)
    return planned.flat_map(batches).prefetch(1)


HISTORY = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "test_loss",
    "val_accuracy": "test_accuracy",
}
"""Keras's names of the metrics of an epoch -> ours. Training metrics are running means over the
augmented images; test metrics are of all clean test images at the epoch's end."""


class StateKeeper(keras.callbacks.Callback):
    """Keeps the run's state, in memory and on disk, and stops a run whose loss is not finite."""

    def __init__(self, state: State, path: Path | None):
        super().__init__()
        self.state, self.path = state, path

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        history = {
            name: [*self.state.history[name], float(logs[key])] for key, name in HISTORY.items()
        }
        self.state = State(
            trajectory=self.state.trajectory,
            epoch=epoch + 1,
            history=history,
            seconds=[*self.state.seconds, round(time.perf_counter() - self.started, 3)],
            variables=[np.asarray(value) for value in _variables(self.model)],
        )
        if self.path:
            write_state(self.path, self.state)
        if not np.isfinite(logs["loss"]):
            self.model.stop_training = True
            rate = float(self.model.optimizer.learning_rate)
            tqdm.write(
                f"Diverged: the loss is {logs['loss']} after epoch {epoch + 1} at learning rate "
                f"{rate:g}. The run stops here.",
                file=sys.stderr,
            )


class ProgressBar(keras.callbacks.Callback):
    """One bar over the epochs, with the time left."""

    def __init__(self, protocol: Protocol, done: int):
        super().__init__()
        name = f"{protocol.model}, seed {protocol.seed}"
        self.bar = tqdm(total=protocol.epochs, initial=done, desc=name, unit="epoch")

    def on_epoch_end(self, epoch, logs=None):
        shown = {"loss": "loss", "val_accuracy": "test accuracy"}
        self.bar.set_postfix({name: f"{logs[key]:.4f}" for key, name in shown.items()})
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def _restore(model: keras.Model, state: State) -> None:
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(_variables(model), state.variables, strict=True):
        variable.assign(value)


def _fit(
    model: keras.Model, protocol: Protocol, dataset: Dataset, keeper: StateKeeper, verbose: bool
) -> None:
    first = keeper.state.epoch
    test = (network_input(dataset.test_images), dataset.test_labels.astype("int32"))
    callbacks = [keeper, *([ProgressBar(protocol, first)] if verbose else [])]
    model.fit(
        training_batches(protocol, dataset, first),
        initial_epoch=first,
        epochs=protocol.epochs,
        steps_per_epoch=steps_per_epoch(protocol, dataset),
        validation_data=tf.data.Dataset.from_tensor_slices(test).batch(EVALUATION_BATCH),
        shuffle=False,
        callbacks=callbacks,
        verbose=0,
    )


def predict_classes(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The class that `model` gives each image.

    Args:
        model: Network from `(batch, 32, 32, 1)` to logits `(batch, 10)`.
        images: Shape `(n, 28, 28)`.

    Returns:
        Integers of shape `(n,)`. Where a logit is NaN, the first such class.
    """
    parts = range(0, len(images), EVALUATION_BATCH)
    logits = [
        keras.ops.convert_to_numpy(
            model(network_input(images[start : start + EVALUATION_BATCH]), training=False)
        )
        for start in parts
    ]
    return np.concatenate(logits).argmax(axis=1)


def make_record(protocol: Protocol, dataset: Dataset, model: keras.Model, state: State) -> dict:
    """Evaluate a trained network on every clean image and describe the run. See `train`."""
    train_predictions = predict_classes(model, dataset.train_images)
    test_predictions = predict_classes(model, dataset.test_images)
    # Dropping the last, smaller batch is the classic slip.
    assert len(train_predictions) == len(dataset.train_labels)
    assert len(test_predictions) == len(dataset.test_labels)
    result = {
        "diverged": not np.isfinite(state.history["loss"][-1]),
        "epochs": state.epoch,
        "parameters": model.count_params(),
        "test_accuracy": float(np.mean(test_predictions == dataset.test_labels)),
        "train_accuracy": float(np.mean(train_predictions == dataset.train_labels)),
    }
    return {
        "run_id": run_id(protocol, dataset.digest),
        "protocol": dataclasses.asdict(protocol),
        "dataset": {
            "name": dataset.name,
            "digest": dataset.digest,
            "train_size": len(dataset.train_labels),
            "test_size": len(dataset.test_labels),
        },
        "history": state.history,
        "result": result,
        "test_predictions": "".join(map(str, test_predictions)),
        "environment": describe_environment(state.seconds, len(dataset.train_labels)),
    }


def describe_environment(seconds: list[float], train_size: int, engine: str = "fit") -> dict:
    """Everything that may differ from machine to machine or from run to run."""
    packages = ("keras", "tensorflow", "numpy")
    return {
        "engine": engine,
        "backend": keras.backend.backend(),
        "device": "gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "epoch_seconds": seconds,
        "images_per_second": round(train_size * len(seconds) / sum(seconds), 1),
    }
