"""Training throughput on one core: our `fit`, the bare compiled step, and PyTorch.

Each contestant has a process of its own, as TensorFlow and PyTorch crash in one. They take turns,
since machines drift; the ratios of each turn are what counts. The bare step is Keras's own
`train_step` as one TensorFlow graph, on the same batch over and over: no data, no augmentation, no
callbacks. PyTorch (optional) trains the same network on batches sliced from memory, without
augmentation or metrics: eager or compiled, with channels first or last.
"""

import os

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

import contextlib
import functools
import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import click
import numpy as np
import pandas as pd

# Keras only inside the functions: a process of PyTorch must not import TensorFlow.
from mnist_attention.data import Dataset, augmentation_table, load_dataset, network_input
from mnist_attention.protocol import PAPER, Protocol

Turn = Callable[[], None]


def digits(steps: int, batch_size: int) -> Dataset:
    """As many training images as `steps` batches take: MNIST where it is available."""
    whole = load_dataset("mnist", fallback=True)
    chosen = np.resize(np.arange(len(whole.train_images)), steps * batch_size)
    return replace(
        whole, train_images=whole.train_images[chosen], train_labels=whole.train_labels[chosen]
    )


def our_fit(protocol: Protocol, dataset: Dataset) -> Turn:
    """An epoch as `train` trains it."""
    from mnist_attention import build_model
    from mnist_attention.batches import TrainingBatches
    from mnist_attention.training import compile_model, steps_per_epoch

    model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
    table = augmentation_table(dataset.train_images, protocol.shift)
    epochs = iter(range(protocol.epochs))

    def turn() -> None:
        batches = TrainingBatches(protocol, table, dataset.train_labels, next(epochs))
        model.fit(batches.to_input(), steps_per_epoch=batches.steps, shuffle=False, verbose=0)

    return turn


def bare_step(protocol: Protocol, dataset: Dataset) -> Turn:
    """As many compiled training steps, each on the same batch."""
    from mnist_attention import build_model  # silences TensorFlow's first import
    from mnist_attention.training import compile_model, steps_per_epoch

    import tensorflow as tf  # isort: skip

    steps = steps_per_epoch(protocol, dataset)
    model = compile_model(build_model(protocol), protocol, steps)
    images = tf.constant(network_input(dataset.train_images[: protocol.batch_size]))
    labels = tf.constant(dataset.train_labels[: protocol.batch_size], tf.int32)
    step = tf.function(model.train_step)

    def turn() -> None:
        for _ in range(steps):
            metrics = step((images, labels))
        float(metrics["loss"])  # wait until it is done

    return turn


def pytorch(protocol: Protocol, dataset: Dataset, *, compiled: bool, channels_last: bool) -> Turn:
    """The same number of steps of the same network, as PyTorch users write them."""
    import torch
    from torch import nn

    torch.set_num_threads(1)

    class Mask(nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.convolution = nn.Conv2d(channels, 1, 1)

        def forward(self, x):
            return x * torch.sigmoid(self.convolution(x))

    masks = [Mask(6), Mask(16)] if protocol.model == "lenet5_attention" else [nn.Identity()] * 2
    network = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), masks[0], nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), masks[1], nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, 10),
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), lr=protocol.learning_rate)
    images = torch.from_numpy(network_input(dataset.train_images).transpose(0, 3, 1, 2).copy())
    images = images.to(memory_format=layout)
    labels = torch.from_numpy(dataset.train_labels.astype("int64"))
    predict = torch.compile(network) if compiled else network

    def turn() -> None:
        for x, y in zip(
            images.split(protocol.batch_size), labels.split(protocol.batch_size), strict=True
        ):
            optimizer.zero_grad()
            nn.functional.cross_entropy(predict(x), y).backward()
            optimizer.step()

    return turn


OURS = "fit (ours)"
CONTESTANTS: dict[str, Callable[[Protocol, Dataset], Turn]] = {
    OURS: our_fit,
    "bare compiled step": bare_step,
    "PyTorch, eager": functools.partial(pytorch, compiled=False, channels_last=False),
    "PyTorch, eager, channels last": functools.partial(pytorch, compiled=False, channels_last=True),
    "torch.compile": functools.partial(pytorch, compiled=True, channels_last=False),
    "torch.compile, channels last": functools.partial(pytorch, compiled=True, channels_last=True),
}


def take_turns(name: str, protocol: Protocol, steps: int, pipe) -> None:
    """In a process of its own: send the seconds of a turn whenever a message comes."""
    turn = CONTESTANTS[name](protocol, digits(steps, protocol.batch_size))
    while pipe.recv():
        started = time.perf_counter()
        turn()
        pipe.send(time.perf_counter() - started)


def seconds_per_round(names: list[str], protocol: Protocol, steps: int) -> pd.DataFrame:
    """One row a round, one column a contestant; the first round warms up and is not counted.

    A contestant whose process ends has NaN from then on, and is named on stderr.
    """
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in names:
        pipes[name], end = context.Pipe()
        context.Process(target=take_turns, args=(name, protocol, steps, end), daemon=True).start()
        end.close()
    rounds = []
    for _ in range(protocol.epochs):
        seconds = dict.fromkeys(names, np.nan)
        for name in [*pipes]:
            try:
                pipes[name].send(True)
                seconds[name] = pipes[name].recv()
            except (EOFError, OSError):
                click.echo(f"{name}: its process ended; it is left out.", err=True)
                del pipes[name]
        rounds.append(seconds)
    for pipe in pipes.values():
        with contextlib.suppress(OSError):
            pipe.send(False)
    return pd.DataFrame(rounds[1:])


@click.command(help=__doc__.splitlines()[0])
@click.option("--model", type=click.Choice(["lenet5", "lenet5_attention"]), default=PAPER.model)
@click.option("--steps", default=100, show_default=True, help="Training steps per turn.")
@click.option("--rounds", default=7, show_default=True, help="Turns of each contestant.")
def main(model: str, steps: int, rounds: int) -> None:
    dataset = load_dataset("mnist", fallback=True)
    protocol = replace(PAPER, model=model, dataset=dataset.name, epochs=rounds + 1)
    names = [*CONTESTANTS]
    if not importlib.util.find_spec("torch"):
        names = [OURS, "bare compiled step"]
        click.echo("PyTorch is not installed: pip install 'mnist-attention[torch]' to compare.")
    seconds = seconds_per_round(names, protocol, steps)
    ratio = seconds.div(seconds[OURS], axis=0)
    table = pd.DataFrame(
        {
            "ms per step": 1000 * seconds.median() / steps,
            "images/s": protocol.batch_size * steps / seconds.median(),
            "our throughput / its": ratio.median(),
            "lowest": ratio.min(),
            "highest": ratio.max(),
        }
    )
    click.echo(f"{model}, batches of {protocol.batch_size}, one thread, {rounds} rounds (medians)")
    click.echo(table.to_string(float_format="{:.2f}".format))
    sys.exit(1 if seconds[OURS].isna().any() else 0)


if __name__ == "__main__":
    main()
