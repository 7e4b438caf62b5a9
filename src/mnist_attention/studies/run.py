"""A study is a named list of protocols. ``run_study`` trains what of it is not finished yet,
``measure_studies`` measures the trained networks."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
from tqdm import tqdm

from . import classical
from .assumptions import EXPLAINED
from .backgrounds import CONTROLLED, TRAINED_ON
from .classical import METHODS, ClassicalProtocol
from .data import load_dataset
from .engines import Order, Run, check_jobs, run_chains, run_lanes, use_one_thread
from .evidence import changes_of
from .files import require_writable
from .protocol import PAPER, PROPERLY, SHORT, ModelName, Protocol, by_trajectory, choices, run_id
from .quiet import silenced_stderr
from .records import is_finished, read_records, record_path


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and the protocols that answer it, all at seed 0; `run_study` adds the seeds."""

    question: str
    protocols: tuple[Protocol, ...]
    methods: tuple[ClassicalProtocol, ...] = ()


def _one_factor_at_a_time(base: Protocol, **factors: Iterable) -> tuple[Protocol, ...]:
    """`base`, and every variation of it in one field."""
    varied = [
        replace(base, **{name: value}) for name, values in factors.items() for value in values
    ]
    return tuple(dict.fromkeys([base, *varied]))


LENETS = (replace(PAPER, model="lenet5"), PAPER)

ZOO = tuple(replace(PAPER, model=name) for name in ("resnet18", "alexnet", "resnet50", "vgg16"))
"""The other networks of Table 1 under the paper's protocol, the cheapest epoch first."""

ZOO_PROPER = tuple(replace(protocol, **PROPERLY) for protocol in ZOO)

CLASSICAL = tuple(ClassicalProtocol(model=name) for name in METHODS)

PLAUSIBLE = (
    {"pooling": "average", "activation": "tanh"},
    {"pooling": "average", "activation": "sigmoid"},
    {"pooling": "average", "activation": "tanh", "initializer": "narrow_normal"},
    {"pooling": "average", "activation": "relu", "initializer": "narrow_normal"},
    {"flip": False},
)
"""Readings of the paper which might give its odd numbers: in the manner of 1998, and without the
mirrored digits, against its text."""

ODD = tuple(changes_of(row) for row in EXPLAINED if "epochs" not in changes_of(row))
"""Settings whose odd numbers one reading of the paper should give together. So it should that of 50
epochs, which is a point on the way to 100."""

PROMISING = ({"momentum": 0.9}, {"flip": False}, {"flip": False, "shift": 0})
"""Options with which LeNet with the mask gained more than a point of training accuracy in the first
run of 20 epochs. LeNet alone is trained alike: the mask may be worth something there."""

LATE = (
    {"mask_activation": "softmax"},
    {"activation": "sigmoid"},
    {"initializer": "narrow_normal"},
)
"""Options with which it had not begun to learn after 20 epochs of the first run. A late start would
look like the paper's low numbers, so 20 epochs say too little of them."""

