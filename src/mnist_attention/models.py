"""The networks by name: ``MODELS``; ``build_model`` makes the one a protocol asks for."""

import functools
import inspect
from collections.abc import Callable

import keras

from .controls import BLOCKS, control, lenet5_frozen
from .lenet import lenet5, lenet5_attention
from .protocol import Protocol
from .zoo import alexnet, resnet18, resnet50, vgg16

MODELS: dict[str, Callable[..., keras.Model]] = {
    "lenet5": lenet5,
    "lenet5_attention": lenet5_attention,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "lenet5_frozen": lenet5_frozen,
    **{name: functools.partial(control, block) for name, block in BLOCKS.items()},
}
"""Model name -> builder. A builder's keyword arguments are named like fields of `Protocol`."""


def build_model(protocol: Protocol) -> keras.Model:
    """The untrained network of `protocol`, its initial weights fixed by the protocol's seed."""
    builder = MODELS[protocol.model]
    fields = vars(protocol).keys() & inspect.signature(builder).parameters.keys()
    return builder(**{name: getattr(protocol, name) for name in fields})
