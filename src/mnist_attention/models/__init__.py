"""The networks by name (``MODELS``), the one of a protocol (``build_model``), and their outputs.

Builders take keyword arguments that are named like fields of `Protocol`, `seed` and `initializer`
among them (see `initializers.draw_kernels`). They return a Keras model from images of shape
`(batch, 32, 32, 1)` in [0, 1] to logits `(batch, 10)`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable

import keras
import numpy as np

from ..data import network_input
from ..protocol import CANVAS, PAPER, Protocol
from .controls import BLOCKS, control
from .large import alexnet, resnet18, resnet50, vgg16
from .lenet import lenet5, lenet5_attention

MODELS: dict[str, Callable[..., keras.Model]] = {
    "lenet5": lenet5,
    "lenet5_attention": lenet5_attention,
    "alexnet": alexnet,
    "vgg16": vgg16,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "lenet5_frozen": functools.partial(lenet5_attention, train_masks=False),
    **{name: functools.partial(control, block) for name, block in BLOCKS.items()},
}

EVALUATION_BATCH = 500


def build_model(protocol: Protocol) -> keras.Model:
    """The untrained network of `protocol`, its initial weights fixed by the protocol's seed."""
    return MODELS[protocol.model](**_arguments(protocol))


def initial_protocol(protocol: Protocol) -> Protocol:
    """One protocol for all that start from the same network, whatever they train it on."""
    return dataclasses.replace(PAPER, model=protocol.model, **_arguments(protocol))


def _arguments(protocol: Protocol) -> dict[str, object]:
    """The fields of `protocol` that its builder takes; `**lenet` stands for those of `lenet5`."""
    taken = set(inspect.signature(MODELS[protocol.model]).parameters)
    if "lenet" in taken:
        taken.update(inspect.signature(lenet5).parameters)
    return {name: value for name, value in vars(protocol).items() if name in taken}


def logits(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What `model` gives digits, as in `data.Dataset`, without augmentation: `(n, classes)`."""
    canvas, size = canvas_of(model), EVALUATION_BATCH
    batches = (images[start : start + size] for start in range(0, len(images), size))
    # One compiled call where there is one: op by op takes more than twice the time.
    run = model.predict_on_batch if model.compiled else functools.partial(model, training=False)
    outputs = (run(network_input(batch, canvas)) for batch in batches)
    return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs])


def canvas_of(model: keras.Model) -> int:
    """Side in pixels of the images that `model` takes; 32 where it does not tell."""
    inputs = getattr(model, "inputs", None)  # subclassed: unknown
    shape = inputs[0].shape if inputs else ()
    return (shape[1] if len(shape) > 2 else None) or CANVAS


def predict_classes(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The class that `model` gives each image, see `logits`. Of NaN logits, the first one's."""
    return logits(model, images).argmax(axis=1)
