"""The command line, `mnist-attention`: one command for each thing that there is to do."""

import contextlib
import functools
import signal
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from . import __version__
from .checks import choices
from .protocol import PAPER, DatasetName, Protocol, by_trajectory
from .storage.paths import CHECKOUT, RESULTS, WEIGHTS, user_path

BENCHMARKS = ("throughput", "scaling", "lanes", "maps")

ENVIRONMENT = """\b
Environment variables:
  MNIST_ATTENTION_DATA     folder with the four files of MNIST, packed (.gz) or not
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
    """After Ctrl-C or SIGTERM, exit with 130 and say how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted. The same command goes on from the last states on disk.", err=True)
        sys.exit(130)


def _exit(errors: list[str], code: int = 0) -> None:
    """Print errors and exit with 1; without any, exit with `code`."""
    for line in errors:
        click.echo(line, err=True)
    sys.exit(1 if errors else code)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=ENVIRONMENT,
)
@click.version_option(__version__, prog_name="mnist-attention")
def commands() -> None:
    """LeNet-5 with an attention mask on MNIST: the data, the runs, the evidence."""


_command = functools.partial(commands.command, epilog=ENVIRONMENT)


class Folder(click.Path):
    """A folder. A shell leaves the "~" of `--results=~/runs` as it is."""

    def __init__(self, **kwargs):
        super().__init__(file_okay=False, path_type=Path, **kwargs)

    def convert(self, value, param, ctx):
        try:
            return super().convert(user_path(value), param, ctx)
        except OSError as error:  # no such user
            self.fail(str(error), param, ctx)


def names(value: str | tuple) -> tuple[str, ...]:
    """Names, separated by commas."""
    return tuple(value.split(",")) if isinstance(value, str) else value


def one_or_none(value: str | int) -> int | None:
    """A number, or the word "none"."""
    try:
        return None if value == "none" else int(value)
    except ValueError:
        raise click.BadParameter(f"Expected 1 or none. Received: {value!r}") from None


VERIFY = CHECKOUT / "build" / "verify"
OPTIONS = {
    "results": (Folder(), RESULTS, "Folder of the records. [default: results/ of the project]"),
    "study": (str, "single", "Subfolder of the record."),
    "weights": (Folder(), WEIGHTS, "Folder of trained weights. [default: weights/ of the project]"),
    "folder": (Folder(), VERIFY, "Folder of the new runs. [default: build/verify of the project]"),
    "seeds": (int, 1, "How many seeds."),
    "first_seed": (int, 0, "The first of them."),
    "models": (names, (), "Networks and methods, e.g. alexnet,vgg16."),
    "engine": (str, "loky", "loky, dask, ray or lanes."),
    "jobs": (int, None, "Processes at a time. [default: one per core]"),
    "epochs": (int, None, "Instead of each protocol's own."),
    "budget_minutes": (float, None, "End a run after so many minutes of epochs on this device."),
    "deadline": (float, None, "End this call after so many minutes; the same command goes on."),
    "lowering": (str, "grouped", "How lanes compute convolutions: grouped or patches."),
    "checkpoint_every": (int, None, "Epochs of lanes between states. [default: 10; 1 if large]"),
}
"""Name -> type, default and help."""


def _options(*names: str, of: Mapping[str, tuple] = OPTIONS):
    """Give a command these options."""

    def add(command):
        for name in reversed(names):
            kind, default, text = of[name]
            flag = name.replace("_", "-")
            command = click.option(
                f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
                type=kind,
                default=default,
                show_default=isinstance(default, int | float | str),
                help=text,
            )(command)
        return command

    return add


def _protocol_options():
    """One option for each field of `Protocol`, with the field's default and description."""
    options, hints = {}, typing.get_type_hints(Protocol, include_extras=True)
    for name, hint in hints.items():
        kind, text = typing.get_args(hint)
        kind = click.Choice(choices(kind)) if choices(kind) else kind
        kind = one_or_none if isinstance(kind, types.UnionType) else kind
        options[name] = kind, getattr(PAPER, name), f"{text[0].upper()}{text[1:]}."
    return _options(*options, of=options)


@_command()
@click.option("--dataset", type=click.Choice(choices(DatasetName)), default="mnist")
@click.option("--fallback", is_flag=True, help="Use the embedded digits where there is no MNIST.")
def data(dataset: str, fallback: bool) -> None:
    """Get the digits, check them and say where they are."""
    from .data import load_dataset
    from .storage.mnist import mnist_folder

    loaded = load_dataset(dataset, fallback=fallback)
    place = mnist_folder() if loaded.name == "mnist" else "embedded in scikit-learn"
    click.echo(f"dataset   {loaded.name}")
    click.echo(f"images    {len(loaded.train_images):,} training, {len(loaded.test_images):,} test")
    click.echo(f"digest    {loaded.digest}")
    click.echo(f"place     {place}")


@_command()
@_protocol_options()
@_options("results", "study")
@click.option("--weights", type=Folder(), help="Folder for the weights. [default: not kept]")
@_options("budget_minutes")
@_resumable()
def train(results: Path, study: str, weights: Path | None, budget_minutes: float, **fields) -> None:
    """Train one network and write its record to RESULTS/STUDY/<run id>.json.

    The defaults are the paper's protocol. Killed at any moment and started again, the run goes on
    from its last epoch. Exit code: 130 after Ctrl-C or SIGTERM.
    """
    from . import train as train_run
    from .records import record_path

    options = {"study": study, "weights": weights, "budget_minutes": budget_minutes}
    record = train_run(Protocol(**fields), results=results, **options)
    result = record["result"]
    click.echo(
        f"{'DIVERGED  ' if result['diverged'] else ''}"
        f"training accuracy {result['train_accuracy']:.2%}, test accuracy "
        f"{result['test_accuracy']:.2%}, after {result['epochs']} of {fields['epochs']} epochs"
    )
    click.echo(f"record    {record_path(results, study, record['run_id'])}")


