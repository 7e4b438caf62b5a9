"""Every choice of one training run in one frozen dataclass. ``PAPER`` is the paper's run."""

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

DatasetName = Literal["mnist", "uci"]
ModelName = Literal[
    "lenet5",
    "lenet5_attention",
    "alexnet",
    "vgg16",
    "resnet18",
    "resnet50",
    "lenet5_frozen",
    "lenet5_constant",
    "lenet5_convolution",
    "lenet5_swish",
    "lenet5_squeeze",
    "lenet5_cbam",
]
Activation = Literal["relu", "tanh", "sigmoid"]
Pooling = Literal["max", "average"]
Initializer = Literal["glorot_uniform", "lecun_normal", "he_normal", "narrow_normal"]
MaskPlacement = Literal["both", "c1", "c3", "after_pooling"]
MaskActivation = Literal["sigmoid", "softmax", "linear"]

Background = Literal["none", "uniform", "gaussian", "photographs", "clutter"]

Option = TypeVar("Option")

_hints = functools.cache(typing.get_type_hints)

CANVAS = 32
"""Height and width of the network's input in pixels (paper, Section 2.1: "a 32x32 matrix")."""


LENET_ONLY = ("dense_layers", "canvas", "pixel_scale")
"""Fields of `Protocol` that shape LeNet-5, with the mask and without, and no other network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is trained, on what, and how. Immutable; vary it with `dataclasses.replace`.

    The fields that the paper states have its values as defaults. The rest are our reading of
    what it leaves open.

    Raises:
        ValueError: for a value that cannot be trained with; the message names the field, what
            was expected and what came.
    """

    dataset: Annotated[DatasetName, "the images"] = "mnist"
    model: Annotated[ModelName, "the network, a name in MODELS"] = "lenet5_attention"
    epochs: Annotated[int, "passes over all training images (paper: 100)"] = 100
    batch_size: Annotated[int, "images per step; the last batch may be smaller (paper: 96)"] = 96
    learning_rate: Annotated[float, "constant step of SGD (paper: 0.01)"] = 0.01
    momentum: Annotated[float, "momentum of SGD (paper: silent)"] = 0.0
    seed: Annotated[int, "fixes initial weights, batch order and augmentation"] = 0
    flip: Annotated[bool, "mirror each training image with probability 1/2 (paper: yes)"] = True
    shift: Annotated[int, "'jittering': shift by up to this many pixels (paper: no number)"] = 2
    activation: Annotated[Activation, "units of C1, C3, C5 and F6 (paper: silent)"] = "relu"
    pooling: Annotated[Pooling, "down-sampling of S2 and S4 (paper: silent)"] = "max"
    initializer: Annotated[Initializer, "distribution of the kernels"] = "glorot_uniform"
    mask_placement: Annotated[MaskPlacement, "which maps are masked (paper: silent)"] = "both"
    mask_channels: Annotated[int | None, "1, or none: one mask per feature channel"] = 1
    mask_activation: Annotated[MaskActivation, "what bounds the mask (paper: silent)"] = "sigmoid"
    background: Annotated[Background, "what is behind the digits"] = "none"
    strength: Annotated[float, "how strong the background is, from 0 to 1"] = 0.0
    gamma: Annotated[float, "of the gaussian background: 0 white noise, 1 texture"] = 0.0
    permuted_labels: Annotated[bool, "train on labels that were dealt out anew"] = False
    weight_decay: Annotated[float, "decay of the kernels per step and rate (MATLAB: 1e-4)"] = 0.0
    dense_layers: Annotated[int, "3: C5, F6 and OUTPUT; 2: without F6 (paper: 'two')"] = 3
    brightness: Annotated[float, "scale each training image by 1 +- up to this"] = 0.0
    canvas: Annotated[int, "side of the input in pixels: 32, or 28 without padding"] = CANVAS
    pixel_scale: Annotated[int, "the input's brightest pixel: 1, or 255 unscaled"] = 1
    reshuffle: Annotated[bool, "a new order every epoch, or one order for all"] = True

    def __post_init__(self):
        check_types(self)
        _check(self, "epochs", "at least 1", self.epochs >= 1)
        _check(self, "batch_size", "at least 1", self.batch_size >= 1)
        # Written so that NaN and infinity fail too.
        _check(self, "learning_rate", "above 0 and below 1e6", 0 < self.learning_rate < 1e6)
        _check(self, "momentum", "at least 0 and below 1", 0 <= self.momentum < 1)
        _check(self, "seed", "from 0 to 2**32 - 1", 0 <= self.seed < 2**32)
        _check(self, "shift", "from 0 to 8 pixels", 0 <= self.shift <= 8)
        _check(self, "mask_channels", "1 or None", self.mask_channels in (1, None))
        _check(self, "strength", "from 0 to 1", 0 <= self.strength <= 1)
        _check(self, "gamma", "from 0 to 1", 0 <= self.gamma <= 1)
        _check(self, "weight_decay", "from 0 to 1", 0 <= self.weight_decay <= 1)
        _check(self, "dense_layers", "2 or 3", self.dense_layers in (2, 3))
        _check(self, "brightness", "from 0 to 1", 0 <= self.brightness <= 1)
        _check(self, "canvas", "28 or 32 pixels", self.canvas in (28, CANVAS))
        _check(self, "pixel_scale", "1 or 255", self.pixel_scale in (1, 255))
        for name in LENET_ONLY if self.model not in ("lenet5", "lenet5_attention") else ():
            default = type(self).__dataclass_fields__[name].default
            expected = f"{default} unless the model is 'lenet5' or 'lenet5_attention'"
            _check(self, name, expected, getattr(self, name) == default)
        # One setting, one name: what has no effect has no other value than its default.
        _check(
            self,
            "strength",
            "0 without a background and above 0 with one",
            (self.strength > 0) == (self.background != "none"),
        )
        _check(
            self,
            "gamma",
            "0 unless the background is 'gaussian'",
            self.gamma == 0 or self.background == "gaussian",
        )
        # Equal protocols have one run id, and JSON writes 0, 0.0 and -0.0 each its own way.
        for name, hint in _hints(type(self)).items():
            if hint is float:
                object.__setattr__(self, name, getattr(self, name) + 0.0)


