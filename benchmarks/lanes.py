"""How fast networks train as lanes of one JAX program, beside Keras's `fit` on the same device.

Lane-epochs per second count all that `train_program` does: the plans, training on every image, the
test after each epoch. `fit` trains the same network for as many steps, also on JAX, and tests it,
but on images that were prepared before: its time holds no augmentation.

The bound is the least time of the device, if it did only one thing:

    operations   multiplications and additions / the rate of a large matrix product
    bytes        values that must cross the memory / the rate of a large copy
    launches     kernels of one step x steps / the rate of small kernels that wait for each other

The largest of the three is the bound; all lanes share the launches. The rates are measured here.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import math
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import click
import jax
import jax.numpy as jnp
import keras

from mnist_attention import PAPER, Protocol, build_model, load_dataset, training
from mnist_attention.data import Dataset, epoch_plan, network_input
from mnist_attention.models import EVALUATION_BATCH
from mnist_attention.studies.lane_program import LaneProgram
from mnist_attention.studies.lanes import train_program
from mnist_attention.studies.options import LOWERINGS, RunOptions

CHAIN = 200
"""Small kernels in a row whose time gives the time of a launch."""


def best_seconds(function: Callable, *arguments, repeats: int = 5) -> float:
    """The shortest of several calls, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def device_rates() -> dict[str, float]:
    """Operations, bytes and launches per second of the default device."""
    gpu = jax.default_backend() == "gpu"
    side, length = (8192, 2**28) if gpu else (1024, 2**24)
    matrix, line, small = jnp.ones((side, side)), jnp.ones(length), jnp.eye(8)

    def chain(x):
        for _ in range(CHAIN):
            x = x @ small
        return x

    return {
        "operations": 2 * side**3 / best_seconds(jax.jit(jnp.matmul), matrix, matrix),
        # Four bytes read and four written per element.
        "bytes": 8 * length / best_seconds(jax.jit(lambda x: x + 1), line),
        "launches": CHAIN / best_seconds(jax.jit(chain), small),
    }


def work(model: keras.Model, protocol: Protocol, dataset: Dataset) -> dict[str, float]:
    """Operations and bytes that one lane-epoch cannot do without.

    operations: a kernel of K numbers used at P positions takes 2 K P per image forwards. Training
    takes it three times: forwards, the gradient of the inputs, the gradient of the kernel.

    bytes: each step reads and writes every weight (4 + 4 bytes). Each map that a layer with a
    kernel makes is written and read forwards, and its gradient is written and read backwards
    (4 x 4 bytes a value); in the test only the first two.
    """
    layers = [layer for layer in model.layers if hasattr(layer, "kernel")]
    positions = [math.prod(layer.output.shape[1:-1]) for layer in layers]
    forwards = sum(
        2 * math.prod(layer.kernel.shape) * count
        for layer, count in zip(layers, positions, strict=True)
    )
    mapped = sum(math.prod(layer.output.shape[1:]) for layer in layers)
    train, test = len(dataset.train_labels), len(dataset.test_labels)
    weights = 8 * model.count_params() * training.steps_per_epoch(protocol, dataset)
    return {
        "operations": forwards * (3 * train + test),
        "bytes": weights + mapped * (16 * train + 8 * test),
    }


NO_KERNEL = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "call"}


def kernels_per_step(protocol: Protocol, dataset: Dataset, lowering: str) -> int:
    """Instructions of the compiled program's longest loop body, the training step, that launch."""
    seeds = [replace(protocol, seed=seed) for seed in range(2)]
    start = training.resume_state(protocol, dataset, None)
    models = [training.start_model(seed, dataset, start) for seed in seeds]
    program = LaneProgram(models[0], protocol, dataset, lowering)
    plans = [epoch_plan(seed, 0, len(dataset.train_labels)) for seed in seeds]
    program.compile(program.start(models), plans)
    text = program.compiled.as_text()
    bodies = set(re.findall(r"body=%?([\w.-]+)", text))
    counts = []
    for block in re.split(r"\n(?=\S)", text):
        if re.sub(r"^%", "", block.split(" ")[0]) in bodies:
            found = re.findall(r" = .*? ([a-z][a-z0-9-]*)\(", block)
            counts.append(sum(kind not in NO_KERNEL for kind in found))
    return max(counts)


