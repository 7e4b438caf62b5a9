"""What every engine shares, on any Keras backend: where a run starts and how its record is made."""

import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

import filelock
import keras
import numpy as np
from tqdm import tqdm

from .backgrounds import SPLITS, Condition
from .checkpoints import State, latest_state
from .data import Dataset
from .machine import describe_machine
from .models import build_model, logits
from .protocol import Protocol, by_trajectory, described, run_id, trajectory_id

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


def presented(protocol: Protocol, dataset: Dataset) -> Dataset:
    """The digits as the protocol presents them to the network.

    Backgrounds and permutations do not depend on the run's seed: all runs of a setting see the
    same data set. Test labels are never permuted.

    Returns:
        `dataset` itself for clean digits with their own labels.
    """
    changes = {}
    if protocol.background != "none":
        condition = Condition(protocol.background, protocol.strength, protocol.gamma)
        for split in SPLITS:
            name = f"{split}_images"
            changes[name] = condition.apply(getattr(dataset, name), split)
    if protocol.permuted_labels:
        generator = np.random.default_rng([0, len(dataset.train_labels)])
        changes["train_labels"] = generator.permutation(dataset.train_labels)
    return dataclasses.replace(dataset, **changes) if changes else dataset


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


def checkpoint_path(results: Path, protocol: Protocol, dataset: Dataset) -> Path:
    """Where the state of a run is kept. Runs that differ in `epochs` alone share the folder."""
    trajectory = trajectory_id(protocol, dataset.digest)
    return Path(results) / ".checkpoints" / trajectory / f"{protocol.epochs}.npz"


@contextlib.contextmanager
def claimed(checkpoints: Iterable[Path]) -> Iterator[None]:
    """Hold the runs with these checkpoints. Whoever wants one of them too waits meanwhile."""
    with contextlib.ExitStack() as locks:
        for path in sorted(checkpoints):  # in one order everywhere: no two wait for each other
            path.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(filelock.FileLock(path.with_suffix(".lock")))
            for half_written in path.parent.glob(f".{path.name}.*"):  # by a process that was killed
                half_written.unlink(missing_ok=True)
        yield


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


@dataclasses.dataclass
class Trajectory:
    """Runs that differ in `epochs` alone: the shorter ones are the beginning of the longest.

    Attributes:
        longest: The longest of them.
        due: Those without a record, shortest first.
        state: How far the training is.
        budget_minutes: See `spent`.
    """

    longest: Protocol
    due: list[Protocol]
    state: State
    budget_minutes: float | None = None

    def ended(self) -> list[Protocol]:
        """The due runs that end with this state: all of them, if it has diverged or time is up."""
        over = diverged(self.state) or spent(self.state, self.budget_minutes)
        return [run for run in self.due if over or run.epochs == self.state.epoch]


def trajectories(
    protocols: Iterable[Protocol],
    finished: Container[Protocol],
    dataset: Dataset,
    results: Path | None,
    budget_minutes: float | None = None,
) -> list[Trajectory]:
    """Sort runs into trajectories, each in the furthest state that serves all its due runs.

    Args:
        protocols: The runs.
        finished: Those that have a record.
        dataset: The digits.
        results: Folder of the states, if any.
        budget_minutes: How long each of them may train.
    """
    found = []
    for chain in by_trajectory(protocols):
        due = [protocol for protocol in chain if protocol not in finished]
        start = (due or chain)[0]
        path = checkpoint_path(results, start, dataset) if results else None
        state = initial_state(start, dataset, path)
        found.append(Trajectory(chain[-1], due, state, budget_minutes))
    return found


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


def diverged(state: State) -> bool:
    """Whether the last epoch's loss is not finite: such a run has ended."""
    return bool(state.history["loss"]) and not np.isfinite(state.history["loss"][-1])


def is_whole(state: State, protocol: Protocol) -> bool:
    """Whether a run has had all of its epochs, or has diverged: more would change nothing."""
    return state.epoch >= protocol.epochs or diverged(state)


def spent(state: State, budget_minutes: float | None) -> bool:
    """Whether a run has used up its time budget: it ends with the epoch in which that happens.

    Args:
        state: The run, with the seconds of all its epochs, those of earlier calls included.
        budget_minutes: How long a run may train; `None` for as long as it takes.
    """
    return budget_minutes is not None and sum(state.seconds) >= 60 * budget_minutes


def predict_classes(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The class that `model` gives each image.

    Args:
        model: Network from `(batch, 32, 32, 1)` to logits `(batch, 10)`.
        images: Shape `(n, 28, 28)`.

    Returns:
        Integers of shape `(n,)`. Where a logit is NaN, the first such class.
    """
    return logits(model, images).argmax(axis=1)


def make_record(
    protocol: Protocol,
    dataset: Dataset,
    state: State,
    *,
    parameters: int,
    train_predictions: np.ndarray,
    test_predictions: np.ndarray,
    environment: dict,
) -> dict:
    """Describe a finished run. See `training.train`.

    Args:
        protocol: What was trained.
        dataset: The digits.
        state: The run at its end.
        parameters: Number of weights of the network.
        train_predictions: Class of every clean training image, integers, shape `(n,)`.
        test_predictions: Class of every test image.
        environment: See `describe_environment`.
    """
    # Dropping the last, smaller batch is the classic slip.
    assert train_predictions.shape == dataset.train_labels.shape
    assert test_predictions.shape == dataset.test_labels.shape
    result = {
        "diverged": diverged(state),
        "epochs": state.epoch,
        "parameters": parameters,
        "test_accuracy": float(np.mean(test_predictions == dataset.test_labels)),
        "train_accuracy": float(np.mean(train_predictions == dataset.train_labels)),
    }
    return {
        "run_id": run_id(protocol, dataset.digest),
        "protocol": described(protocol),
        "dataset": dataset.described(),
        "history": state.history,
        "result": result,
        "test_predictions": "".join(map(str, test_predictions)),
        "environment": environment,
    }


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
