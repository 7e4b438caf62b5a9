"""Every study: a question and the protocols that answer it."""

import dataclasses
import itertools
from collections.abc import Iterable
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

ZOO = tuple(replace(PAPER, model=name) for name in ("resnet18", "alexnet", "resnet50", "vgg16"))
"""The other networks of Table 1 under the paper's protocol, the cheapest epoch first."""

ZOO_PROPER = tuple(replace(protocol, **MOMENTUM_AND_HE) for protocol in ZOO)

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

ODD = tuple(setting_of(row) for row in EXPLAINED if "epochs" not in setting_of(row))
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
            replace(SHORT, model=model, **CONTROL_CONDITION.fields)
            for model in choices(ModelName)
            if model.startswith("lenet5")
        ),
    ),
    "noise": Study(
        "Does the mask help where there is something to filter out?",
        tuple(
            replace(SHORT, model=model, **behind.fields)
            for behind in TRAINING_CONDITIONS
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
