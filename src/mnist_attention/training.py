"""``train(protocol)``: one call of Keras's ``fit`` on planned batches, then one record."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras

from .batches import TrainingBatches, validation_arguments
from .checks import expect
from .data import Dataset, augmentation_table, load_dataset
from .models import build_model, predict_classes
from .noise import apply_noise
from .protocol import Protocol
from .records import (
    add_seconds,
    check_budget,
    check_study,
    finished_record,
    is_finished,
    make_record,
    record_path,
    write_if_longer,
)
from .storage.checkpoints import SaveState, restore, resume_state
from .storage.files import require_writable, write_atomically
from .storage.machine import check_memory, describe_device, describe_environment
from .storage.states import State, checkpoint_path, lock_runs

KERAS_DEFAULTS = {
    "dtype_policy": "float32",
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


@contextlib.contextmanager
def default_configuration() -> Iterator[None]:
    """Run under Keras's own defaults, so that a user's settings decide no number of a record."""
    with contextlib.ExitStack() as users:
        for name, value in KERAS_DEFAULTS.items():
            configure = getattr(keras.config, f"set_{name}")
            users.callback(configure, getattr(keras.config, name)())
            configure(value)
        yield


@default_configuration()
def train(
    protocol: Protocol,
    *,
    dataset: Dataset | None = None,
    results: Path | str | None = None,
    study: str = "single",
    weights: Path | str | None = None,
    budget_minutes: float | None = None,
    seconds_elsewhere: float = 0.0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> dict:
    """Train the network of `protocol` and return its record.

    With `results`, the state is saved at the end of every epoch in `results/.checkpoints`, so that
    a killed run continues exactly where it was; a run that has a record is not repeated. A run
    that a budget or a callback ended early has a record too, with fewer epochs in `result` than in
    `protocol`: called again, it continues, and the new record replaces that one.

    On one machine, with the same versions, backend and number of threads, a protocol gives the
    same record, byte for byte, apart from `environment`. On another one the last bits of a step
    may differ, and after some epochs the whole run: `mnist-attention verify` then compares it with
    the spread of seeds.

    Args:
        protocol: What to train, on what, and how.
        dataset: The digits; by default those that the protocol names.
        results: Folder for the record (`<results>/<study>/<run_id>.json`) and the state.
        study: Name of the subfolder.
        weights: Folder for the trained weights (`<weights>/<run_id>.weights.h5`); those of a run
            that ended early are not kept.
        budget_minutes: End the run after the epoch in which its training has taken this long.
        seconds_elsewhere: Time in the record or the state of this run that the budget does not
            count: another engine or device trained then.
        callbacks: Keras callbacks, for example `keras.callbacks.CSVLogger(path, append=True)`.
            They see one training: after a resume the epochs are numbered on. They may stop it at
            the end of an epoch, but must not change the learning rate. The record is of the last
            epoch's weights, also where a callback puts back others.
        verbose: Whether to show a progress bar.

    Returns:
        The record, with `run_id`, `protocol`, `dataset`, `history`, `result`, `test_predictions`,
        `environment`. Accuracies are fractions.

    Raises:
        ValueError: if the protocol does not fit the data, the budget is not above 0, `study` is
            not a name for records, the saved state comes from another Keras backend, or a callback
            changed the learning rate or stopped within an epoch.
        MemoryError: if the machine has too little memory for the network.
        OSError: if the data are missing or a folder cannot be written.
    """
    check_budget(budget_minutes)
    check_study(study)
    dataset = dataset or load_dataset(protocol.dataset)
    check_fit(protocol, dataset)
    run_id, checkpoint = protocol.run_id(dataset.digest), None
    if weights:
        weights = require_writable(weights, "MNIST_ATTENTION_WEIGHTS") / f"{run_id}.weights.h5"
    if results:
        require_writable(require_writable(results) / study)
        checkpoint = checkpoint_path(results, protocol, dataset.digest)
    with lock_runs([checkpoint] if results else []):  # a second process waits, then reads
        if results:
            budget = add_seconds(budget_minutes, seconds_elsewhere)
            finished = finished_record(record_path(results, study, run_id), budget)
            # For missing weights a whole run goes on from its last state, or is trained again.
            lacks_weights = weights and not weights.exists()
            if finished and not (lacks_weights and is_finished(finished)):
                return finished

        digits = apply_noise(protocol, dataset)  # as the network sees them
        model = start_model(protocol, dataset)
        state = resume_state(protocol, dataset, checkpoint, model)
        restore(model, state)
        table = augmentation_table(digits.train_images, protocol.shift, protocol.canvas)
        elsewhere = min(seconds_elsewhere, sum(state.seconds))  # 0 where the state is gone
        budget = add_seconds(budget_minutes, elsewhere)
        saver = SaveState(state, protocol, checkpoint, budget, verbose)
        with saver.bar:
            if not state.has_ended(protocol.epochs, budget):
                model.fit(
                    TrainingBatches(protocol, table, digits.train_labels, state.epoch).to_input(),
                    **validation_arguments(protocol, digits),
                    epochs=protocol.epochs,
                    initial_epoch=state.epoch,
                    steps_per_epoch=steps_per_epoch(protocol, digits),
                    callbacks=[*callbacks, saver],
                    shuffle=False,
                    verbose=0,
                )
                state = saver.state
                restore(model, state)  # a callback may have put other weights back

        engine = {"engine": "fit", **describe_device()}
        if elsewhere:
            engine["seconds_elsewhere"] = elsewhere
        record = make_record(
            protocol,
            dataset,
            state,
            parameters=model.count_params(),
            train_predictions=predict_classes(model, digits.train_images),
            test_predictions=predict_classes(model, digits.test_images),
            environment=describe_environment(state.seconds, len(dataset.train_labels), **engine),
        )
        if weights and is_finished(record):
            _save_weights(model, weights)
        return write_if_longer(record, results, study) if results else record


def check_fit(protocol: Protocol, dataset: Dataset) -> None:
    """Raise ValueError unless the protocol is meant for these digits, and for so many."""
    name, received = protocol.dataset, f"dataset {dataset.name!r}"
    expect(dataset.name == name, f"the dataset of the protocol, {name!r}", received)
    size, received = len(dataset.train_images), f"batch_size={protocol.batch_size}"
    expected = f"batch_size to be at most {size}, the number of training images"
    expect(protocol.batch_size <= size, expected, received)


@default_configuration()
def start_model(protocol: Protocol, dataset: Dataset, state: State | None = None) -> keras.Model:
    """The compiled network of `protocol`, with the weights and the optimizer of `state`, if any."""
    model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
    check_memory(model, protocol, dataset)
    model.optimizer.build(model.trainable_variables)
    if state:
        restore(model, state)
    return model


def compile_model(model: keras.Model, protocol: Protocol, steps: int) -> keras.Model:
    """Give `model` the protocol's optimizer, the cross entropy of Eq. 1 from logits, and accuracy.

    Several of the `steps` of an epoch run as one call of the compiled graph, which saves the way
    through Python. PyTorch has no such call.
    """
    backend = keras.backend.backend()
    most = 1 if backend == "torch" else 25
    optimizer = keras.optimizers.SGD(
        protocol.learning_rate, protocol.momentum, weight_decay=protocol.weight_decay or None
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=max(size for size in range(1, most + 1) if steps % size == 0),
        # On a CPU XLA is several times slower than oneDNN for this network; JAX has nothing else.
        jit_compile=backend == "jax",
    )
    return model


def steps_per_epoch(protocol: Protocol, dataset: Dataset) -> int:
    """Batches in an epoch; the last may be smaller, no image is left out."""
    return -(-len(dataset.train_images) // protocol.batch_size)


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write them, whole or not at all: Keras itself would open `path` and fill it."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_weights(Path(folder) / path.name)
        write_atomically(path, (Path(folder) / path.name).read_bytes())
