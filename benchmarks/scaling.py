"""Runs finished by two worker processes over runs finished by one, in the same time.

Each round trains the same short runs twice, with one worker and with two, one after the other.
The workers are started and warmed up first: a study lasts hours, its start does not count.
"""

import statistics
import tempfile
import time
from dataclasses import replace

import click
import joblib

from mnist_attention import PAPER, Protocol, load_dataset
from mnist_attention.studies.engines import Chain, make_network, run_chain
from mnist_attention.studies.options import RunOptions


def seconds_for(protocols: list[Protocol], jobs: int) -> float:
    """Train the protocols, one run per process, `jobs` at a time."""
    with tempfile.TemporaryDirectory() as results:
        options = RunOptions(study="scaling", results=results)
        chains = [Chain((protocol,), make_network) for protocol in protocols]
        tasks = (joblib.delayed(run_chain)(chain, options) for chain in chains)
        started = time.perf_counter()
        for _, _, errors in joblib.Parallel(n_jobs=2, pre_dispatch=jobs, batch_size=1)(tasks):
            if errors:
                raise RuntimeError(f"A run failed: {errors}")
        return time.perf_counter() - started


@click.command(help=__doc__.splitlines()[0])
@click.option("--runs", default=2, show_default=True, help="Runs per turn.")
@click.option("--epochs", default=5, show_default=True, help="Epochs per run.")
@click.option("--rounds", default=3, show_default=True, help="Turns of one and of two workers.")
@click.option("--dataset", type=click.Choice(["mnist", "uci"]), default="mnist", show_default=True)
def main(runs: int, epochs: int, rounds: int, dataset: str) -> None:
    if runs < 2 or runs % 2:
        raise click.BadParameter(f"Expected an even number, as two share them. Received: {runs}")
    dataset = load_dataset(dataset, fallback=True)
    base = replace(PAPER, dataset=dataset.name, epochs=epochs)
    protocols = [replace(base, seed=seed) for seed in range(runs)]
    seconds_for(protocols[:2], jobs=2)
    ratios = []
    for number in range(1, rounds + 1):
        one, two = seconds_for(protocols, jobs=1), seconds_for(protocols, jobs=2)
        ratios.append(one / two)
        click.echo(
            f"round {number}: one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times"
        )
    click.echo(f"median: two workers finish {statistics.median(ratios):.2f} times the runs of one")


if __name__ == "__main__":
    main()
