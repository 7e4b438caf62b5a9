"""The state of a run in a Keras model: taken out after every epoch, put back when it goes on."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from ..checks import expect
from ..protocol import Protocol, trajectory_id
from .states import HISTORY, METRICS, State, latest_state, write_state


def variables(model: keras.Model) -> list[keras.Variable]:
    """The variables of `State.variables`, in that order."""
    return [*model.variables, *model.optimizer.variables]


def restore(model: keras.Model, state: State) -> None:
    """Give the model and its optimizer the values of a state; those before epoch 0 stay."""
    if state.variables:
        for variable, value in zip(variables(model), state.variables, strict=True):
            variable.assign(value)


def resume_state(
    protocol: Protocol, dataset, checkpoint: Path | None, model: keras.Model | None = None
) -> State:
    """The furthest usable state in the folder of `checkpoint`; without one, that before epoch 0.

    States that do not fit `model`, the network that goes on, are refused with a warning; one of
    another Keras backend is a ValueError.
    """
    trajectory, backend = trajectory_id(protocol, dataset.digest), keras.backend.backend()
    state, like = None, variables(model) if model else None
    if checkpoint is not None:
        state = latest_state(checkpoint.parent, trajectory, protocol.epochs, like)
    if state is None:
        return State(trajectory, 0, {name: [] for name in METRICS}, [], [], backend)
    if model and state.backend != backend:
        raise ValueError(
            f"Expected KERAS_BACKEND={state.backend}, on which the saved state in "
            f"{checkpoint.parent} was made. Received: {backend!r}. Set it, or delete the folder"
        )
    return state


def next_state(
    state: State,
    logs: Mapping[str, float],
    seconds: float,
    values: list[np.ndarray],
    learning_rate: float,
) -> State:
    """The state one epoch later; if the run has diverged, with a warning that names the rate.

    `logs` are the epoch's metrics under Keras's names, `values` the variables after it.
    """
    history = {name: [*state.history[name], float(logs[key])] for key, name in HISTORY.items()}
    times = [*state.seconds, round(seconds, 6)]
    backend = keras.backend.backend()  # a lane without due runs may come from another one
    after = State(state.trajectory, state.epoch + 1, history, times, values, backend)
    if after.diverged:
        tqdm.write(
            f"Diverged: the loss is {history['loss'][-1]} after epoch {after.epoch} at learning "
            f"rate {learning_rate:g}. The run stops here.",
            file=sys.stderr,
        )
    return after


class SaveState(keras.callbacks.Callback):
    """After every epoch: saves the state, moves the bar, and stops a run that has ended."""

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

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        rate, wanted = float(self.model.optimizer.learning_rate), self.protocol.learning_rate
        received = f"{rate:g} after epoch {epoch + 1}. Callbacks must not change it"
        expect(rate == np.float32(wanted), f"learning_rate={wanted:g} in every epoch", received)
        # Copies: JAX gives the memory of an array to the next step. Copying waits for the device;
        # only then is the epoch's time over.
        values = [np.array(keras.ops.convert_to_numpy(each)) for each in variables(self.model)]
        seconds = time.perf_counter() - self.started
        self.state = next_state(self.state, logs, seconds, values, rate)
        step, last = int(self.model.optimizer.iterations), (epoch + 1) * self.params["steps"]
        received = f"a stop at step {step} of {last}"
        expect(step == last or self.state.diverged, "callbacks to stop between epochs", received)
        if self.checkpoint:
            write_state(self.checkpoint, self.state)
        loss, accuracy = logs["loss"], logs["val_accuracy"]
        self.bar.set_postfix_str(f"loss={loss:.4f}, test accuracy={accuracy:.4f}")
        self.bar.update()
        self.model.stop_training |= self.state.has_ended(self.protocol.epochs, self.budget_minutes)
