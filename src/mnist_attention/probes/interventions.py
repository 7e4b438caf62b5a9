"""A trained network with its masks replaced, or with its weights re-initialised."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from ..checks import expect, lookup
from ..models.initializers import draw_kernels
from .masks import find_masks, run_model

DRAWS = 5  # how many times the weights of a measured network are re-initialised

Tensor = keras.KerasTensor


def mean(scores: Tensor) -> Tensor:
    """The mask's mean over the positions of its image: the scale stays, the places go."""
    return ops.mean(scores, axis=(1, 2), keepdims=True) * ops.ones_like(scores)


def another_image(scores: Tensor) -> Tensor:
    """The mask of the previous image in the batch; the first gets the last one's."""
    return ops.roll(scores, 1, axis=0)


def shuffled(scores: Tensor) -> Tensor:
    """The mask's own values at other places: one permutation of the positions for all images."""
    height, width, channels = scores.shape[1:]
    order = np.random.default_rng(0).permutation(height * width)
    flat = ops.take(ops.reshape(scores, (-1, height * width, channels)), order, axis=1)
    return ops.reshape(flat, (-1, height, width, channels))


INTERVENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean,
    "another image": another_image,
    "shuffled": shuffled,
    "ones": ops.ones_like,  # no mask: the scale changes too
}
"""Name -> what replaces a mask, a function of its scores `(batch, height, width, channels)`."""


class _Intervened(keras.Model):
    """A model in whose runs every mask is replaced."""

    def __init__(self, model: keras.Model, change: Callable[[Tensor], Tensor], name: str):
        super().__init__(name=name, trainable=False)
        self.model, self.change = model, change

    def call(self, inputs):
        return run_model(self.model, inputs, lambda layer, features, scores: self.change(scores))

    inputs = property(lambda self: self.model.inputs)
    input_shape = property(lambda self: self.model.input_shape)


def intervene(model: keras.Model, name: str) -> keras.Model:
    """`model` with every mask replaced. It shares the weights, and is not for training."""
    change = lookup("name", name, INTERVENTIONS)
    find_masks(model)
    return _Intervened(model, change, f"{model.name}_{name.replace(' ', '_')}")


def draw_seeds(seed: int) -> list[int]:
    """Seeds of the re-initialised kernels of the network that was trained with `seed`.

    No two networks of different seeds share one, and none is the seed of a network.
    """
    return [2**32 + DRAWS * seed + draw for draw in range(DRAWS)]


def reinitialise_from_the_top(model: keras.Model, seed: int) -> Iterator[tuple[str, keras.Model]]:
    """A copy of `model` that loses its training layer by layer, the output first.

    Yields the name of the layer that was re-initialised, and the copy, the same object each time.
    `seed` fixes the new kernels; the other weights become what their layers start with.

    Reference:
        Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018
        ([arXiv:1810.03292](https://arxiv.org/abs/1810.03292)): a map that explains what a network
        has learned must change when that is gone.
    """
    expected = "a functional or sequential model, which can be copied"
    expect(hasattr(model, "inputs"), expected, f"{model.name!r} of type {type(model).__name__}")
    copy, fresh = keras.models.clone_model(model), keras.models.clone_model(model)
    draw_kernels(fresh, "glorot_uniform", seed)
    copy.set_weights(model.get_weights())
    for layer, start in reversed([*zip(_leaves(copy), _leaves(fresh), strict=True)]):
        if layer.weights:
            layer.set_weights(start.get_weights())
            yield layer.name, copy


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]
