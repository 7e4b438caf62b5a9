"""Trains small runs as lanes, for test_lanes.py. Keras must have been told to use JAX.

python lanes_runs.py FOLDER killed    SIGKILL when the first of them has its record
python lanes_runs.py FOLDER           one program: finishes the folder `killed`, and `unbroken`
python lanes_runs.py FOLDER more      other programs: a lane alone, patches, a deadline
"""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras

from mnist_attention import MODELS, AttentionMask1x1, Protocol
from mnist_attention.models.initializers import draw_kernels
from mnist_attention.records import write_if_longer
from mnist_attention.storage.checkpoints import variables
from mnist_attention.studies import lanes
from mnist_attention.studies.lane_program import LaneProgram
from mnist_attention.studies.options import RunOptions
from mnist_attention.training import compile_model
from small_digits import first_digits

# A mask without bounds, so that a large rate ends in NaN: bounded ones leave dead units, finite.
PROTOCOL = Protocol(
    dataset="uci",
    epochs=10,
    batch_size=64,
    learning_rate=0.03,
    momentum=0.9,
    mask_activation="linear",
)
PREFIX = replace(PROTOCOL, epochs=5)
OTHER = replace(PROTOCOL, seed=1, learning_rate=0.01, flip=False, initializer="lecun_normal")
DIVERGING = replace(PROTOCOL, learning_rate=1e5)
LANES = (DIVERGING, PROTOCOL, OTHER, PREFIX)


def tiny_network(
    *,
    seed: int = 0,
    initializer: str = "glorot_uniform",
    mask_activation: str = "sigmoid",
) -> keras.Model:
    """A masked network that compiles in a moment; nothing in it bounds what grows."""
    inputs = keras.Input((32, 32, 1))
    maps = keras.layers.Conv2D(4, 5, strides=2, activation="leaky_relu", name="c1")(inputs)
    maps = AttentionMask1x1(activation=mask_activation, name="c1_attention")(maps)
    maps = keras.layers.Flatten()(keras.layers.MaxPooling2D()(maps))
    model = keras.Model(inputs, keras.layers.Dense(10, name="output")(maps))
    draw_kernels(model, initializer, seed)
    return model


DIGITS = first_digits(96, 40)
"""96 images: two steps an epoch, one of 64 images and one of the 32 that are left."""


def write_and_die(record: dict, *where) -> None:
    """Write a record, then kill this process; not yet for the diverged run: others are far."""
    write_if_longer(record, *where)
    if not record["result"]["diverged"]:
        os.kill(os.getpid(), signal.SIGKILL)


def variables_keep_their_order() -> bool:
    """Whether lanes give back the variables of a network whose kinds of variables are mixed."""
    layers = [
        keras.layers.Conv2D(2, 3, strides=8),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
    model = compile_model(keras.Sequential([keras.Input((32, 32, 1)), *layers]), PROTOCOL, steps=1)
    model.optimizer.build(model.trainable_variables)
    program = LaneProgram(model, PROTOCOL, DIGITS, "grouped")
    for number, variable in enumerate(variables(model)):
        variable.assign(keras.ops.full(variable.shape, number, variable.dtype))
    second = program.variables(program.start([model, model]))[1]
    return [value.max() for value in second] == [*range(len(variables(model)))]


def train_with_deadlines(folder: Path) -> None:
    """Train the runs in calls that a deadline ends after three epochs each."""
    left, epoch = [], LaneProgram.epoch

    def counted(*arguments):
        left.pop()
        return epoch(*arguments)

    LaneProgram.epoch = counted
    RunOptions.seconds_left = lambda options: 1e9 if left else 0
    for call in range(10):
        left[:] = range(3)
        if train_lanes(LANES, results=folder, deadline_minutes=1) == len(LANES):
            break
        print("call", call, "was ended by the deadline")


def train_lanes(protocols: Sequence[Protocol], **options) -> int:
    """The number of records that are there now."""
    options = RunOptions(**options, engine="lanes", checkpoint_every=4, verbose=False)
    groups = lanes.by_program(protocols)
    return sum(len(lanes.train_program(group, options, DIGITS)) for group in groups)


def main(folder: Path, how: str = "") -> None:
    if how == "killed":
        lanes.write_if_longer = write_and_die
        train_lanes(LANES, results=folder / "killed")
    elif how == "more":
        if not variables_keep_their_order():
            sys.exit("The variables come back in another order.")
        train_lanes([PROTOCOL], results=folder / "alone")
        train_lanes(LANES, results=folder / "patches", lowering="patches")
        train_with_deadlines(folder / "deadline")
    else:
        for name in ("killed", "unbroken"):
            train_lanes(LANES, results=folder / name)


if __name__ == "__main__":
    MODELS[PROTOCOL.model] = tiny_network
    main(Path(sys.argv[1]), *sys.argv[2:])