class Clock(keras.callbacks.Callback):
    """Times the epochs of `fit`, test included: from the end of one to the end of the next."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())


def fit_seconds(protocol: Protocol, dataset: Dataset) -> float:
    """Seconds of an epoch of Keras's `fit`; the first, which compiles, does not count."""
    steps = training.steps_per_epoch(protocol, dataset)
    model = training.compile_model(build_model(protocol), protocol, steps)
    clock = Clock()
    model.fit(
        network_input(dataset.train_images),
        dataset.train_labels.astype("int32"),
        batch_size=protocol.batch_size,
        epochs=protocol.epochs,
        shuffle=False,
        validation_data=(network_input(dataset.test_images), dataset.test_labels.astype("int32")),
        validation_batch_size=EVALUATION_BATCH,
        callbacks=[clock],
        verbose=0,
    )
    return statistics.median(b - a for a, b in zip(clock.ends, clock.ends[1:], strict=False))


def lane_seconds(protocol: Protocol, dataset: Dataset, lanes: int, lowering: str) -> float:
    """Seconds of a lane-epoch; the first epoch, which warms up, does not count."""
    protocols = [replace(protocol, seed=seed) for seed in range(lanes)]
    with tempfile.TemporaryDirectory() as results:
        options = RunOptions(engine="lanes", results=results, lowering=lowering, verbose=False)
        records = train_program(protocols, options, dataset)
    return statistics.median(records[protocols[0]]["environment"]["epoch_seconds"][1:])


@click.command(help=__doc__.splitlines()[0])
@click.option("--lanes", default="1,10,30,100", show_default=True, help="Numbers of lanes.")
@click.option("--lowering", type=click.Choice(LOWERINGS), multiple=True, default=LOWERINGS)
@click.option("--dataset", type=click.Choice(["mnist", "uci"]), default="mnist", show_default=True)
@click.option("--model", type=click.Choice(["lenet5", "lenet5_attention"]), default=PAPER.model)
@click.option("--epochs", default=3, show_default=True, help="Epochs that count, after a first.")
def main(lanes: str, lowering: tuple[str, ...], dataset: str, model: str, epochs: int) -> None:
    digits = load_dataset(dataset)
    protocol = replace(PAPER, dataset=dataset, model=model, epochs=epochs + 1)
    rates = device_rates()
    device = jax.devices()[0].device_kind
    click.echo(f"{model}, {dataset}, batches of {protocol.batch_size}, on one {device}")
    click.echo(", ".join(f"{rate:.3g} {name}/s" for name, rate in rates.items()))
    fit = fit_seconds(protocol, digits)
    click.echo(f"Keras fit: {1 / fit:.3g} epochs/s")
    needed = work(build_model(protocol), protocol, digits)
    columns = ["lane-epochs/s", "times fit", "share of bound", "bound by", "kernels a step"]
    click.echo("  ".join(["lowering", "lanes", *columns]))
    for kind in lowering:
        kernels = kernels_per_step(protocol, digits, kind)
        for number in map(int, lanes.split(",")):
            seconds = lane_seconds(protocol, digits, number, kind)
            launches = kernels * training.steps_per_epoch(protocol, digits) / number
            least = {
                name: amount / rates[name]
                for name, amount in {**needed, "launches": launches}.items()
            }
            binding = max(least, key=least.get)
            row = {"lowering": kind, "lanes": number, "lane-epochs/s": 1 / seconds}
            row |= {"times fit": fit / seconds, "share of bound": least[binding] / seconds}
            row |= {"bound by": binding, "kernels a step": kernels}
            cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()]
            # Each row as it comes: a time limit leaves those before it.
            widths = [len(name) for name in row]
            click.echo("  ".join(map(str.rjust, cells, widths)))


if __name__ == "__main__":
    main()