STUDIES = {
    "table1": Study(
        "What does each system that the paper names reach? (as the paper says, and properly)",
        (*LENETS, *ZOO, *ZOO_PROPER),
        CLASSICAL,
    ),
    "lenets": Study("Is LeNet-5 better with the mask than without?", LENETS),
    "zoo": Study("What do larger networks reach under the paper's protocol?", ZOO),
    "zoo_proper": Study("And trained as their authors did?", ZOO_PROPER),
    "classical": Study("And without a network?", (), CLASSICAL),
    "table2": Study(
        "Which learning rate?", tuple(replace(PAPER, learning_rate=r) for r in (0.1, 0.01, 0.001))
    ),
    "table3": Study(
        "Which batch size?", tuple(replace(PAPER, batch_size=b) for b in (48, 64, 96, 128, 256))
    ),
    "table4": Study(
        "How many epochs? (prefixes of one trajectory)",
        tuple(replace(PAPER, epochs=epochs) for epochs in (50, 100, 150)),
    ),
    "assumptions": Study(
        "What is each choice that the paper leaves open worth?",
        (
            *_one_factor_at_a_time(
                SHORT,
                mask_placement=("c1", "c3", "after_pooling"),
                mask_channels=(None,),
                mask_activation=("softmax", "linear"),
                activation=("tanh", "sigmoid"),
                pooling=("average",),
                flip=(False,),
                shift=(0,),
                momentum=(0.9,),
                initializer=("lecun_normal", "he_normal", "narrow_normal"),
            ),
            replace(SHORT, flip=False, shift=0),
            *(replace(PAPER, **option) for option in (*PROMISING, *LATE)),
            *(replace(PAPER, **changes_of("LeNet"), **option) for option in PROMISING),
        ),
    ),
    "explain": Study(
        "Which plausible protocol gives the paper's odd numbers?",
        tuple(
            replace(SHORT, **row, **reading) for row, reading in itertools.product(ODD, PLAUSIBLE)
        ),
    ),
    "controls": Study(
        "Is it attention, or would something simpler in its place do as well?",
        tuple(
            replace(SHORT, model=model)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "controls_on_noise": Study(
        "And would something simpler do as well where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **CONTROLLED.fields)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "noise": Study(
        "Does the mask help where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **behind.fields)
            for behind in TRAINED_ON
            for model in ("lenet5", "lenet5_attention")
        ),
    ),
    "growth": Study(
        "How do the masks grow? (prefixes of one trajectory)",
        tuple(replace(PAPER, epochs=epochs) for epochs in (1, 5, 20, 100)),
    ),
    "permuted": Study(
        "What do masks look like when there is nothing to learn?",
        (replace(SHORT, permuted_labels=True),),
    ),
    "smoke": Study(
        "Does everything run? (seconds, on the embedded digits)",
        tuple(
            Protocol(dataset="uci", model=model, epochs=epochs, learning_rate=0.1)
            for model, epochs in itertools.product(("lenet5", "lenet5_attention"), (2, 3))
        ),
    ),
}


def study_protocols(name: str, seeds: int = 1, epochs: int | None = None) -> list[Protocol]:
    """The protocols of a study, the first seed's first.

    Args:
        name: A key of `STUDIES`.
        seeds: How many seeds, from 0 on.
        epochs: Instead of each protocol's own.

    Raises:
        ValueError: for an unknown study or fewer than one seed.
    """
    if name not in STUDIES:
        raise ValueError(f"Expected a study among {', '.join(STUDIES)}. Received: name={name!r}")
    if seeds < 1:
        raise ValueError(f"Expected at least one seed. Received: seeds={seeds}")
    changes = {} if epochs is None else {"epochs": epochs}
    return list(
        dict.fromkeys(
            replace(protocol, seed=seed, **changes)
            for seed in range(seeds)
            for protocol in STUDIES[name].protocols
        )
    )


def study_methods(name: str, seeds: int = 1) -> list[ClassicalProtocol]:
    """The classical methods of a study, as `study_protocols` gives its networks."""
    return [replace(m, seed=seed) for seed in range(seeds) for m in STUDIES[name].methods]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a study.

    Attributes:
        finished: Runs whose record is there, those of earlier calls included.
        failed: Run id -> why it has no record.
        cut_short: Runs whose record says that the budget ended them early.
        problems: One line for each JSON file among the records that is none.
    """

    finished: int
    failed: dict[str, str]
    cut_short: int = 0
    problems: tuple[str, ...] = ()


def run_study(
    name: str,
    *,
    seeds: int = 1,
    engine: str = "loky",
    jobs: int | None = None,
    results: Path | str,
    epochs: int | None = None,
    budget_minutes: float | None = None,
    verbose: bool = True,
) -> Outcome:
    """Train every run of a study that has no record yet. Interrupted, it goes on when called again.

    A run that another study has finished counts as finished. Each run has one thread, so its
    record does not depend on `jobs` or on the engine that ran the process.

    With a budget each network is trained for at least one epoch, and its record says how many
    there were. Called again with more, the study goes on and replaces those records.

    Args:
        name: A key of `STUDIES`.
        seeds: How many seeds, from 0 on.
        engine: `"loky"`: processes on this machine. `"dask"`, `"ray"`: processes of a cluster.
            `"lanes"`: one JAX program, for a GPU.
        jobs: Processes at a time; by default one for each core that this process may use.
        results: Folder for records and checkpoints.
        epochs: Instead of each protocol's own.
        budget_minutes: End each run with the epoch in which its training, that of earlier calls
            included, has taken so long.
        verbose: Whether to show a progress bar over the runs.

    Raises:
        ValueError: for an unknown study or engine, no job or no time.
        OSError: if the data cannot be had or `results` cannot be written.
        ImportError: if the engine is not installed.
    """
    jobs = joblib.cpu_count() if jobs is None else jobs
    order = Order(name, Path(results), engine, jobs, budget_minutes, verbose)
    order.check()
    runs = [*study_protocols(name, seeds, epochs), *study_methods(name, seeds)]
    require_writable(order.results)
    ids = _run_ids(runs)
    records, _ = _by_id(order.results)
    pending = [run for run in runs if not order.is_done(records.get(ids[run]))]
    options = {"total": len(runs), "initial": len(runs) - len(pending), "disable": not verbose}
    with tqdm(desc=name, unit="run", **options) as bar:
        reasons = _run_all(order, runs, pending, ids, bar)
    # Read again: another process may have made some of them meanwhile, or damaged ones are whole.
    records, problems = _by_id(order.results)
    undone = [run for run in runs if not order.is_done(records.get(ids[run]))]
    failed = {ids[run]: reasons.get(run, "its record is gone") for run in undone}
    cut_short = sum(not is_finished(records[i]) for i in set(ids.values()) - set(failed))
    return Outcome(len(ids) - len(failed) - cut_short, failed, cut_short, tuple(problems))


def _by_id(results: Path) -> tuple[dict[str, dict], list[str]]:
    """Run id -> record, of all studies; and what of the folder is none."""
    records, problems = read_records(results)
    return {record["run_id"]: record for record in records}, problems


def _run_ids(runs: list[Run]) -> dict[Run, str]:
    # Loading here makes the cache once, before many processes want it at the same time.
    digests = {name: load_dataset(name).digest for name in {run.dataset for run in runs}}
    return {
        run: (run_id if isinstance(run, Protocol) else classical.run_id)(run, digests[run.dataset])
        for run in runs
    }


def _run_all(
    order: Order, runs: list[Run], pending: list[Run], ids: dict[Run, str], bar: tqdm
) -> dict[Run, str]:
    """Make the pending runs. Returns what ended those that failed."""
    networks = [run for run in pending if isinstance(run, Protocol)]
    chains = [(run,) for run in pending if not isinstance(run, Protocol)]
    if order.engine != "lanes":
        chains += by_trajectory(networks)
        return run_chains(order, chains, bar)
    # Lanes of finished runs stay in: without them the others' last bits would change.
    here = {run for run in runs if record_path(order.results, order.study, ids[run]).exists()}
    lanes = [r for r in runs if isinstance(r, Protocol) and (r in networks or r in here)]
    failed = run_lanes(order, lanes, networks)
    bar.update(len(networks))
    others = dataclasses.replace(order, engine="loky")  # for what is no network
    return failed | run_chains(others, chains, bar)


# What is measured of trained networks


def measure_studies(
    names: Sequence[str],
    *,
    seeds: int = 1,
    epochs: int | None = None,
    jobs: int | None = None,
    results: Path | str,
    weights: Path | str | None = None,
    verbose: bool = True,
) -> tuple[int, dict[str, str]]:
    """Measure every network of some studies whose weights are here and that was not measured yet.

    Args:
        names: Keys of `STUDIES`.
        seeds: How many seeds, from 0 on.
        epochs: Instead of each protocol's own.
        jobs: Processes at a time, each of one thread; by default as in `run_study`. 1: this one.
        results: Folder of the records and of the states that training left.
        weights: Folder of weights that were kept.
        verbose: Whether to show a progress bar over the networks.

    Returns:
        How many networks are measured now, and run id -> why one is not.

    Raises:
        ValueError: for an unknown study, fewer than one seed or no job.
        OSError: if the data cannot be had or `results` cannot be written.
    """
    jobs = joblib.cpu_count() if jobs is None else jobs
    check_jobs(jobs)
    # The first seeds of all studies first, as they start from the same networks.
    protocols = sorted(
        {p for name in names for p in study_protocols(name, seeds, epochs)},
        key=lambda protocol: (protocol.seed, protocol.model),
    )
    require_writable(Path(results))
    ids = _run_ids(protocols)
    measure = joblib.delayed(_measure)
    tasks = (measure(p, Path(results), weights, jobs > 1) for p in protocols)
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        outcomes = joblib.Parallel(
            n_jobs=jobs, batch_size=1, pre_dispatch="n_jobs", return_as="generator_unordered"
        )(tasks)
        bar = {"total": len(protocols), "unit": "network", "disable": not verbose}
        lacking = {ids[protocol]: why for protocol, why in tqdm(outcomes, "measure", **bar) if why}
    return len(protocols) - len(lacking), lacking


def _measure(
    protocol: Protocol, results: Path, weights: Path | None, own_process: bool
) -> tuple[Protocol, str]:
    """Measure one network. Returns why it could not be, or an empty text."""
    if own_process:
        use_one_thread()
    with silenced_stderr():
        from .measurements import conditions_of, measure_run
    try:
        measure_run(protocol, conditions_of(protocol.dataset), results, weights)
    except (OSError, ValueError) as error:  # a file of this network is damaged, say
        return protocol, str(error)
    return protocol, ""
