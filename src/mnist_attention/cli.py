"""The command line, `mnist-attention`: one command for each thing that there is to do."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import click

from . import __version__
from .protocol import DatasetName, Protocol, by_trajectory, choices
from .storage.paths import CHECKOUT, RESULTS, WEIGHTS

BENCHMARKS = ("throughput", "scaling", "lanes", "maps")

ENVIRONMENT = """\b
Environment variables:
  MNIST_ATTENTION_DATA     folder with the four .gz files of MNIST, in place of a download
  MNIST_ATTENTION_CACHE    folder for the prepared MNIST
  MNIST_ATTENTION_RESULTS  folder of the records
  MNIST_ATTENTION_FIGURES  folder of the figures
  MNIST_ATTENTION_WEIGHTS  folder of trained weights"""

UNFINISHED = 3
"""Exit code of a study that its deadline stopped."""


def main() -> None:
    """Run the command line. Bad input: one line that says what was expected, exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        commands(prog_name="mnist-attention")
    except (ValueError, OSError, ImportError, MemoryError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    """After an interruption, exit with 130 and say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted. The same command goes on from the last states on disk.", err=True)
        sys.exit(130)


class _Command(click.Command):
    """A command whose help names the environment variables."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "epilog": ENVIRONMENT})


class _Group(click.Group):
    command_class = _Command


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=ENVIRONMENT,
)
@click.version_option(__version__, prog_name="mnist-attention")
def commands() -> None:
    """LeNet-5 with an attention mask on MNIST: the data, the runs, the evidence."""


def _protocol_options(command):
    """One option for each field of `Protocol`, with the field's default and description."""
    hints = typing.get_type_hints(Protocol, include_extras=True)
    for field in reversed(dataclasses.fields(Protocol)):
        hint, description = typing.get_args(hints[field.name])
        command = _option(field.name, hint, field.default, description)(command)
    return command


def _option(name: str, hint, default, description: str):
    flag = f"--{name.replace('_', '-')}"
    text = f"{description[0].upper()}{description[1:]}."
    shared = {"default": default, "show_default": True, "help": text}
    if hint is bool:
        return click.option(f"{flag}/--no-{name.replace('_', '-')}", **shared)
    if choices(hint):
        return click.option(flag, type=click.Choice(choices(hint)), **shared)
    if isinstance(hint, types.UnionType):
        return click.option(flag, type=OneOrNone(), **shared)
    return click.option(flag, type=hint, **shared)


class OneOrNone(click.ParamType):
    """A number, or the word "none"."""

    name = "1 or none"

    def get_metavar(self, param, ctx=None):
        return "[1|none]"

    def convert(self, value, param, ctx):
        if value is None or value == "none":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"Expected 1 or none. Received: {value!r}", param, ctx)


class Folder(click.Path):
    """A folder. A shell leaves the "~" of `--results=~/runs` as it is."""

    def __init__(self, **kwargs):
        super().__init__(file_okay=False, path_type=Path, **kwargs)

    def convert(self, value, param, ctx):
        try:
            return super().convert(Path(value).expanduser(), param, ctx)
        except RuntimeError as error:  # no such user
            self.fail(f"{error} Received: {str(value)!r}", param, ctx)


class Names(click.ParamType):
    """Names, separated by commas."""

    name = "names"

    def convert(self, value, param, ctx):
        return value if isinstance(value, tuple) else tuple(value.split(","))


_results_option = click.option(
    "--results",
    type=Folder(),
    default=RESULTS,
    help="Folder of the records. [default: results/ of the project]",
)


_seeds_option = click.option(
    "--seeds", type=int, default=1, show_default=True, help="How many seeds."
)

_jobs_option = click.option("--jobs", type=int, help="Processes at a time. [default: one per core]")

_epochs_option = click.option("--epochs", type=int, help="Instead of each protocol's own.")

_budget_option = click.option(
    "--budget-minutes",
    type=float,
    help="End each run with the epoch in which its training has taken so long on this device.",
)


