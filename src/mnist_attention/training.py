"""``train(protocol)``: one call of Keras's ``fit`` on planned batches, then one record."""

import contextlib
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from .batches import TrainingBatches, epoch_batches, validation_arguments  # noqa: F401
from .data import Dataset, augmentation_table, load_dataset
from .models import build_model, logits
from .noise import apply_noise
from .protocol import Protocol, trajectory_id
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
from .storage.memory import check_memory
from .storage.states import (
    METRICS,
    State,
    checkpoint_path,
    diverged,
    is_complete,
    latest_state,
    lock_runs,
    over_budget,
    write_state,
)

HISTORY = {
    "loss": "loss",
    "accuracy": "accuracy",
    "val_loss": "test_loss",
    "val_accuracy": "test_accuracy",
}
"""Keras's names of the metrics of an epoch -> ours. Training metrics are running means over the
augmented images; test metrics are of all clean test images at the epoch's end."""


@contextlib.contextmanager
def default_configuration() -> Iterator[None]:
    """Run under Keras's own defaults, so that a user's settings decide no number of a record."""
    config, defaults = keras.config, {
        "dtype_policy": "float32",
        "floatx": "float32",
        "epsilon": 1e-7,
        "image_data_format": "channels_last",
        "max_epochs": None,
        "max_steps_per_epoch": None,
    }  # fmt: skip
    kept = {name: getattr(config, name)() for name in defaults}
    try:
        for name, value in defaults.items():
            getattr(config, f"set_{name}")(value)
        yield
    finally:
        for name, value in kept.items():
            getattr(config, f"set_{name}")(value)


