"""What becomes of a trained network when its masks are replaced, or its weights drawn anew."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from ..layers import AttentionMask1x1
from ..models.initializers import draw_kernels
from .masks import mask_layers

Scores = keras.KerasTensor


def ones(scores: Scores) -> Scores:
    """No mask at all: the scale changes too."""
    return ops.ones_like(scores)


def mean(scores: Scores) -> Scores:
    """The mask's mean over the positions of its image: the scale stays, the places go."""
    return ops.mean(scores, axis=(1, 2), keepdims=True) * ops.ones_like(scores)


def another_image(scores: Scores) -> Scores:
    """The mask of the image before in the batch; the first gets the last one's."""
    return ops.roll(scores, 1, axis=0)


def shuffled(scores: Scores) -> Scores:
    """The mask's own values at other places: one permutation of the positions for all images."""
    height, width, channels = scores.shape[1:]
    order = np.random.default_rng(0).permutation(height * width)
    flat = ops.take(ops.reshape(scores, (-1, height * width, channels)), order, axis=1)
    return ops.reshape(flat, (-1, height, width, channels))


INTERVENTIONS: dict[str, Callable[[Scores], Scores]] = {
    "mean": mean,
    "another image": another_image,
    "shuffled": shuffled,
    "ones": ones,
}
"""Name -> what stands where the mask stood, made from its scores `(batch, height, width, c)`."""


class Intervention(keras.layers.Layer):
    """Multiplies a feature map by something made from the scores of a trained mask.

    Args:
        mask: The trained layer.
        change: A value of `INTERVENTIONS`.
    """

    def __init__(self, mask: AttentionMask1x1, change: Callable[[Scores], Scores]):
        super().__init__(name=f"{mask.name}_changed")
        self.mask, self.change = mask, change

    def call(self, inputs):
        _, scores = self.mask(inputs, return_attention_scores=True)
        return inputs * self.change(scores)


def intervene(model: keras.Model, name: str) -> keras.Model:
    """`model` with every mask replaced. It shares the weights of `model`, and trains nothing.

    Args:
        model: A network with at least one `AttentionMask1x1`.
        name: A key of `INTERVENTIONS`.

    Raises:
        ValueError: for another name, or a model without a mask.
    """
    if name not in INTERVENTIONS:
        known = ", ".join(INTERVENTIONS)
        raise ValueError(f"Expected an intervention among {known}. Received: name={name!r}")
    masks, maps = mask_layers(model), model.input
    for layer in model.layers[1:]:  # the networks that have masks are chains of layers
        if layer.name in masks:
            layer = Intervention(layer, INTERVENTIONS[name])
        maps = layer(maps)
    return keras.Model(model.input, maps, name=f"{model.name}_{name.replace(' ', '_')}")


FRESH = 2**32 - 1
"""Seed of kernels that no network here started from; with its own, a map would only go back."""


def reinitialise_from_the_top(model: keras.Model) -> Iterator[tuple[str, keras.Model]]:
    """A copy of `model` that loses its training layer by layer, the output first.

    A map that explains what a network has learned must change when what it has learned is gone
    (Adebayo et al.: Sanity checks for saliency maps, NeurIPS 2018).

    Args:
        model: A trained network. Its kernels are drawn from the seed `FRESH`, biases become 0.

    Yields:
        The name of the layer that was drawn anew, and the copy: the same object each time.
    """
    copy = keras.models.clone_model(model)
    fresh = keras.models.clone_model(model)
    draw_kernels(fresh, "glorot_uniform", FRESH)
    copy.set_weights(model.get_weights())
    for layer in reversed(copy.layers):
        if layer.weights:
            kernel, *biases = fresh.get_layer(layer.name).get_weights()
            layer.set_weights([kernel, *(np.zeros_like(bias) for bias in biases)])
            yield layer.name, copy