@commands.command()
@click.option("--dataset", type=click.Choice(choices(DatasetName)), default="mnist")
@click.option("--fallback", is_flag=True, help="Use the embedded digits where there is no MNIST.")
def data(dataset: str, fallback: bool) -> None:
    """Get the digits, check them and say where they are."""
    from .data import load_dataset
    from .storage.mnist import mnist_folder

    loaded = load_dataset(dataset, fallback=fallback)
    click.echo(f"dataset   {loaded.name}")
    click.echo(f"images    {len(loaded.train_images):,} training, {len(loaded.test_images):,} test")
    click.echo(f"digest    {loaded.digest}")
    place = mnist_folder() if loaded.name == "mnist" else "embedded in scikit-learn"
    click.echo(f"place     {place}")


@commands.command()
@_protocol_options
@_results_option
@click.option("--study", default="single", show_default=True, help="Subfolder of the record.")
@click.option(
    "--weights",
    type=Folder(),
    help="Folder for the trained weights; by default they are not kept.",
)
@_budget_option
def train(
    results: Path, study: str, weights: Path | None, budget_minutes: float | None, **fields
) -> None:
    """Train one network and write its record to RESULTS/STUDY/<run id>.json.

    The defaults are the paper's protocol. Killed at any moment and started again, the run goes on
    from its last epoch. Exit code: 130 after Ctrl-C or SIGTERM.
    """
    protocol = Protocol(**fields)
    options = {"study": study, "weights": weights, "budget_minutes": budget_minutes}
    with _resumable():
        from . import train as train_run
        from .records import record_path

        record = train_run(protocol, results=results, **options)
    result = record["result"]
    click.echo(
        f"{'DIVERGED  ' if result['diverged'] else ''}"
        f"training accuracy {result['train_accuracy']:.2%}, test accuracy "
        f"{result['test_accuracy']:.2%}, after {result['epochs']} of {protocol.epochs} epochs"
    )
    click.echo(f"record    {record_path(results, study, record['run_id'])}")


@commands.command()
@click.argument("name", metavar="[NAME]", required=False)
@_seeds_option
@click.option("--first-seed", type=int, default=0, show_default=True, help="The first of them.")
@click.option(
    "--models", type=Names(), default=(), help="Networks and methods, e.g. alexnet,vgg16."
)
@click.option("--engine", default="loky", show_default=True, help="loky, dask, ray or lanes.")
@_jobs_option
@_epochs_option
@_budget_option
@click.option(
    "--deadline",
    "deadline_minutes",
    type=float,
    help="End this call after so many minutes; the same command goes on.",
)
@click.option(
    "--lowering",
    default="grouped",
    show_default=True,
    help="How lanes compute convolutions: grouped or patches.",
)
@click.option(
    "--checkpoint-every",
    type=int,
    help="Epochs of lanes between states on disk. [default: 10; 1 for large networks]",
)
@_results_option
def study(name: str | None, results: Path, **options) -> None:
    """Train every run of the study NAME that has no record yet. Without NAME: list the studies.

    Ctrl-C and SIGTERM lose at most the epoch under way (of lanes, those since the last state): the
    same command goes on. After a budget it goes on with a larger one or with none.

    Exit code: 0 if all is done, 1 if a run failed or a file is no record, 2 for bad arguments, 3 if
    the deadline came first, 130 after Ctrl-C.

    On a GPU, with JAX: mnist-attention study zoo --seeds 3 --engine lanes
    """
    from .evidence.runs import plural
    from .studies.run import run_study

    if name is None:
        click.echo(_list_of_studies())
        return
    with _resumable():
        outcome = run_study(name, results=results, **options)
    click.echo(f"finished: {plural(outcome.finished, 'run')}; records are in {results / name}")
    if outcome.cut_short:
        click.echo(f"ended early by the budget: {plural(outcome.cut_short, 'run')}")
    if outcome.unfinished:
        count = plural(outcome.unfinished, "run")
        click.echo(f"stopped by the deadline: {count}; the same command goes on")
    for run, reason in outcome.failed.items():
        click.echo(f"failed: {run}: {reason}", err=True)
    if outcome.problems:
        count = plural(len(outcome.problems), "JSON file")
        click.echo(f"no records, and skipped: {count} in {results}", err=True)
    for problem in outcome.problems:
        click.echo(f"skipped: {problem}", err=True)
    if outcome.failed or outcome.problems:
        sys.exit(1)
    sys.exit(UNFINISHED if outcome.unfinished else 0)


