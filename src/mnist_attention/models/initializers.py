"""Initial kernels, drawn by NumPy: the same on every Keras backend, layer by layer."""

import math
import zlib
from collections.abc import Callable

import keras
import numpy as np

from ..protocol import lookup

INITIALIZERS: dict[str, Callable[[int, int], tuple[str, float]]] = {
    "glorot_uniform": lambda fan_in, fan_out: ("uniform", math.sqrt(2 / (fan_in + fan_out))),
    "lecun_normal": lambda fan_in, fan_out: ("normal", math.sqrt(1 / fan_in)),
    "he_normal": lambda fan_in, fan_out: ("normal", math.sqrt(2 / fan_in)),
    "narrow_normal": lambda fan_in, fan_out: ("normal", 0.01),
}
"""Name -> (fan in, fan out) -> (shape of the distribution, its standard deviation)."""


def draw_kernels(model: keras.Model, initializer: str, seed: int) -> None:
    """Draw every kernel of `model` anew; biases and the rest stay as their layers made them.

    Each kernel has a generator of its own, keyed by the seed and the variable's path
    ("c3/kernel"). So a layer starts alike whatever stands around it: LeNet and LeNet+Attention
    are paired. The draws are NumPy's, so they are the same on every Keras backend.
    """
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            generator = np.random.default_rng([seed, zlib.crc32(variable.path.encode())])
            variable.assign(_draw(initializer, variable.shape, generator))


def _draw(initializer: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    positions = math.prod(shape[:-2])
    distribution = lookup("initializer", initializer, INITIALIZERS)
    family, deviation = distribution(shape[-2] * positions, shape[-1] * positions)
    if family == "normal":
        values = deviation * generator.standard_normal(shape)
    else:
        limit = math.sqrt(3) * deviation
        values = generator.uniform(-limit, limit, shape)
    return values.astype("float32")
