"""Every study: a question and the protocols that answer it."""

import dataclasses
import itertools
from collections.abc import Collection, Iterable
from dataclasses import replace

from ..evidence.ablations import EXPLAINED
from ..evidence.runs import setting_of
from ..noise import CONTROL_CONDITION, TRAINING_CONDITIONS
from ..protocol import MOMENTUM_AND_HE, PAPER, SHORT, ModelName, Protocol, choices
from .classical import METHODS, ClassicalProtocol


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

LARGE = tuple(replace(PAPER, model=name) for name in ("resnet18", "alexnet", "resnet50", "vgg16"))
"""The other networks of Table 1 under the paper's protocol, the cheapest epoch first."""

LARGE_WITH_MOMENTUM = tuple(replace(protocol, **MOMENTUM_AND_HE) for protocol in LARGE)

CLASSICAL = tuple(ClassicalProtocol(model=name) for name in METHODS)

PLAUSIBLE = (
    {"pooling": "average", "activation": "tanh"},
    {"pooling": "average", "activation": "sigmoid"},
    {"pooling": "average", "activation": "tanh", "initializer": "narrow_normal"},
    {"pooling": "average", "activation": "relu", "initializer": "narrow_normal"},
    {"flip": False},
)
"""Interpretations that might give the paper's odd numbers: the style of 1998, and, against its
text, no mirrored digits."""

ODD = tuple(setting_of(row) for row in EXPLAINED if "epochs" not in setting_of(row))
"""Settings with odd numbers, which one interpretation should give together. 50 epochs belong to
them too, as a point on the way to 100."""

PROMISING = ({"momentum": 0.9}, {"flip": False}, {"flip": False, "shift": 0})
"""Options with which LeNet with the mask gained more than a point of training accuracy in the first
run of 20 epochs. LeNet alone is trained with them too, as the mask may be worth something there."""

LATE = (
    {"mask_activation": "softmax"},
    {"activation": "sigmoid"},
    {"initializer": "narrow_normal"},
)
"""Options with which it was still at chance after 20 epochs of the first run. A late start would
look like the paper's low numbers, so these get 100 epochs."""

STUDIES = {
    "table1": Study(
        "What does each system that the paper names reach? (large ones with momentum too)",
        (*LENETS, *LARGE, *LARGE_WITH_MOMENTUM),
        CLASSICAL,
    ),
    "lenets": Study("Is LeNet-5 better with the mask than without?", LENETS),
    "zoo": Study("What do larger networks reach under the paper's protocol?", LARGE),
    "zoo_proper": Study(
        "What do they reach with momentum and He initialisation?", LARGE_WITH_MOMENTUM
    ),
    "classical": Study("What do methods without a network reach?", (), CLASSICAL),
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
                weight_decay=(1e-4,),
                dense_layers=(2,),
                canvas=(28,),
                pixel_scale=(255,),
                reshuffle=(False,),
            ),
            replace(SHORT, shift=0, brightness=0.4),
            replace(SHORT, flip=False, shift=0),
            *(replace(PAPER, **option) for option in (*PROMISING, *LATE)),
            *(replace(PAPER, **setting_of("LeNet"), **option) for option in PROMISING),
        ),
    ),
    "momentum": Study(
        "Does momentum 0.9, MATLAB's default, give the paper's numbers?",
        tuple(
            replace(SHORT, model=model, momentum=0.9, learning_rate=rate)
            for model, rate in itertools.product(("lenet5", "lenet5_attention"), (0.1, 0.01, 0.001))
        ),
    ),
    "explain": Study(
        "Which plausible protocol gives the paper's odd numbers?",
        tuple(replace(SHORT, **row, **option) for row, option in itertools.product(ODD, PLAUSIBLE)),
    ),
    "controls": Study(
        "Is it attention, or does something simpler in its place do as well?",
        tuple(
            replace(SHORT, model=model)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "controls_on_noise": Study(
        "Does something simpler do as well where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **CONTROL_CONDITION.fields)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "noise": Study(
        "Does the mask help where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **condition.fields)
            for condition in TRAINING_CONDITIONS
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


def study_protocols(
    name: str,
    seeds: int = 1,
    epochs: int | None = None,
    *,
    first_seed: int = 0,
    models: Collection[str] = (),
) -> list[Protocol]:
    """The protocols of a study, the first seed's first.

    Args:
        name: A key of `STUDIES`.
        seeds: How many seeds.
        epochs: Instead of each protocol's own.
        first_seed: The first of them.
        models: Networks and methods to choose; by default all of the study.

    Raises:
        ValueError: for an unknown study or model, fewer than one seed or a seed below 0.
    """
    study = _check_selection(name, seeds, first_seed, models)
    changes = {} if epochs is None else {"epochs": epochs}
    return list(
        dict.fromkeys(
            replace(protocol, seed=seed, **changes)
            for seed in range(first_seed, first_seed + seeds)
            for protocol in study.protocols
            if not models or protocol.model in models
        )
    )


def study_methods(
    name: str, seeds: int = 1, *, first_seed: int = 0, models: Collection[str] = ()
) -> list[ClassicalProtocol]:
    """The classical methods of a study; arguments and errors as of `study_protocols`."""
    study = _check_selection(name, seeds, first_seed, models)
    chosen = [method for method in study.methods if not models or method.model in models]
    return [replace(m, seed=seed) for seed in range(first_seed, first_seed + seeds) for m in chosen]


def _check_selection(name: str, seeds: int, first_seed: int, models: Collection[str]) -> Study:
    if name not in STUDIES:
        raise ValueError(f"Expected a study among {', '.join(STUDIES)}. Received: name={name!r}")
    if seeds < 1:
        raise ValueError(f"Expected at least one seed. Received: seeds={seeds}")
    if first_seed < 0:
        raise ValueError(f"Expected first_seed to be at least 0. Received: first_seed={first_seed}")
    study = STUDIES[name]
    there = [*dict.fromkeys(run.model for run in (*study.protocols, *study.methods))]
    for model in models:
        if model not in there:
            raise ValueError(
                f"Expected models of the study {name}: {', '.join(there)}. Received: {model!r}"
            )
    return study