@commands.command()
@click.argument("folder", type=Folder(exists=True))
@_results_option
def merge(folder: Path, results: Path) -> None:
    """Copy the records of FOLDER, another machine's results, into RESULTS.

    Of two records of the same run the one with more epochs stays. Damaged files are named and not
    copied; the exit code is then 1.
    """
    from .evidence.runs import plural
    from .studies.run import merge_records

    copied, kept, refused = merge_records(folder, results)
    click.echo(f"copied: {plural(copied, 'record')}; not longer than those there: {kept}")
    for reason in refused:
        click.echo(f"refused: {reason}", err=True)
    sys.exit(1 if refused else 0)


def _list_of_studies() -> str:
    """Name, size and question of each study; runs of one trajectory are trained once."""
    from .studies.catalogue import STUDIES

    lines = [
        f"{'study':<18}{'runs':>5}{'epochs':>8}  question (runs and epochs are those of a seed)"
    ]
    for name, study in STUDIES.items():
        chains = by_trajectory(study.protocols)
        runs = len(study.protocols) + len(study.methods)
        epochs = sum(max(run.epochs for run in chain) for chain in chains)
        lines.append(f"{name:<18}{runs:>5}{epochs:>8}  {study.question}")
    return "\n".join(lines)


@commands.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_seeds_option
@_jobs_option
@_epochs_option
@_results_option
@click.option(
    "--weights",
    type=Folder(),
    default=WEIGHTS,
    help="Folder of trained weights. [default: weights/ of the project]",
)
def measure(names: tuple[str, ...], **options) -> None:
    """Measure the trained networks of studies: noise, what the masks cover, interventions.

    Needs the states that training leaves in RESULTS/.checkpoints, or kept weights. Neither `study`
    nor `train` repeats a finished run for them: `train` with --weights does. A network is measured
    once: the same command goes on.
    """
    from .evidence.runs import plural
    from .studies.run import measure_studies

    with _resumable():
        measured, lacking = measure_studies(names, **options)
    click.echo(
        f"measured: {plural(measured, 'network')}; see {options['results'] / 'measurements'}"
    )
    for run, reason in lacking.items():
        click.echo(f"not measured: {run}: {reason}", err=True)
    sys.exit(1 if lacking else 0)


@commands.command()
@_results_option
@click.option(
    "--write", is_flag=True, help="Also rewrite the tables and figures of README.md and REPORT.md."
)
def report(results: Path, write: bool) -> None:
    """Print Tables 1-4 beside the paper's, and a verdict on each of its claims."""
    from .evidence import report as reports

    sys.stdout.reconfigure(errors="replace")  # a terminal may not have every character
    status = reports.report(results, write=write)
    if write and status == 0:
        from . import evidence, figures

        figures.redraw(evidence.RunTable.read(results))
    sys.exit(status)


@commands.command()
@_results_option
@click.option(
    "--folder",
    type=Folder(),
    default=CHECKOUT / "build" / "verify",
    help="Folder of the runs made again. [default: build/verify of the project]",
)
@_jobs_option
def verify(results: Path, folder: Path, jobs: int | None) -> None:
    """Train the paper's pair again (seed 0, 100 epochs) and compare with the records.

    A quarter of an hour on two cores; interrupted, the same command goes on. Exit code: 0 if both
    records come out again, byte for byte or within the spread of seeds; 1 if not.
    """
    with _resumable():
        from .studies.verify import verify as verify_runs

        comparisons = verify_runs(results, folder, jobs=jobs)
    for comparison in comparisons:
        click.echo(comparison)
    sys.exit(0 if all(comparison.reproduced for comparison in comparisons) else 1)


@commands.command()
@click.argument("name", type=click.Choice(BENCHMARKS), default="throughput")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(name: str, arguments: tuple[str, ...]) -> None:
    """Run the benchmark NAME; what follows `--` goes to it (try: bench NAME -- --help)."""
    script = CHECKOUT / "benchmarks" / f"{name}.py"
    if not script.is_file():
        raise FileNotFoundError(f"{script} is missing: benchmarks need a checkout of the project.")
    sys.exit(subprocess.run([sys.executable, str(script), *arguments], check=False).returncode)
