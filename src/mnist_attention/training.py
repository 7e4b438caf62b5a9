"""``train(protocol)``: Keras's own ``fit`` on planned batches, then one record."""

import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from .augmentation import augmentation_table, augmented, brightened, network_input, scaled
from .checkpoints import State, write_state
from .data import Dataset, epoch_plan, load_dataset
from .files import require_writable, write_atomically
from .models import EVALUATION_BATCH
from .protocol import Protocol, run_id
from .records import (
    check_budget,
    check_study,
    finished_record,
    is_finished,
    record_path,
    write_longer,
)
from .runs import (
    check_fit,
    checkpoint_path,
    claimed,
    describe_environment,
    diverged,
    initial_state,
    is_whole,
    make_record,
    next_state,
    predict_classes,
    presented,
    spent,
    start_model,
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
        weights: Folder for the trained weights (`<weights>/<run_id>.weights.h5`); those of a run
            that a budget ended early are not kept.
        budget_minutes: End the run with the epoch in which its training has taken so long.
        verbose: Whether to show a progress bar.

    Returns:
        The record: `run_id`, `protocol`, `dataset`, `history`, `result`, `test_predictions`,
        `environment`. Accuracies are fractions.

    Raises:
        ValueError: if the protocol does not fit the data, the budget is nothing, or `study` is not
            a name for records.
        MemoryError: if the machine has too little memory for the network.
        OSError: if the data cannot be had or a folder cannot be written.
    """
    check_budget(budget_minutes)
    check_study(study)
    dataset = dataset or load_dataset(protocol.dataset)
    check_fit(protocol, dataset)
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
        # A whole run whose weights are wanted and not there is trained once more for them.
        if finished and not (weights_path and is_finished(finished) and not weights_path.exists()):
            return finished
        record = _run(protocol, dataset, checkpoint, weights_path, budget_minutes, verbose)
        return write_longer(record, results, study)


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
    model = start_model(protocol, dataset, state)
    state = _fit(model, protocol, shown, state, checkpoint, budget_minutes, verbose)
    record = _record(model, protocol, dataset, shown, state)
    if weights and is_whole(state, protocol):
        _save_weights(model, weights)
    return record


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write them, whole or not at all: Keras itself would open `path` and fill it."""
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = Path(folder) / path.name
        model.save_weights(elsewhere)
        content = elsewhere.read_bytes()
    write_atomically(path, lambda file: file.write(content))


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


def epoch_batches(
    protocol: Protocol, table: np.ndarray, labels: np.ndarray, epoch: int
) -> tf.data.Dataset:
    """The batches of one epoch, as `epoch_plan` orders them.

    Args:
        protocol: How to order, mirror and shift the images, and how many make a batch.
        table: What `augmentation_table` makes of the training images.
        labels: Their classes.
        epoch: Number of the epoch, from 0.

    Returns:
        Images float32 `(batch, canvas, canvas, 1)` and labels `(batch,)`, batch after batch.
    """
    plan = epoch_plan(protocol, epoch, len(labels))
    images = augmented(table, plan.order, plan.flip, plan.shift, protocol.canvas)
    arrays = (images, labels[plan.order].astype("int32"))
    if protocol.brightness:
        shown = tf.data.Dataset.from_tensor_slices((*arrays, plan.brightness))
        batches = shown.batch(protocol.batch_size).map(
            lambda images, labels, factor: (brightened(scaled(images), factor), labels)
        )
    else:
        shown = tf.data.Dataset.from_tensor_slices(arrays)
        batches = shown.batch(protocol.batch_size).map(
            lambda images, labels: (scaled(images), labels)
        )
    return _without_autotuning(batches.prefetch(1))


def _without_autotuning(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches without tf.data's tuner, which has nothing to tune here.

    With TensorFlow 2.21 an iterator that goes away while the tuner sleeps waits until it wakes: up
    to half of a run's time, in which no processor is used.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _fit(
    model: keras.Model,
    protocol: Protocol,
    dataset: Dataset,
    state: State,
    checkpoint: Path | None,
    budget_minutes: float | None,
    verbose: bool,
) -> State:
    """Train on from `state`: one call of Keras's `fit` an epoch, whose end is kept on the disk.

    Returns:
        The state at the end: of the protocol, of a run that diverged, or of the time budget.
    """
    table = augmentation_table(dataset.train_images, protocol.shift, protocol.canvas)
    test = (
        network_input(dataset.test_images, protocol.canvas),
        dataset.test_labels.astype("int32"),
    )
    validation = _without_autotuning(
        tf.data.Dataset.from_tensor_slices(test).batch(EVALUATION_BATCH)
    )
    options = {"desc": f"{protocol.model}, seed {protocol.seed}", "unit": "epoch"}
    with tqdm(total=protocol.epochs, initial=state.epoch, disable=not verbose, **options) as bar:
        while state.epoch < protocol.epochs and not (
            diverged(state) or spent(state, budget_minutes)
        ):
            started = time.perf_counter()
            batches = epoch_batches(protocol, table, dataset.train_labels, state.epoch)
            logs = model.fit(batches, validation_data=validation, shuffle=False, verbose=0).history
            values = [np.asarray(value) for value in variables(model)]
            state = next_state(
                state,
                {name: of_epoch[0] for name, of_epoch in logs.items()},
                time.perf_counter() - started,
                values,
                float(model.optimizer.learning_rate),
            )
            if checkpoint:
                write_state(checkpoint, state)
            shown = {"loss": state.history["loss"], "test accuracy": state.history["test_accuracy"]}
            bar.set_postfix({name: f"{values[-1]:.4f}" for name, values in shown.items()})
            bar.update()
    return state
