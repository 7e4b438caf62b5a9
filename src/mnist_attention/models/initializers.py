"""Initial kernels, drawn by NumPy: the same on every Keras backend, layer by layer."""

import math
import zlib

import keras
import numpy as np

from ..checks import lookup

DEVIATIONS = {
    "glorot_uniform": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    "lecun_normal": lambda fan_in, fan_out: math.sqrt(1 / fan_in),
    "he_normal": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "narrow_normal": lambda fan_in, fan_out: 0.01,
}
"""Initializer -> its standard deviation, from fan in and fan out."""


def draw_kernels(model: keras.Model, initializer: str, seed: int) -> keras.Model:
    """Re-initialise every kernel of `model`, and return it; the rest stays as it is.

    Each kernel has a generator of its own, keyed by the seed, the layer's name and the variable's
    ("c3/kernel"; the layers of a `Sequential` are in its scope: "alexnet/c3/kernel"). So a layer
    starts alike whatever stands around it, on every Keras backend and in every name scope around
    the model: LeNet and LeNet+Attention are paired. `initializer` is a key of `DEVIATIONS`.
    """
    for layer in model.layers:
        in_scope_of_model = layer.path == f"{model.path}/{layer.name}"
        name = f"{model.name}/{layer.name}" if in_scope_of_model else layer.name
        for variable in layer.variables:
            if variable.name == "kernel":
                inside = variable.path.removeprefix(f"{layer.path}/")
                key = zlib.crc32(f"{name}/{inside}".encode())
                generator = np.random.default_rng([seed, key])
                variable.assign(_draw(initializer, variable.shape, generator))
    return model


def _draw(initializer: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    positions = math.prod(shape[:-2])
    fans = shape[-2] * positions, shape[-1] * positions
    deviation = lookup("initializer", initializer, DEVIATIONS)(*fans)
    if initializer.endswith("normal"):
        return (deviation * generator.standard_normal(shape)).astype("float32")
    limit = math.sqrt(3) * deviation
    return generator.uniform(-limit, limit, shape).astype("float32")
