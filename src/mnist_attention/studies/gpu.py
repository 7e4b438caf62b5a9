"""All runs that need a GPU, in the order of their value, for a machine that is lent for minutes.

    python -m mnist_attention.studies.gpu FOLDER

One call is one part: it ends itself before the time limit, and the same call goes on. It needs JAX
and Keras, not TensorFlow. `mnist-attention merge FOLDER/results` takes the records in.
"""

import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import click

from ..storage.paths import CHECKOUT
from .run import run_study

ORDER = (
    {"name": "smoke"},
    # Their states are large; the deadline writes one in any case.
    *(
        {"name": study, "models": (model,), "checkpoint_every": 20}
        for study in ("zoo", "zoo_proper")
        for model in ("alexnet", "resnet50", "vgg16", "resnet18")
    ),
    {"name": "lenets", "seeds": 40},
    *({"name": study, "seeds": 10} for study in ("table2", "table4", "table3")),
)
"""Arguments of `run_study`, call by call."""

BENCHMARK = ("--lanes", "1,30", "--epochs", "2")

UNFINISHED = 3
"""Exit code of a part that is not the last."""


@click.command(help=__doc__.splitlines()[0])
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--minutes", default=8.5, show_default=True, help="Time limit of this part.")
def main(folder: Path, minutes: float) -> None:
    started = time.monotonic()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder.resolve() / "compiled"))
    # Otherwise convolutions run in TF32.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "float32")

    def minutes_left() -> float:
        return minutes - (time.monotonic() - started) / 60

    failed, before = False, len(find_records(folder))
    options = {"results": folder / "results", "engine": "lanes", "jobs": 1}
    for call in ORDER:
        if unfinished := minutes_left() <= 0:
            break
        click.echo(f"== {call}, {minutes_left():.1f} minutes left")
        outcome = run_study(deadline_minutes=minutes_left(), **options, **call)
        for run, reason in outcome.failed.items():
            click.echo(f"failed: {run}: {reason}")
        failed |= bool(outcome.failed)
        if unfinished := outcome.unfinished > 0:
            break
    table = folder / "lanes.txt"
    # Not after training: JAX in this process holds most of the GPU's memory.
    trained = len(find_records(folder)) > before
    if not unfinished and not table.exists():
        try:
            unfinished = trained or not benchmark(table, 60 * minutes_left())
        except subprocess.CalledProcessError as error:
            click.echo(f"failed: {error}")
            failed = True
    with tarfile.open(folder / "records.tar.gz", "w:gz") as archive:  # without states
        for path in [*find_records(folder), *folder.glob("lanes.*")]:
            archive.add(path, path.relative_to(folder))
    click.echo(f"records: {archive.name}")
    click.echo("unfinished: the same call goes on" if unfinished else "done")
    sys.exit(1 if failed else UNFINISHED if unfinished else 0)


def benchmark(table: Path, seconds: float) -> bool:
    """Write what `bench lanes` prints to a file; whether there was time. CalledProcessError."""
    command = [sys.executable, str(CHECKOUT / "benchmarks" / "lanes.py"), *BENCHMARK]
    partial = table.with_suffix(".partial")
    try:
        with open(partial, "w") as file:
            subprocess.run(command, stdout=file, check=True, timeout=max(seconds, 1))
    except subprocess.TimeoutExpired as error:
        click.echo(error)
        return False
    partial.rename(table)
    return True


def find_records(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/[!.]*/[!.]*.json"))


if __name__ == "__main__":
    main()
