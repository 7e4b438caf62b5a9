"""Every study: a question and the protocols that answer it."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable
from dataclasses import replace

from ..checks import choices, expect
from ..evidence.ablations import EXPLAINED, OPTIONS
from ..evidence.runs import setting_of
from ..noise import CONTROL_CONDITION, TRAINING_CONDITIONS
from ..protocol import MOMENTUM_AND_HE, PAPER, SHORT, ModelName, Protocol
from .classical import METHODS, ClassicalProtocol


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and the protocols that answer it, all at seed 0; `study_runs` adds the seeds."""

    question: str
    protocols: tuple[Protocol, ...]
    methods: tuple[ClassicalProtocol, ...] = ()


def _grid(base: Protocol, **factors: Iterable) -> tuple[Protocol, ...]:
    """`base` with every combination of values; the last factor varies fastest."""
    combinations = itertools.product(*factors.values())
    return tuple(replace(base, **dict(zip(factors, row, strict=True))) for row in combinations)


PAIR = ("lenet5", "lenet5_attention")
LENETS = _grid(PAPER, model=PAIR)
CONTROLS = tuple(model for model in choices(ModelName) if model.startswith("lenet5"))

_LARGE = ("resnet18", "alexnet", "resnet50", "vgg16")  # the cheapest epoch first
LARGE = _grid(PAPER, model=_LARGE)
LARGE_WITH_MOMENTUM = _grid(replace(PAPER, **MOMENTUM_AND_HE), model=_LARGE)
CLASSICAL = tuple(ClassicalProtocol(model=name) for name in METHODS)

_MATLAB = {"momentum": 0.9, "weight_decay": 1e-4, "reshuffle": False}  # defaults of its "sgdm"

PLAUSIBLE = (
    {"pooling": "average", "activation": "tanh"},
    {"pooling": "average", "activation": "sigmoid"},
    {"pooling": "average", "activation": "tanh", "initializer": "narrow_normal"},
    {"pooling": "average", "activation": "relu", "initializer": "narrow_normal"},
    {"flip": False},
    {"pixel_scale": 255},
    _MATLAB,
    {**_MATLAB, "pixel_scale": 255},
)
"""Interpretations that might give the paper's numbers: the style of 1998, the defaults of MATLAB,
and, against its text, no mirrored digits or unscaled pixels."""

TO_EXPLAIN = tuple(setting_of(row) for row in EXPLAINED if "epochs" not in setting_of(row))
"""Settings whose numbers in the paper one interpretation should give together. 50 epochs are one
of them too, as a point on the way to 100."""

PROMISING = ({"momentum": 0.9}, {"flip": False}, {"flip": False, "shift": 0})
"""Options that gave LeNet with the mask more than a point of training accuracy after 20 epochs of
the first run. LeNet alone is trained with them too: the mask may be worth something there."""

LATE = ({"mask_activation": "softmax"}, {"activation": "sigmoid"}, {"initializer": "narrow_normal"})
"""Options with which it was still at chance after 20 epochs of the first run. A late start would
look like the paper's low numbers, so these get 100 epochs."""

STUDIES = {
    "table1": Study(
        "What does each system reach? (the paper's protocol; also momentum and He initialisation)",
        (*LENETS, *LARGE, *LARGE_WITH_MOMENTUM),
        CLASSICAL,
    ),
    "lenets": Study("Is LeNet-5 better with the mask than without?", LENETS),
    "zoo": Study("What do larger networks reach under the paper's protocol?", LARGE),
    "zoo_proper": Study(
        "What do they reach with momentum and He initialisation?", LARGE_WITH_MOMENTUM
    ),
    "classical": Study("What do methods without a network reach?", (), CLASSICAL),
    "table2": Study("Which learning rate?", _grid(PAPER, learning_rate=(0.1, 0.01, 0.001))),
    "table3": Study("Which batch size?", _grid(PAPER, batch_size=(48, 64, 96, 128, 256))),
    "table4": Study(
        "How many epochs? (a longer run continues a shorter one)",
        _grid(PAPER, epochs=(50, 100, 150)),
    ),
    "assumptions": Study(
        "What is each choice that the paper leaves open worth?",
        (
            SHORT,
            *(replace(SHORT, **option.changes) for option in OPTIONS if not option.base),
            *(replace(PAPER, **option) for option in (*PROMISING, *LATE)),
            *(replace(PAPER, model="lenet5", **option) for option in PROMISING),
        ),
    ),
    "momentum": Study(
        "Does momentum 0.9, MATLAB's default, give the paper's numbers?",
        _grid(replace(SHORT, momentum=0.9), model=PAIR, learning_rate=(0.1, 0.01, 0.001)),
    ),
    "explain": Study(
        "Which protocol gives the paper's numbers?",
        tuple(replace(SHORT, **row, **option) for row in TO_EXPLAIN for option in PLAUSIBLE),
    ),
    "controls": Study(
        "Is it attention, or does something simpler in its place do as well?",
        _grid(SHORT, model=CONTROLS),
    ),
    "controls_on_noise": Study(
        "Does something simpler do as well where there is something to filter out?",
        _grid(replace(SHORT, **CONTROL_CONDITION.fields), model=CONTROLS),
    ),
    "noise": Study(
        "Does the mask help where there is something to filter out?",
        tuple(
            run
            for condition in TRAINING_CONDITIONS
            for run in _grid(replace(SHORT, **condition.fields), model=PAIR)
        ),
    ),
    "growth": Study(
        "How do the masks grow? (one long run read at several epochs)",
        _grid(PAPER, epochs=(1, 5, 20, 100)),
    ),
    "permuted": Study(
        "What do masks look like when there is nothing to learn?",
        (replace(SHORT, permuted_labels=True),),
    ),
    "smoke": Study(
        "Does everything run? (seconds, on the embedded digits)",
        _grid(Protocol(dataset="uci", learning_rate=0.1), model=PAIR, epochs=(2, 3)),
    ),
}


def study_runs(
    name: str,
    seeds: int = 1,
    epochs: int | None = None,
    *,
    first_seed: int = 0,
    models: Collection[str] = (),
) -> list[Protocol | ClassicalProtocol]:
    """The networks and methods of a study, or those of `models`; all of the first seed first.

    `epochs` stand for each protocol's own. ValueError for an unknown study or model, or bad seeds.
    """
    expect(name in STUDIES, f"a study among {', '.join(STUDIES)}", f"{name=}")
    expect(seeds >= 1, "at least one seed", f"{seeds=}")
    expect(first_seed >= 0, "first_seed to be at least 0", f"{first_seed=}")
    changes = {} if epochs is None else {"epochs": epochs}
    networks = [replace(run, **changes) for run in STUDIES[name].protocols]
    runs = [*networks, *STUDIES[name].methods]
    expect(epochs is None or networks, "no epochs for a study without networks", f"{epochs=}")
    there = dict.fromkeys(run.model for run in runs)
    for model in models:
        expect(model in there, f"models of the study {name}: {', '.join(there)}", repr(model))
    runs = [run for run in runs if not models or run.model in models]
    rounds = range(first_seed, first_seed + seeds)
    return list(dict.fromkeys(replace(run, seed=seed) for seed in rounds for run in runs))


def study_protocols(name: str, *seeds: int, **selection) -> list[Protocol]:
    """The networks among `study_runs`, which has the arguments and errors."""
    return [run for run in study_runs(name, *seeds, **selection) if isinstance(run, Protocol)]