def check_types(protocol) -> None:
    """Check that each field of a dataclass has a value of its type, or one of its names.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """
    hints = _hints(type(protocol))
    for field in dataclasses.fields(protocol):
        _check_type(field.name, getattr(protocol, field.name), hints[field.name])


def choices(hint) -> tuple[str, ...]:
    """The names that a field annotated with a `Literal` accepts; empty for other fields."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def lookup(name: str, value: str, options: Mapping[str, Option]) -> Option:
    """What a name stands for.

    Args:
        name: Of the field or argument.
        value: The name that came.
        options: Every name that may come -> what it stands for.

    Raises:
        ValueError: if it is none of these.
    """
    _check_name(name, value, tuple(options))
    return options[value]


def _check_name(name: str, value, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ValueError(f"Expected {name} to be one of {names}. Received: {name}={value!r}")


def _check(protocol: Protocol, name: str, expected: str, holds: bool) -> None:
    if not holds:
        received = getattr(protocol, name)
        raise ValueError(f"Expected {name} to be {expected}. Received: {name}={received!r}")


def _check_type(name: str, value, hint) -> None:
    names = choices(hint)
    if names:
        return _check_name(name, value, names)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed:
        allowed = (*allowed, int)
    # bool is an int to Python, but Protocol(epochs=True) is a slip.
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        wanted = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
        raise ValueError(f"Expected {name} to be {wanted}. Received: {name}={value!r}")


def cli_options(protocol: Protocol) -> str:
    """The options of `mnist-attention train` that ask for a protocol."""
    words = []
    for name, value in vars(protocol).items():
        flag = name.replace("_", "-")
        if value == getattr(PAPER, name):
            continue
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", "none" if value is None else str(value)]
    return " ".join(words)


LATER_FIELDS = (
    *("background", "strength", "gamma", "permuted_labels", "weight_decay", "dense_layers"),
    *("brightness", "canvas", "pixel_scale", "reshuffle"),
)
"""Fields that came after the first records. They are left out of a record, and of what names a run,
where they have their default: so the runs made before them keep their names."""


def to_json(protocol: Protocol) -> dict:
    """What a record says of a protocol: every field, a younger one where it matters."""
    return {
        name: value
        for name, value in vars(protocol).items()
        if name not in LATER_FIELDS or value != getattr(PAPER, name)
    }


def hash_fields(fields: dict, dataset_digest: str) -> str:
    """Name of a run from all that fixes its result: see `run_id`."""
    canonical = json.dumps(
        {"dataset_digest": dataset_digest, "protocol": fields},
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def run_id(protocol: Protocol, dataset_digest: str) -> str:
    """Name of a run: 12 hex digits of the SHA-256 of the protocol and the data's digest.

    The hashed text is the JSON of ``{"dataset_digest": ..., "protocol": ...}`` with sorted keys
    and no spaces.
    """
    return hash_fields(to_json(protocol), dataset_digest)


def trajectory_id(protocol: Protocol, dataset_digest: str) -> str:
    """Name shared by the runs that differ in `epochs` alone.

    With a constant rate the run of 50 epochs is the beginning of the run of 100.
    """
    fields = to_json(protocol)
    del fields["epochs"]
    return hash_fields(fields, dataset_digest)


def by_trajectory(protocols: Iterable[Protocol]) -> list[tuple[Protocol, ...]]:
    """Group runs that differ in `epochs` alone, the shortest of each group first."""
    groups: dict[Protocol, list[Protocol]] = {}
    for protocol in protocols:
        groups.setdefault(dataclasses.replace(protocol, epochs=1), []).append(protocol)
    return [tuple(sorted(group, key=lambda run: run.epochs)) for group in groups.values()]


PAPER = Protocol()
"""The protocol of the paper's Section 3.2: LeNet-5 with the mask, 100 epochs."""

SHORT = dataclasses.replace(PAPER, epochs=20)
"""The protocol for questions with many settings, where 100 epochs of each would take days."""

MOMENTUM_AND_HE = {"momentum": 0.9, "initializer": "he_normal"}
"""What it takes to train a deep network: momentum, as the authors of AlexNet, VGG16 and ResNet had
it, and kernels that neither shrink nor blow up what passes through many rectified layers (He,
Zhang, Ren, Sun: Delving deep into rectifiers, ICCV 2015)."""
