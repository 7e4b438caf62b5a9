"""Control networks: LeNet-5 with something else where `lenet5_attention` has its masks.

If a control does as well as the mask, then what it shares with the mask is what helps: a smaller
scale, an untrained gate, more weights, any gate at all. At the same seed all of them start with the
C1, C3, C5, F6 and output of LeNet-5.
"""

import functools
from collections.abc import Callable

import keras
from keras import KerasTensor, layers, ops

from ..checks import lookup
from .lenet import MASKED_LAYERS, lenet5

Block = Callable[[KerasTensor, str], KerasTensor]
"""Feature map and a name for its layers -> feature map of the same shape."""


def squeeze_excitation(maps: KerasTensor, name: str) -> KerasTensor:
    """Which features count, not where: each map is gated by the means of all. 45, 280 parameters.

    Reference:
        Hu, Shen, Sun: Squeeze-and-excitation networks, CVPR 2018, Eq. 2-4, with reduction 2: six
        features leave no room for its 16.
    """
    means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(maps)
    weights = _bottleneck(name, maps.shape[-1], "sigmoid")(means)
    return layers.Multiply(name=name)([maps, weights])


def cbam(maps: KerasTensor, name: str) -> KerasTensor:
    """Which features count, then where, seen with its neighbourhood. 144 and 379 parameters.

    Reference:
        Woo, Park, Lee, Kweon: CBAM: Convolutional block attention module, ECCV 2018, Eq. 2 and 3,
        with reduction 2 and its 7x7 kernel.
    """
    score = _bottleneck(name, maps.shape[-1], "linear")
    means = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(maps)
    maxima = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_maximum")(maps)
    maps = maps * ops.sigmoid(score(means) + score(maxima))
    seen = [ops.mean(maps, axis=-1, keepdims=True), ops.max(maps, axis=-1, keepdims=True)]
    where = layers.Conv2D(1, 7, padding="same", activation="sigmoid", name=f"{name}_where")
    return layers.Multiply(name=name)([maps, where(ops.concatenate(seen, axis=-1))])


def _bottleneck(name: str, channels: int, activation: str) -> Callable:
    """Two dense layers over the channels, half as many between them; called twice, shared."""
    reduce = layers.Dense(channels // 2, activation="relu", name=f"{name}_reduce")
    expand = layers.Dense(channels, activation=activation, name=f"{name}_expand")
    return lambda maps: expand(reduce(maps))


BLOCKS: dict[str, Block] = {
    # A mask of one half everywhere: of attention, the smaller scale is left.
    "lenet5_constant": lambda maps, name: layers.Rescaling(0.5, name=name)(maps),
    # A 1x1 convolution without a product. 42 and 272 parameters, as a mask per feature.
    "lenet5_convolution": lambda maps, name: layers.Conv2D(
        maps.shape[-1], 1, activation="relu", name=name
    )(maps),
    # Each feature gates itself, x * sigmoid(x): Ramachandran, Zoph, Le: Searching for activation
    # functions, 2017 (arXiv:1710.05941), Eq. 1 with beta = 1.
    "lenet5_swish": lambda maps, name: layers.Activation("silu", name=name)(maps),
    "lenet5_squeeze": squeeze_excitation,
    "lenet5_cbam": cbam,
}
"""Model name -> what stands after the layers that `lenet5_attention` masks."""


def control(block: Block, *, mask_placement: str = "both", **lenet) -> keras.Model:
    """`lenet5` with a block of `BLOCKS` after the layers that a mask placement names."""
    masked = lookup("mask_placement", mask_placement, MASKED_LAYERS)
    after = {layer: functools.partial(block, name=f"{layer}_block") for layer in masked}
    return lenet5(after=after, **lenet)
