"""``train(protocol)``: Keras's own ``fit`` on planned batches, then one record."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from .augmentation import augmentation_table, augmented, network_input, scaled
from .checkpoints import State, write_state
from .data import Dataset, epoch_plan, load_dataset
from .files import require_writable
from .models import EVALUATION_BATCH
from .protocol import CANVAS, Protocol, run_id
from .records import record_path, write_longer
from .runs import (
    check_fit,
    checkpoint_path,
    claimed,
    describe_environment,
    diverged,
    finished_record,
    initial_state,
    make_record,
    next_state,
    predict_classes,
    presented,
    spent,
    start_model,
    steps_per_epoch,
    variables,
)

# Training several networks in one process retraces the graph for each, as it must.
tf.get_logger().setLevel("ERROR")


def train(
    protocol: Protocol,
    *,
    dataset: Dataset | None = None,
    results: Path | str | None = None,
    study: str = "single",
    weights: Path | str | None = None,
    budget_minutes: float | None = None,
    verbose: bool = True,
) -> dict:
    """Train the network of `protocol` and return its record.

    With `results`, the state is kept at every epoch's end in `results/.checkpoints`, so that a
    run that was killed goes on exactly where it was; a run whose record is there is not repeated.
    A run that a budget ended early has a record too, with fewer epochs in `result` than in
    `protocol`: with more budget it goes on, and its new record replaces that one.

    Args:
        protocol: What to train, on what, and how.
        dataset: The digits; by default those that the protocol names.
        results: Folder for the record (`<results>/<study>/<run_id>.json`) and the state.
        study: Name of the subfolder.
        weights: Folder for the trained weights (`<weights>/<run_id>.weights.h5`).
        budget_minutes: End the run with the epoch in which its training has taken so long.
        verbose: Whether to show a progress bar.

    Returns:
        The record: `run_id`, `protocol`, `dataset`, `history`, `result`, `test_predictions`,
        `environment`. Accuracies are fractions.

    Raises:
        ValueError: if the protocol does not fit the data, or `study` is not a plain name.
        MemoryError: if the machine has too little memory for the network.
        OSError: if the data cannot be had or a folder cannot be written.
    """
    dataset = dataset or load_dataset(protocol.dataset)
    check_fit(protocol, dataset)
    if Path(study).name != study:
        raise ValueError(f"Expected study to be the name of a folder. Received: study={study!r}")
    name = run_id(protocol, dataset.digest)
    weights_path = require_writable(Path(weights)) / f"{name}.weights.h5" if weights else None
    if results is None:
        return _run(protocol, dataset, None, weights_path, budget_minutes, verbose)

    results = require_writable(Path(results))
    require_writable(results / study)
    checkpoint = checkpoint_path(results, protocol, dataset)
    # Whoever comes second waits here, then finds the record of whoever came first.
    with claimed([checkpoint]):
        finished = finished_record(record_path(results, study, name), budget_minutes)
        if finished and (weights_path is None or weights_path.exists()):
            return finished
        record = _run(protocol, dataset, checkpoint, weights_path, budget_minutes, verbose)
        return finished or write_longer(record, results, study)


def _run(
    protocol: Protocol,
    dataset: Dataset,
    checkpoint: Path | None,
    weights: Path | None,
    budget_minutes: float | None,
    verbose: bool,
) -> dict:
    shown = presented(protocol, dataset)
    state = initial_state(protocol, dataset, checkpoint)
    keeper = StateKeeper(state, checkpoint, budget_minutes)
    model = start_model(protocol, dataset, state)
    if state.epoch < protocol.epochs and not keeper.ended:
        _fit(model, protocol, shown, keeper, verbose)
    record = _record(model, protocol, dataset, shown, keeper.state)
    if weights:
        model.save_weights(weights)
    return record


def _record(
    model: keras.Model, protocol: Protocol, dataset: Dataset, shown: Dataset, state: State
) -> dict:
    """Evaluate the trained network on every image as it is shown, and describe the run."""
    environment = describe_environment(
        state.seconds,
        len(dataset.train_labels),
        engine="fit",
        device="gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        threads=int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count()),
    )
    return make_record(
        protocol,
        dataset,
        state,
        parameters=model.count_params(),
        train_predictions=predict_classes(model, shown.train_images),
        test_predictions=predict_classes(model, shown.test_images),
        environment=environment,
    )


def training_batches(protocol: Protocol, dataset: Dataset, first_epoch: int = 0) -> tf.data.Dataset:
    """The batches of all epochs from `first_epoch` on, as `epoch_plan` orders them.

    Yields:
        Images float32 `(batch, 32, 32, 1)` and labels `(batch,)`.
    """
    table = augmentation_table(dataset.train_images, protocol.shift)
    size, batch_size = len(table), protocol.batch_size

    # TensorFlow keeps a generator for ever, but not its arguments.
    def epochs(table: np.ndarray, labels: np.ndarray) -> Iterator[tuple]:
        for epoch in range(first_epoch, protocol.epochs):
            plan = epoch_plan(protocol, epoch, size)
            yield augmented(table, plan.order, plan.flip, plan.shift), labels[plan.order]

    def batches(images, labels) -> tf.data.Dataset:
        def batch(step):
            start = tf.cast(step, tf.int32) * batch_size
            part = slice(start, start + batch_size)
            return scaled(images[part]), tf.cast(labels[part], tf.int32)

        return tf.data.Dataset.range(steps_per_epoch(protocol, dataset)).map(batch)

    signature = (
        tf.TensorSpec((size, CANVAS, CANVAS, 1), table.dtype),
        tf.TensorSpec((size,), dataset.train_labels.dtype),
    )
    shown = tf.data.Dataset.from_generator(
        epochs, args=(table, dataset.train_labels), output_signature=signature
    )
    return shown.flat_map(batches).prefetch(1)


class StateKeeper(keras.callbacks.Callback):
    """Keeps the run's state, in memory and on disk; stops a run whose loss is not finite or whose
    time is spent."""

    def __init__(self, state: State, path: Path | None, budget_minutes: float | None = None):
        super().__init__()
        self.state, self.path, self.budget_minutes = state, path, budget_minutes

    @property
    def ended(self) -> bool:
        return diverged(self.state) or spent(self.state, self.budget_minutes)

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        values = [np.asarray(value) for value in variables(self.model)]
        seconds = time.perf_counter() - self.started
        rate = float(self.model.optimizer.learning_rate)
        self.state = next_state(self.state, logs, seconds, values, rate)
        if self.path:
            write_state(self.path, self.state)
        self.model.stop_training = self.ended


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
