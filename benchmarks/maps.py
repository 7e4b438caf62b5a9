"""What it costs to score the masks of LeNet-5 on all test images, score by score.

Every score of both masks, C1 and C3: against the ink, in decibels, and by deletion and insertion,
which ask the network 29 times each. Processes of one thread share the images; they are started and
warmed up first.
"""

import os

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))  # of this process and of those that it starts

import itertools
import time
from collections.abc import Callable, Iterator

import click
import joblib
import numpy as np
import pandas as pd

from mnist_attention import PAPER, build_model, load_dataset
from mnist_attention.data import ink
from mnist_attention.probes.masks import deletion, insertion, maps_on_image, snr_gain
from mnist_attention.probes.scores import SCORES
from mnist_attention.storage.quiet import silence_stderr


def timed_scores(dataset: str, start: int, stop: int) -> dict[str, float]:
    """Score -> seconds for both masks on some of the test images."""
    digits, model = load_dataset(dataset), build_model(PAPER)
    model.compile()  # as trained networks are: asked op by op they take twice the time
    images, labels = digits.test_images[start:stop], digits.test_labels[start:stop]
    return dict(_timed(model, images, labels))


def _timed(model, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, float]]:
    inked = ink(images)
    maps, seconds = _clocked(lambda: maps_on_image(model, images))
    yield "maps", seconds
    for name, score in SCORES.items():
        yield name, _clocked(lambda score=score: [score(m, inked) for m in maps.values()])[1]
    yield "snr_gain_db", _clocked(lambda: snr_gain(model, images, inked))[1]
    for area in (deletion, insertion):
        seconds = _clocked(
            lambda area=area: [area(model, images, labels, m) for m in maps.values()]
        )[1]
        yield area.__name__, seconds


def _clocked(function: Callable):
    started = time.perf_counter()
    value = function()
    return value, time.perf_counter() - started


@click.command(help=__doc__.splitlines()[0])
@click.option("--images", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=2, help="Processes.  [default: 2]")
@click.option("--dataset", type=click.Choice(["mnist", "uci"]), default="mnist", show_default=True)
def main(images: int, jobs: int, dataset: str) -> None:
    digits = load_dataset(dataset, fallback=True)
    images = min(images, len(digits.test_labels))
    jobs = min(jobs, images)
    cuts = np.linspace(0, images, jobs + 1).astype(int)
    task = joblib.delayed(timed_scores)
    with joblib.Parallel(n_jobs=jobs, batch_size=1) as parallel:
        with silence_stderr():
            parallel(task(digits.name, 0, 20) for _ in range(jobs))
        started = time.perf_counter()
        parts = parallel(task(digits.name, a, b) for a, b in itertools.pairwise(cuts))
        whole = time.perf_counter() - started
    slowest = pd.DataFrame(parts).max().rename("seconds").rename_axis("score").reset_index()
    click.echo(slowest.to_string(index=False, float_format="{:.2f}".format))
    click.echo(f"all scores of both masks, {images:,} images, {jobs} processes: {whole:.1f} s")


if __name__ == "__main__":
    main()
