"""Training throughput on one core: our `fit`, the bare compiled step, and eager PyTorch.

The three take turns in one process, since machines drift; the ratios of each turn are what
counts. The bare step is Keras's own `train_step` as one TensorFlow graph, fed the same batch over
and over: no data, no augmentation, no callbacks. PyTorch (optional) trains the same network on
batches sliced from memory, without augmentation or metrics.
"""

import os

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

import importlib.util
import time
from collections.abc import Callable
from dataclasses import replace

import click
import numpy as np
import pandas as pd

from mnist_attention import PAPER, Protocol, build_model, load_dataset
from mnist_attention.batches import TrainingBatches
from mnist_attention.data import Dataset, augmentation_table, network_input
from mnist_attention.training import compile_model, steps_per_epoch

Turn = Callable[[], None]


def digits(steps: int, batch_size: int) -> Dataset:
    """As many training images as `steps` batches take, MNIST where it is to be had."""
    whole = load_dataset("mnist", fallback=True)
    chosen = np.resize(np.arange(len(whole.train_images)), steps * batch_size)
    return replace(
        whole, train_images=whole.train_images[chosen], train_labels=whole.train_labels[chosen]
    )


def bare_step(protocol: Protocol, dataset: Dataset) -> Turn:
    """As many compiled training steps, each on the same batch."""
    import tensorflow as tf

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


def eager_pytorch(protocol: Protocol, dataset: Dataset) -> Turn:
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
    optimizer = torch.optim.SGD(network.parameters(), lr=protocol.learning_rate)
    images = torch.from_numpy(network_input(dataset.train_images).transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(dataset.train_labels.astype("int64"))

    def turn() -> None:
        for x, y in zip(
            images.split(protocol.batch_size), labels.split(protocol.batch_size), strict=True
        ):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()

    return turn


def seconds_per_round(
    protocol: Protocol, dataset: Dataset, others: dict[str, Turn]
) -> pd.DataFrame:
    """Train as `train` does, the others between two epochs; one row a round.

    The first round warms up and is not counted.
    """
    model = compile_model(build_model(protocol), protocol, steps_per_epoch(protocol, dataset))
    table = augmentation_table(dataset.train_images, protocol.shift)
    rounds = []
    for epoch in range(protocol.epochs):

        def ours(epoch: int = epoch) -> None:
            batches = TrainingBatches(protocol, table, dataset.train_labels, epoch)
            model.fit(batches.to_input(), steps_per_epoch=batches.steps, shuffle=False, verbose=0)

        seconds = {}
        for name, turn in {"fit (ours)": ours, **others}.items():
            started = time.perf_counter()
            turn()
            seconds[name] = time.perf_counter() - started
        rounds.append(seconds)
    return pd.DataFrame(rounds[1:])


@click.command(help=__doc__.splitlines()[0])
@click.option("--model", type=click.Choice(["lenet5", "lenet5_attention"]), default=PAPER.model)
@click.option("--steps", default=100, show_default=True, help="Training steps per turn.")
@click.option("--rounds", default=7, show_default=True, help="Turns of each contestant.")
def main(model: str, steps: int, rounds: int) -> None:
    dataset = digits(steps, PAPER.batch_size)
    protocol = replace(PAPER, model=model, dataset=dataset.name, epochs=rounds + 1)
    contestants = {"bare compiled step": bare_step}
    if importlib.util.find_spec("torch"):
        contestants["eager PyTorch"] = eager_pytorch
    else:
        click.echo("PyTorch is not installed: pip install 'mnist-attention[torch]' to compare.")
    others = {name: make(protocol, dataset) for name, make in contestants.items()}
    seconds = seconds_per_round(protocol, dataset, others)
    ratio = seconds.div(seconds["fit (ours)"], axis=0)
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


if __name__ == "__main__":
    main()
