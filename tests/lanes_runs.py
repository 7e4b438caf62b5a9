"""Trains small runs as lanes, for test_lanes.py. Keras must have been told to use JAX.

    python lanes_runs.py FOLDER killed    SIGKILL when the first of them has its record
    python lanes_runs.py FOLDER           all the runs, each into a folder of its own

The folder `killed` is that of the killed process: what it left is finished there.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import keras

from mnist_attention import Protocol
from mnist_attention.storage.checkpoints import variables
from mnist_attention.studies.lane_program import LaneProgram
from mnist_attention.studies.lanes import train_lanes
from mnist_attention.training import compile_model
from small_digits import first_digits

# A mask without bounds, so that a large rate ends in NaN: bounded ones leave dead units, finite.
PROTOCOL = Protocol(
    dataset="uci",
    epochs=10,
    batch_size=64,
    learning_rate=0.1,
    momentum=0.9,
    mask_activation="linear",
)
PREFIX = replace(PROTOCOL, epochs=5)
OTHER = replace(PROTOCOL, seed=1, learning_rate=0.01, flip=False, initializer="lecun_normal")
DIVERGING = replace(PROTOCOL, learning_rate=1e5)
LANES = (DIVERGING, PROTOCOL, OTHER, PREFIX)


DIGITS = first_digits(96, 40)
"""96 images: two steps an epoch, one of 64 images and one of the 32 that are left."""


def kill_at_first_end(record: dict) -> None:
    """Kill this process; not yet for the diverged run, so that other lanes are far from it."""
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


def main(folder: Path, how: str = "") -> None:
    shared = {"dataset": DIGITS, "checkpoint_every": 4, "verbose": False}
    if how == "killed":
        train_lanes(LANES, results=folder / "killed", callback=kill_at_first_end, **shared)
    if not variables_keep_their_order():
        sys.exit("The variables come back in another order.")
    for name in ("killed", "unbroken"):
        train_lanes(LANES, results=folder / name, **shared)
    train_lanes([PROTOCOL], results=folder / "alone", **shared)
    train_lanes(LANES, results=folder / "patches", lowering="patches", **shared)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
