"""LeNet-5, with attention masks and without."""

from collections.abc import Callable, Mapping

import keras
from keras import layers

from ..checks import expect, lookup
from ..layers import AttentionMask1x1
from ..protocol import CANVAS
from .initializers import draw_kernels

POOLINGS = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}

MASKED_LAYERS = {
    "both": ("c1", "c3"),
    "c1": ("c1",),
    "c3": ("c3",),
    "after_pooling": ("s2", "s4"),
}
"""Mask placement -> the layers whose feature map is masked.

A mask on C1 (28x28) is in register with the image; after S2 it would have half the resolution.
"""


def lenet5(
    *,
    activation: str = "relu",
    pooling: str = "max",
    initializer: str = "glorot_uniform",
    seed: int = 0,
    dense_layers: int = 3,
    canvas: int = CANVAS,
    pixel_scale: int = 1,
    after: Mapping[str, Callable] | None = None,
) -> keras.Model:
    """LeNet-5: 32x32 image -> C1, S2, C3, S4, C5, F6 -> 10 logits. 61,706 parameters.

    Args:
        activation: Units of C1, C3, C5 and F6: `"relu"`, `"tanh"` or `"sigmoid"`.
        pooling: S2 and S4: `"max"` or `"average"`, 2x2, stride 2, without parameters.
        initializer: Distribution of the kernels: `"glorot_uniform"`, `"lecun_normal"`,
            `"he_normal"` or `"narrow_normal"`.
        seed: Fixes the initial kernels, layer by layer.
        dense_layers: 3, or 2 without F6 (paper, Section 2.1: "two full connections").
        canvas: Side of the input in pixels; sizes below are those of 32.
        pixel_scale: What the input is multiplied by: 255 trains on unscaled pixels.
        after: Layers, or functions of feature maps, to insert after named layers, e.g.
            `{"c1": AttentionMask1x1()}`.

    Returns:
        A model from images of shape `(batch, 32, 32, 1)` in [0, 1] to logits `(batch, 10)`.

    Raises:
        ValueError: for an unknown name, also in `after`, or another number of dense layers.

    Reference:
        LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition,
        Proc. IEEE 86(11), 1998, Section II.B. Our interpretation is the modern one: every C3 map
        sees all six S2 maps, pooling has no weights, the output goes into a softmax. C5 sees its
        whole 5x5 input, so its "convolution" is written as the dense layer it is.
    """
    pool = lookup("pooling", pooling, POOLINGS)
    expect(dense_layers in (2, 3), "dense_layers to be 2 or 3", f"{dense_layers=}")
    stack = [
        layers.Conv2D(6, 5, activation=activation, name="c1"),  # (28, 28, 6)
        pool(2, name="s2"),  # (14, 14, 6)
        layers.Conv2D(16, 5, activation=activation, name="c3"),  # (10, 10, 16)
        pool(2, name="s4"),  # (5, 5, 16)
        layers.Flatten(name="flatten"),
        layers.Dense(120, activation=activation, name="c5"),
        *([layers.Dense(84, activation=activation, name="f6")] if dense_layers == 3 else []),
        layers.Dense(10, name="output"),
    ]
    after = dict(after or {})
    inputs = maps = keras.Input((canvas, canvas, 1), name="image")
    if pixel_scale != 1:
        maps = layers.Rescaling(pixel_scale, name="pixels")(maps)
    for layer in stack:
        maps = layer(maps)
        if layer.name in after:
            maps = after.pop(layer.name)(maps)
    if after:
        names = [layer.name for layer in stack]
        raise ValueError(f"Expected the layers of `after` among {names}. Received: {[*after]}")
    return draw_kernels(keras.Model(inputs, maps, name="lenet5"), initializer, seed)


def lenet5_attention(
    *,
    mask_placement: str = "both",
    mask_channels: int | None = 1,
    mask_activation: str = "sigmoid",
    train_masks: bool = True,
    **lenet,
) -> keras.Model:
    """LeNet-5 with attention masks (paper, Figures 2 and 3).

    One-channel masks add 7 parameters after C1 and 17 after C3; per-feature masks 42 and 272.

    Args:
        mask_placement: `"both"` (after C1 and C3), `"c1"`, `"c3"` or `"after_pooling"`.
        mask_channels: See `AttentionMask1x1`.
        mask_activation: `activation` of `AttentionMask1x1`.
        train_masks: Whether the masks learn; otherwise they keep their initial kernels.
        **lenet: The arguments of `lenet5`.

    Returns:
        Like `lenet5`, with layers `<name>_attention` after the masked ones. At the same seed the
        layers that both networks have start with the same weights.

    Raises:
        ValueError: for an unknown name.
    """
    options = {"activation": mask_activation, "trainable": train_masks}
    masks = {
        name: AttentionMask1x1(mask_channels, **options, name=f"{name}_attention")
        for name in lookup("mask_placement", mask_placement, MASKED_LAYERS)
    }
    return lenet5(after=masks, **lenet)
