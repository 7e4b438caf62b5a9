"""Every choice of one training run in one frozen dataclass; ``PAPER`` is the paper's run."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from .checks import check_types, expect

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

CANVAS = 32
"""Height and width of the network's input in pixels (paper, Section 2.1: "a 32x32 matrix")."""

LATER_FIELDS = (
    *("background", "strength", "gamma", "permuted_labels", "weight_decay", "dense_layers"),
    *("brightness", "canvas", "pixel_scale", "reshuffle"),
)
"""Fields of `Protocol` that are younger than the first records. At their default they are left out
of records and run ids, so that older runs keep their names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is trained, on what, and how. Immutable; vary it with `dataclasses.replace`.

    The fields that the paper states have its values as defaults; the rest are our choices where it
    leaves one open. Any integral or real number serves (`np.int64(1)`), and is kept as Python's.

    Raises:
        ValueError: for a value that cannot be trained with, or that has no effect; the message
            names the field, what was expected and what came.
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
    permuted_labels: Annotated[bool, "train on randomly permuted labels"] = False
    weight_decay: Annotated[float, "decay of the kernels per step and rate (MATLAB: 1e-4)"] = 0.0
    dense_layers: Annotated[int, "3: C5, F6 and OUTPUT; 2: without F6 (paper: 'two')"] = 3
    brightness: Annotated[float, "scale each training image by 1 +- up to this"] = 0.0
    canvas: Annotated[int, "side of the input in pixels: 32, or 28 without padding"] = CANVAS
    pixel_scale: Annotated[int, "the input's brightest pixel: 1, or 255 unscaled"] = 1
    reshuffle: Annotated[bool, "a new order every epoch, or one order for all"] = True

    def __post_init__(self):
        check_types(self)
        noisy, gaussian = self.background != "none", self.background == "gaussian"
        lenet = self.model in ("lenet5", "lenet5_attention")
        unless = " unless the model is 'lenet5' or 'lenet5_attention'"
        # Written so that NaN and infinity fail too.
        for name, expected, holds in (
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("learning_rate", "above 0 and below 1e6", 0 < self.learning_rate < 1e6),
            ("momentum", "at least 0 and below 1", 0 <= self.momentum < 1),
            ("seed", "from 0 to 2**32 - 1", 0 <= self.seed < 2**32),
            ("shift", "from 0 to 8 pixels", 0 <= self.shift <= 8),
            ("mask_channels", "1 or None", self.mask_channels in (1, None)),
            ("strength", "from 0 to 1", 0 <= self.strength <= 1),
            ("gamma", "from 0 to 1", 0 <= self.gamma <= 1),
            ("weight_decay", "from 0 to 1", 0 <= self.weight_decay <= 1),
            ("dense_layers", "2 or 3", self.dense_layers in (2, 3)),
            ("brightness", "from 0 to 1", 0 <= self.brightness <= 1),
            ("canvas", "28 or 32 pixels", self.canvas in (28, CANVAS)),
            ("pixel_scale", "1 or 255", self.pixel_scale in (1, 255)),
            # What has no effect stays at its default, so that run ids stay unique.
            (
                "strength",
                "0 without a background and above 0 with one",
                noisy == (self.strength > 0),
            ),
            ("gamma", "0 unless the background is 'gaussian'", self.gamma == 0 or gaussian),
        ):
            expect(holds, f"{name} to be {expected}", f"{name}={getattr(self, name)!r}")
        small, attention = self.model.startswith("lenet5"), ("lenet5_attention", "lenet5_frozen")
        no_effect = f", as {self.model!r} has none to change"
        for name, otherwise, used in (
            ("activation", no_effect, small),
            ("pooling", no_effect, small),
            ("mask_placement", no_effect, small and self.model != "lenet5"),
            ("mask_channels", no_effect, self.model in attention),
            ("mask_activation", no_effect, self.model in attention),
            *((name, unless, lenet) for name in ("dense_layers", "canvas", "pixel_scale")),
        ):
            value, default = getattr(self, name), getattr(Protocol, name)
            expect(
                used or value == default,
                f"{name} to be {default!r}{otherwise}",
                f"{name}={value!r}",
            )

    def to_json(self) -> dict:
        """Every field, as a record has it; those of `LATER_FIELDS` where they matter."""
        left_out = {name for name in LATER_FIELDS if getattr(self, name) == getattr(Protocol, name)}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def run_id(self, dataset_digest: str) -> str:
        """Name of a run: 12 hex digits of the SHA-256 of the protocol and the data's digest."""
        return hash_fields(self.to_json(), dataset_digest)


def cli_options(protocol: Protocol) -> str:
    """The options of `mnist-attention train` for a protocol: those that differ from `PAPER`."""
    words = []
    for name, value in vars(protocol).items():
        if value != getattr(PAPER, name):
            flag = name.replace("_", "-")
            word = "none" if value is None else value
            switch = f"--{flag}" if value else f"--no-{flag}"
            words.append(switch if isinstance(value, bool) else f"--{flag} {word}")
    return " ".join(words)


def hash_fields(fields: Mapping, dataset_digest: str) -> str:
    """12 hex digits of the SHA-256 of the JSON of both, with sorted keys and no spaces."""
    named = {"dataset_digest": dataset_digest, "protocol": fields}
    canonical = json.dumps(named, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def trajectory_id(protocol: Protocol, dataset_digest: str) -> str:
    """Name shared by runs that differ in `epochs` alone: the shorter begin the longer ones."""
    fields = {name: value for name, value in protocol.to_json().items() if name != "epochs"}
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
"""For questions with many settings, where 100 epochs of each would take days."""

MOMENTUM_AND_HE = {"momentum": 0.9, "initializer": "he_normal"}
"""What deep networks need: the momentum of the authors of AlexNet, VGG16 and ResNet, and kernels
that keep the scale of what passes through many rectified layers (He, Zhang, Ren, Sun: Delving deep
into rectifiers, ICCV 2015)."""
