"""``train(protocol)``: Keras's own ``fit`` on planned batches, then one record."""

import math
import os
import sys
import tempfile
import time
import typing
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from .data import (
    Dataset,
    augment_epoch,
    augmentation_table,
    epoch_plan,
    load_dataset,
    network_input,
    scale_brightness,
    scale_pixels,
)
from .models import EVALUATION_BATCH, build_model, logits
from .noise import apply_noise
from .protocol import Protocol, run_id, trajectory_id
from .records import (
    check_budget,
    check_study,
    finished_record,
    is_finished,
    make_record,
    record_path,
    write_if_longer,
)
from .storage.files import require_writable, write_atomically
from .storage.machine import describe_machine
from .storage.states import (
    State,
    checkpoint_path,
    diverged,
    is_complete,
    latest_state,
    lock_runs,
    over_budget,
    write_state,
)

if typing.TYPE_CHECKING:  # the engine on JAX trains without TensorFlow
    import tensorflow as tf


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
    checkpoint = checkpoint_path(results, protocol, dataset.digest)
    # Whoever comes second waits here, then finds the record of whoever came first.
    with lock_runs([checkpoint]):
        finished = finished_record(record_path(results, study, name), budget_minutes)
        # A whole run whose weights are wanted and not there is trained once more for them.
        if finished and not (weights_path and is_finished(finished) and not weights_path.exists()):
            return finished
        record = _run(protocol, dataset, checkpoint, weights_path, budget_minutes, verbose)
        return write_if_longer(record, results, study)


def _run(
    protocol: Protocol,
    dataset: Dataset,
    checkpoint: Path | None,
    weights: Path | None,
    budget_minutes: float | None,
    verbose: bool,
) -> dict:
    shown = apply_noise(protocol, dataset)
    state = initial_state(protocol, dataset, checkpoint)
    model = start_model(protocol, dataset, state)
    state = _fit(model, protocol, shown, state, checkpoint, budget_minutes, verbose)
    record = _record(model, protocol, dataset, shown, state)
    if weights and is_complete(state, protocol):
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
    import tensorflow as tf

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
) -> "tf.data.Dataset":
    """The batches of one epoch, as `epoch_plan` orders them.

    Args:
        protocol: How to order, mirror and shift the images, and how many make a batch.
        table: What `augmentation_table` makes of the training images.
        labels: Their classes.
        epoch: Number of the epoch, from 0.

    Returns:
        Images float32 `(batch, canvas, canvas, 1)` and labels `(batch,)`, batch after batch.
    """
    import tensorflow as tf

    plan = epoch_plan(protocol, epoch, len(labels))
    images = augment_epoch(table, plan.order, plan.flip, plan.shift, protocol.canvas)
    arrays = (images, labels[plan.order].astype("int32"))
    if protocol.brightness:
        shown = tf.data.Dataset.from_tensor_slices((*arrays, plan.brightness))
        batches = shown.batch(protocol.batch_size).map(
            lambda images, labels, factor: (scale_brightness(scale_pixels(images), factor), labels)
        )
    else:
        shown = tf.data.Dataset.from_tensor_slices(arrays)
        batches = shown.batch(protocol.batch_size).map(
            lambda images, labels: (scale_pixels(images), labels)
        )
    return _without_autotuning(batches.prefetch(1))


def _without_autotuning(batches: "tf.data.Dataset") -> "tf.data.Dataset":
    """The same batches without tf.data's tuner, which has nothing to tune here.

    With TensorFlow 2.21 an iterator that goes away while the tuner sleeps waits until it wakes: up
    to half of a run's time, in which no processor is used.
    """
    import tensorflow as tf

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
    import tensorflow as tf

    # Training several networks in one process retraces the graph for each, as it must.
    tf.get_logger().setLevel("ERROR")
    canvas = protocol.canvas
    table = augmentation_table(dataset.train_images, protocol.shift, canvas)
    test = (network_input(dataset.test_images, canvas), dataset.test_labels.astype("int32"))
    validation = _without_autotuning(
        tf.data.Dataset.from_tensor_slices(test).batch(EVALUATION_BATCH)
    )
    options = {"desc": f"{protocol.model}, seed {protocol.seed}", "unit": "epoch"}
    with tqdm(total=protocol.epochs, initial=state.epoch, disable=not verbose, **options) as bar:
        while state.epoch < protocol.epochs and not (
            diverged(state) or over_budget(state, budget_minutes)
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


HISTORY = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "test_loss",
    "val_accuracy": "test_accuracy",
}
"""Keras's names of the metrics of an epoch -> ours. Training metrics are running means over the
augmented images; test metrics are of all clean test images at the epoch's end."""


def check_fit(protocol: Protocol, dataset: Dataset) -> None:
    """Check that the protocol can be trained on the data.

    Raises:
        ValueError: if it is meant for another dataset, or one batch is more than all images.
    """
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


