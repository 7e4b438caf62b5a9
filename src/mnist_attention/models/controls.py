"""Control networks: LeNet-5 with something else where `lenet5_attention` has its masks.

If a control does as well as the mask, then what it shares with the mask is what helps: a smaller
scale, an untrained gate, more weights, any gate at all. At the same seed all of them, LeNet-5 and
LeNet-5 with masks start with the same C1, C3, C5, F6 and output.
"""

import functools
from collections.abc import Callable

import keras
from keras import layers, ops

from ..layers import AttentionMask1x1
from ..protocol import lookup
from .lenet import MASKED_LAYERS, lenet5, lenet5_attention

Block = Callable[[keras.KerasTensor], keras.KerasTensor]
"""Feature map in, feature map of the same shape out."""


def constant(name: str) -> Block:
    """A mask that is one half everywhere, as the learned one starts on an empty image.

    What is left of attention is the smaller scale. No parameters.
    """
    return layers.Rescaling(0.5, name=name)


def convolution(name: str) -> Block:
    """A 1x1 convolution with ReLU to as many features, and no product. 42 and 272 parameters.

    What is left is one more layer, of the size of a mask per feature.
    """

    def block(maps: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Conv2D(maps.shape[-1], 1, activation="relu", name=name)(maps)

    return block


def swish(name: str) -> Block:
    """Each feature gated by itself: ``x * sigmoid(x)``. No parameters.

    What is left is a multiplicative gate, without weights and without a place to look at.
    Ramachandran, Zoph, Le: Searching for activation functions, 2017 (arXiv:1710.05941), Eq. 1 with
    beta = 1.
    """
    return layers.Activation("silu", name=name)


def squeeze_excitation(name: str) -> Block:
    """Each feature map gated as a whole, by the means of all of them. 45 and 280 parameters.

    What is left says which features count, not where.
    Hu, Shen, Sun: Squeeze-and-excitation networks, CVPR 2018, Eq. 2-4, with reduction 2: six
    features leave no room for its 16.
    """

    def block(maps: keras.KerasTensor) -> keras.KerasTensor:
        squeezed = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(maps)
        weights = _bottleneck(name, maps.shape[-1], "sigmoid")(squeezed)
        return layers.Multiply(name=name)([maps, weights])

    return block


def cbam(name: str) -> Block:
    """Which features count, then where: attention over channels, then over positions.

    The second mask sees its neighbourhood, where `AttentionMask1x1` sees one position. 144 and 379
    parameters.
    Woo, Park, Lee, Kweon: CBAM: Convolutional block attention module, ECCV 2018, Eq. 2 and 3, with
    reduction 2 and its 7x7 kernel.
    """

    def block(maps: keras.KerasTensor) -> keras.KerasTensor:
        score = _bottleneck(name, maps.shape[-1], "linear")
        means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(maps)
        maxima = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_maximum")(maps)
        maps = maps * ops.sigmoid(score(means) + score(maxima))
        seen = [ops.mean(maps, axis=-1, keepdims=True), ops.max(maps, axis=-1, keepdims=True)]
        where = layers.Conv2D(1, 7, padding="same", activation="sigmoid", name=f"{name}_where")
        return layers.Multiply(name=name)([maps, where(ops.concatenate(seen, axis=-1))])

    return block


def _bottleneck(name: str, channels: int, activation: str) -> Block:
    """Two dense layers over the channels, half as many between them; called twice, shared."""
    reduce = layers.Dense(channels // 2, activation="relu", name=f"{name}_reduce")
    expand = layers.Dense(channels, activation=activation, name=f"{name}_expand")
    return lambda maps: expand(reduce(maps))


BLOCKS: dict[str, Callable[[str], Block]] = {
    "lenet5_constant": constant,
    "lenet5_convolution": convolution,
    "lenet5_swish": swish,
    "lenet5_squeeze": squeeze_excitation,
    "lenet5_cbam": cbam,
}
"""Model name -> what stands behind the layers that `lenet5_attention` masks."""


def control(
    block: Callable[[str], Block],
    *,
    mask_placement: str = "both",
    activation: str = "relu",
    pooling: str = "max",
    initializer: str = "glorot_uniform",
    seed: int = 0,
) -> keras.Model:
    """LeNet-5 with a block behind the layers that a mask placement names.

    Args:
        block: Makes the layers from a name; a value of `BLOCKS`.
        mask_placement: A key of `lenet.MASKED_LAYERS`.
        activation: See `lenet.lenet5`, and so for `pooling`, `initializer` and `seed`.
        pooling: Down-sampling.
        initializer: Distribution of the kernels.
        seed: Fixes the initial kernels.
    """
    masked = lookup("mask_placement", mask_placement, MASKED_LAYERS)
    after = {name: block(f"{name}_block") for name in masked}
    return lenet5(
        activation=activation, pooling=pooling, initializer=initializer, seed=seed, after=after
    )


@functools.wraps(lenet5_attention, assigned=())  # the same arguments
def lenet5_frozen(**choices) -> keras.Model:
    """LeNet-5 with masks that keep their random initial weights: nothing learns where to look.

    Args:
        **choices: As for `lenet.lenet5_attention`; its weights at the same seed are the same.
    """
    model = lenet5_attention(**choices)
    for layer in model.layers:
        if isinstance(layer, AttentionMask1x1):
            layer.trainable = False
    return model