@default_configuration()
def train(
    protocol: Protocol,
    *,
    dataset: Dataset | None = None,
    results: Path | str | None = None,
    study: str = "single",
    weights: Path | str | None = None,
    budget_minutes: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict:
    """Train the network of `protocol` and return its record.

    With `results`, the state is saved at the end of every epoch in `results/.checkpoints`, so that
    a killed run continues exactly where it was; a run that has a record is not repeated. A run
    that a budget or a callback ended early has a record too, with fewer epochs in `result` than in
    `protocol`: called again, it continues, and the new record replaces that one.

    On one machine, with the same versions, backend and number of threads, a protocol gives the
    same record, byte for byte, apart from `environment`. Between machines the last bits of a step
    differ, and so do trajectories after some epochs: single runs agree within the spread of seeds,
    0.3 points of test accuracy on MNIST after 100 epochs (`mnist-attention verify`).

    Args:
        protocol: What to train, on what, and how.
        dataset: The digits; by default those that the protocol names.
        results: Folder for the record (`<results>/<study>/<run_id>.json`) and the state.
        study: Name of the subfolder.
        weights: Folder for the trained weights (`<weights>/<run_id>.weights.h5`); those of a run
            that ended early are not kept.
        budget_minutes: End the run after the epoch in which its training has taken this long.
        callbacks: Keras callbacks, for example `keras.callbacks.CSVLogger(path, append=True)`.
            They see one training: after a resume the epochs are numbered on. They may stop it,
            but must not change the learning rate.
        verbose: Whether to show a progress bar.

    Returns:
        The record: `run_id`, `protocol`, `dataset`, `history`, `result`, `test_predictions`,
        `environment`. Accuracies are fractions.

    Raises:
        ValueError: if the protocol does not fit the data, the budget is not above 0, `study` is
            not a name for records, the saved state comes from another Keras backend, or a callback
            changed the learning rate.
        MemoryError: if the machine has too little memory for the network.
        OSError: if the data are missing or a folder cannot be written.
    """
    check_budget(budget_minutes)
    check_study(study)
    dataset = dataset or load_dataset(protocol.dataset)
    check_fit(protocol, dataset)
    name = protocol.run_id(dataset.digest)
    weights_path = require_writable(Path(weights)) / f"{name}.weights.h5" if weights else None
    options = (weights_path, budget_minutes, callbacks, verbose)
    if results is None:
        return _run(protocol, dataset, None, *options)

    results = require_writable(Path(results))
    require_writable(results / study)
    checkpoint = checkpoint_path(results, protocol, dataset.digest)
    # A second process waits for the lock, then reuses the record.
    with lock_runs([checkpoint]):
        finished = finished_record(record_path(results, study, name), budget_minutes)
        # A whole run whose weights are wanted and missing is trained once more for them.
        if finished and not (weights_path and is_finished(finished) and not weights_path.exists()):
            return finished
        return write_if_longer(_run(protocol, dataset, checkpoint, *options), results, study)


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


def _run(
    protocol: Protocol,
    dataset: Dataset,
    checkpoint: Path | None,
    weights: Path | None,
    budget_minutes: float | None,
    callbacks: Sequence[keras.callbacks.Callback],
    verbose: bool,
) -> dict:
    """Build the network, or restore its state; fit; evaluate every image as it is shown."""
    shown = apply_noise(protocol, dataset)
    model = start_model(protocol, dataset)
    state = initial_state(protocol, dataset, checkpoint, model)
    _restore(model, state)
    table = augmentation_table(shown.train_images, protocol.shift, protocol.canvas)
    saved = _SavedState(state, protocol, checkpoint, budget_minutes, verbose)
    with saved.bar:
        if not saved.ended():
            model.fit(
                TrainingBatches(protocol, table, shown.train_labels, state.epoch).to_input(),
                **validation_arguments(protocol, shown),
                epochs=protocol.epochs,
                initial_epoch=state.epoch,
                steps_per_epoch=steps_per_epoch(protocol, shown),
                callbacks=[*callbacks, saved],
                shuffle=False,
                verbose=0,
            )
    record = make_record(
        protocol,
        dataset,
        saved.state,
        parameters=model.count_params(),
        train_predictions=predict_classes(model, shown.train_images),
        test_predictions=predict_classes(model, shown.test_images),
        environment=describe_environment(
            saved.state.seconds, len(dataset.train_labels), engine="fit", **_describe_device()
        ),
    )
    if weights and is_complete(saved.state, protocol):
        _save_weights(model, weights)
    return record


# The network and its state


def start_model(protocol: Protocol, dataset: Dataset, state: State | None = None) -> keras.Model:
    """The compiled network of `protocol`, with the weights and the optimizer of `state`, if any."""
    with default_configuration():
        model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
        check_memory(model, protocol, dataset)
        model.optimizer.build(model.trainable_variables)
    if state:
        _restore(model, state)
    return model


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


def steps_per_epoch(protocol: Protocol, dataset: Dataset) -> int:
    """Batches in an epoch; the last may be smaller, no image is left out."""
    return -(-len(dataset.train_images) // protocol.batch_size)


def variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of `State.variables`, in that order."""
    return [*model.variables, *model.optimizer.variables]


def initial_state(
    protocol: Protocol,
    dataset: Dataset,
    checkpoint: Path | None,
    model: keras.Model | None = None,
) -> State:
    """The furthest usable state in the folder of `checkpoint`, or the state before epoch 0.

    Args:
        protocol: The run.
        dataset: The digits.
        checkpoint: Where its state is kept, if it is.
        model: The network that goes on. States that do not fit it are refused with a warning.

    Raises:
        ValueError: if there is a `model`, and the state was made on another Keras backend.
    """
    trajectory, backend = trajectory_id(protocol, dataset.digest), keras.backend.backend()
    if checkpoint is not None:
        like = _values(model) if model else None
        state, refused = latest_state(checkpoint.parent, trajectory, protocol.epochs, like)
        for reason in refused:
            print(f"{reason}. It is not used.", file=sys.stderr)
        if model and state and state.backend not in (None, backend):
            raise ValueError(
                f"Expected KERAS_BACKEND={state.backend}, on which the saved state in "
                f"{checkpoint.parent} was made. Received: {backend!r}. Set it, or delete the folder"
            )
        if state:
            return state
    return State(trajectory, 0, {name: [] for name in METRICS}, [], [], backend)


def _values(model: keras.Model) -> list[np.ndarray]:
    # Copies: JAX gives the memory of an array to the next step.
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables(model)]


def _restore(model: keras.Model, state: State) -> None:
    if state.variables:
        for variable, value in zip(variables(model), state.variables, strict=True):
            variable.assign(value)


# What happens at the end of an epoch


class _SavedState(keras.callbacks.Callback):
    """Saves the state after every epoch, and ends a run that is over."""

    def __init__(
        self,
        state: State,
        protocol: Protocol,
        checkpoint: Path | None,
        budget_minutes: float | None,
        verbose: bool,
    ):
        super().__init__()
        self.state, self.protocol = state, protocol
        self.checkpoint, self.budget_minutes = checkpoint, budget_minutes
        options = {"desc": f"{protocol.model}, seed {protocol.seed}", "unit": "epoch"}
        self.bar = tqdm(total=protocol.epochs, initial=state.epoch, disable=not verbose, **options)

    def ended(self) -> bool:
        return is_complete(self.state, self.protocol) or over_budget(
            self.state, self.budget_minutes
        )

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        if rate != np.float32(self.protocol.learning_rate):
            raise ValueError(
                f"Expected learning_rate={self.protocol.learning_rate:g} in every epoch. "
                f"Received: {rate:g} after epoch {epoch + 1}. Callbacks must not change it"
            )
        values = _values(self.model)
        seconds = time.perf_counter() - self.started
        self.state = next_state(self.state, logs, seconds, values, rate)
        if self.checkpoint:
            write_state(self.checkpoint, self.state)
        shown = {name.replace("_", " "): self.state.history[name][-1] for name in SHOWN}
        self.bar.set_postfix({name: f"{value:.4f}" for name, value in shown.items()})
        self.bar.update()
        if self.ended():
            self.model.stop_training = True


SHOWN = ("loss", "test_accuracy")
"""Metrics beside the progress bar."""


def next_state(
    state: State,
    logs: Mapping[str, float],
    seconds: float,
    values: list[np.ndarray],
    learning_rate: float,
) -> State:
    """The state one epoch later, with a warning if the run has diverged.

    Args:
        state: The state before the epoch.
        logs: The epoch's metrics under Keras's names.
        seconds: What the epoch took.
        values: The variables after it.
        learning_rate: Named in the warning.
    """
    history = {name: [*state.history[name], float(logs[key])] for key, name in HISTORY.items()}
    after = dataclasses.replace(
        state,
        epoch=state.epoch + 1,
        history=history,
        seconds=[*state.seconds, round(seconds, 6)],
        variables=values,
    )
    if diverged(after):
        tqdm.write(
            f"Diverged: the loss is {history['loss'][-1]} after epoch {after.epoch} at learning "
            f"rate {learning_rate:g}. The run stops here.",
            file=sys.stderr,
        )
    return after


# What is kept of a trained network


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
    backend = keras.backend.backend()
    packages = ("keras", backend, *(("jaxlib",) if backend == "jax" else ()), "numpy")
    return {
        **engine,
        "backend": backend,
        **describe_machine(*packages),
        "epoch_seconds": seconds,
        "images_per_second": round(train_size * len(seconds) / sum(seconds), 1),
    }


def _describe_device() -> dict:
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count())
    kinds = {device.partition(":")[0] for device in keras.distribution.list_devices()}
    return {"device": "gpu" if "gpu" in kinds else "cpu", "threads": threads}


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write them, whole or not at all: Keras itself would open `path` and fill it."""
    with tempfile.TemporaryDirectory() as folder:
        elsewhere = Path(folder) / path.name
        model.save_weights(elsewhere)
        content = elsewhere.read_bytes()
    write_atomically(path, lambda file: file.write(content))