@_command()
@click.argument("name", metavar="[NAME]", required=False)
@_options("seeds", "first_seed", "models", "engine", "jobs", "epochs", "budget_minutes")
@_options("deadline", "lowering", "checkpoint_every", "results")
@_resumable()
def study(name: str | None, results: Path, deadline: float | None, **options) -> None:
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
        return click.echo(_list_of_studies())
    outcome = run_study(name, results=results, deadline_minutes=deadline, **options)
    click.echo(f"finished: {plural(outcome.finished, 'run')}; records are in {results / name}")
    if outcome.cut_short:
        click.echo(f"ended early by the budget: {plural(outcome.cut_short, 'run')}")
    if outcome.unfinished:
        count = plural(outcome.unfinished, "run")
        click.echo(f"stopped by the deadline: {count}; the same command goes on")
    errors = [f"failed: {run}: {reason}" for run, reason in outcome.failed.items()]
    if outcome.problems:
        count = plural(len(outcome.problems), "JSON file")
        errors.append(f"no records, and skipped: {count} in {results}")
        errors += [f"skipped: {problem}" for problem in outcome.problems]
    _exit(errors, UNFINISHED if outcome.unfinished else 0)


@_command()
@click.argument("folder", type=Folder(exists=True))
@_options("results")
def merge(folder: Path, results: Path) -> None:
    """Copy the records of FOLDER, another machine's results, into RESULTS.

    Of two records of the same run the one with more epochs stays. Damaged files are named and not
    copied; the exit code is then 1. Measurements are not copied: run `measure` where the networks
    were trained, or copy that folder.
    """
    from .evidence.runs import plural
    from .studies.run import merge_records

    copied, kept, refused = merge_records(folder, results)
    click.echo(f"copied: {plural(copied, 'record')}; not longer than those there: {kept}")
    _exit([f"refused: {reason}" for reason in refused])


def _list_of_studies() -> str:
    """Name, size and question of each study; runs of one trajectory are trained once."""
    from .studies.catalogue import STUDIES

    note = "question (runs and epochs: per seed)"
    lines = [f"{'study':<18}{'runs':>5}{'epochs':>8}  {note}"]
    for name, study in STUDIES.items():
        runs = len(study.protocols) + len(study.methods)
        epochs = sum(chain[-1].epochs for chain in by_trajectory(study.protocols))
        lines.append(f"{name:<18}{runs:>5}{epochs:>8}  {study.question}")
    return "\n".join(lines)


@_command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_options("seeds", "first_seed", "models", "jobs", "epochs", "results", "weights")
@_resumable()
def measure(names: tuple[str, ...], results: Path, **options) -> None:
    """Measure the trained networks of studies: noise, what the masks cover, interventions.

    Needs the states that training leaves in RESULTS/.checkpoints, or kept weights. Neither `study`
    nor `train` repeats a finished run for them: `train` with --weights does. A network is measured
    once: the same command goes on.
    """
    from .evidence.runs import plural
    from .studies.run import measure_studies

    measured, lacking = measure_studies(names, results=results, **options)
    click.echo(f"measured: {plural(measured, 'network')}; see {results / 'measurements'}")
    _exit([f"not measured: {run}: {reason}" for run, reason in lacking.items()])


@_command()
@_options("results")
@click.option(
    "--write", is_flag=True, help="Also rewrite the tables and figures of README.md and REPORT.md."
)
def report(results: Path, write: bool) -> None:
    """Print Tables 1-4 beside the paper's, and a verdict on each of its claims."""
    from .evidence import RunTable
    from .evidence import report as reports

    sys.stdout.reconfigure(errors="replace")  # a terminal may not have every character
    records = RunTable.read(results)
    status = reports.report(records, write_to=results if write else None)
    if write and status == 0:
        from . import figures

        figures.redraw(records)
    sys.exit(status)


@_command()
@_options("results", "folder", "jobs")
@_resumable()
def verify(results: Path, folder: Path, jobs: int | None) -> None:
    """Train the paper's pair again (seed 0, 100 epochs) and compare with the records.

    A quarter of an hour on two cores; interrupted, the same command goes on. Exit code: 0 if both
    records come out again, byte for byte or within the spread of seeds; 1 if not.
    """
    from .studies.verify import verify as verify_runs

    reproduced, lines = zip(*verify_runs(results, folder, jobs=jobs), strict=True)
    click.echo("\n".join(lines))
    sys.exit(0 if all(reproduced) else 1)


@_command()
@click.argument("name", type=click.Choice(BENCHMARKS), default="throughput")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(name: str, arguments: tuple[str, ...]) -> None:
    """Run the benchmark NAME; what follows `--` goes to it (try: bench NAME -- --help)."""
    script = CHECKOUT / "benchmarks" / f"{name}.py"
    if not script.is_file():
        raise FileNotFoundError(f"{script} is missing: benchmarks need a checkout of the project.")
    sys.exit(subprocess.run([sys.executable, str(script), *arguments], check=False).returncode)