def steps_per_epoch(protocol: Protocol, dataset: Dataset) -> int:
    """Batches in an epoch; the last may be smaller, no image is left out."""
    return -(-len(dataset.train_images) // protocol.batch_size)


def compile_model(model: keras.Model, protocol: Protocol, steps: int) -> keras.Model:
    """Give `model` the protocol's optimizer, the cross entropy of Eq. 1, and accuracy.

    Args:
        model: Network from images to logits.
        protocol: Its `learning_rate`, `momentum` and `weight_decay` matter.
        steps: Training steps per epoch. Several steps run as one call of the compiled graph,
            which saves the way through Python; their number divides the epoch's.
    """
    optimizer = keras.optimizers.SGD(
        protocol.learning_rate,
        momentum=float(protocol.momentum),
        weight_decay=protocol.weight_decay or None,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    together = max(size for size in range(1, 26) if steps % size == 0)
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=together,
        # On a CPU XLA is several times slower than oneDNN for this network; JAX has nothing else.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def initial_state(protocol: Protocol, dataset: Dataset, checkpoint: Path | None) -> State:
    """The furthest usable state in the folder of `checkpoint`, or the state before epoch 0."""
    trajectory = trajectory_id(protocol, dataset.digest)
    if checkpoint is not None:
        state, refused = latest_state(checkpoint.parent, trajectory, protocol.epochs)
        for reason in refused:
            print(f"{reason}. It is not used.", file=sys.stderr)
        if state is not None:
            return state
    return State(trajectory, 0, {name: [] for name in HISTORY.values()}, [], [])


def variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of `State.variables`, in that order."""
    return [*model.variables, *model.optimizer.variables]


def start_model(protocol: Protocol, dataset: Dataset, state: State) -> keras.Model:
    """The compiled network of `protocol`, with the weights and the optimizer of `state`."""
    model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
    check_memory(model, protocol, dataset)
    model.optimizer.build(model.trainable_variables)
    if state.variables:
        for variable, value in zip(variables(model), state.variables, strict=True):
            variable.assign(value)
    return model


def check_memory(model: keras.Model, protocol: Protocol, dataset: Dataset) -> None:
    """Check that the machine can hold what training takes: else it would die hours later.

    Raises:
        MemoryError: with the estimate, if it is more than all memory of the machine.
    """
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return
    copies = 3 if protocol.momentum else 2  # weights, gradients, momentum
    values = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    side = protocol.canvas + 2 * protocol.shift
    table = len(dataset.train_images) * side**2 * dataset.train_images.itemsize
    needed = 4 * (copies * model.count_params() + protocol.batch_size * values) + table
    if needed > available:
        raise MemoryError(
            f"Expected at least {needed / 2**30:.1f} GiB of memory for {protocol.model}: {copies} "
            f"copies of {model.count_params():,} parameters, the feature maps of "
            f"{protocol.batch_size} images, all training images. "
            f"Received: a machine with {available / 2**30:.1f} GiB"
        )


def next_state(
    state: State,
    logs: Mapping[str, float],
    seconds: float,
    values: list[np.ndarray],
    learning_rate: float,
) -> State:
    """The state one epoch later; says so if the run has diverged.

    Args:
        state: The state before the epoch.
        logs: The epoch's metrics under Keras's names.
        seconds: What the epoch took.
        values: The variables after it.
        learning_rate: Named where the run has diverged.
    """
    history = {name: [*state.history[name], float(logs[key])] for key, name in HISTORY.items()}
    after = State(
        state.trajectory, state.epoch + 1, history, [*state.seconds, round(seconds, 6)], values
    )
    if diverged(after):
        tqdm.write(
            f"Diverged: the loss is {history['loss'][-1]} after epoch {after.epoch} at learning "
            f"rate {learning_rate:g}. The run stops here.",
            file=sys.stderr,
        )
    return after


def predict_classes(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The class that `model` gives each image.

    Args:
        model: Network from `(batch, 32, 32, 1)` to logits `(batch, 10)`.
        images: Shape `(n, 28, 28)`.

    Returns:
        Integers of shape `(n,)`. Where a logit is NaN, the first such class.
    """
    return logits(model, images).argmax(axis=1)


def describe_environment(seconds: list[float], train_size: int, **engine) -> dict:
    """Everything that may differ from machine to machine or from run to run.

    Args:
        seconds: Training time of each epoch.
        train_size: Images per epoch.
        **engine: What the engine knows of itself: `engine`, `device`, `threads`.
    """
    packages = ("keras", keras.backend.backend(), "numpy")
    return {
        **engine,
        "backend": keras.backend.backend(),
        **describe_machine(*packages),
        "epoch_seconds": seconds,
        "images_per_second": round(train_size * len(seconds) / sum(seconds), 1),
    }
