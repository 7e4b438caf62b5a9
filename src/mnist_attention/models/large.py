"""The larger networks of Table 1, fitted to one 32x32 image channel and ten logits.

Their units and pooling are their authors'; seed and initialiser are the protocol's, as for LeNet.
"""

import math
import zlib

import keras
from keras import layers

from ..protocol import CANVAS
from .initializers import draw_kernels

LEAST_SIZE = 32
"""Smallest image of VGG16 and ResNet-50 in pixels: they halve it five times, 32 -> 1."""


def alexnet(
    *, initializer: str = "glorot_uniform", seed: int = 0, size: int = CANVAS
) -> keras.Model:
    """AlexNet, fitted to 32x32: 21,589,706 parameters.

    Layers, features, overlapping pooling and dropout are the paper's. Changed, and why:

    - C1 has 5x5 kernels at stride 2 instead of 11x11 at stride 4: with those, the third pooling
      would find nothing left of 32x32 pixels. So the maps are 16, 7, 3 and 1 pixels wide.
    - One tower: the paper halves C2, C4 and C5 into groups only to fit two GPUs.
    - No local response normalisation: it does not help (Simonyan and Zisserman, Section 4.1).
    - Biases start at 0, as in all our networks, not at 1 in some layers.

    Args:
        initializer: Distribution of the kernels, a name in `kernels.INITIALIZERS`.
        seed: Fixes the initial kernels and the dropout.
        size: Height and width of the images in pixels.

    Returns:
        A model from images of shape `(batch, size, size, 1)` in [0, 1] to logits `(batch, 10)`.

    Raises:
        ValueError: if `size` is too small.

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural
        networks, NeurIPS 2012, Section 3.5 and Figure 2.
    """
    _check_size("AlexNet", size, 29)

    def convolution(features: int, kernel: int, name: str, strides: int = 1):
        return layers.Conv2D(
            features, kernel, strides, padding="same", activation="relu", name=name
        )

    stack = [
        convolution(96, 5, "c1", strides=2),  # (16, 16, 96)
        layers.MaxPooling2D(3, 2, name="p1"),  # (7, 7, 96)
        convolution(256, 5, "c2"),
        layers.MaxPooling2D(3, 2, name="p2"),  # (3, 3, 256)
        convolution(384, 3, "c3"),
        convolution(384, 3, "c4"),
        convolution(256, 3, "c5"),
        layers.MaxPooling2D(3, 2, name="p5"),  # (1, 1, 256)
        layers.Flatten(name="flatten"),
        layers.Dense(4096, activation="relu", name="f6"),
        layers.Dropout(0.5, seed=_own_seed(seed, "f6_dropout"), name="f6_dropout"),
        layers.Dense(4096, activation="relu", name="f7"),
        layers.Dropout(0.5, seed=_own_seed(seed, "f7_dropout"), name="f7_dropout"),
        layers.Dense(10, name="output"),
    ]
    model = keras.Sequential([keras.Input((size, size, 1), name="image"), *stack], name="alexnet")
    draw_kernels(model, initializer, seed)
    return model


def vgg16(*, initializer: str = "glorot_uniform", seed: int = 0, size: int = CANVAS) -> keras.Model:
    """VGG16 as `keras.applications` has it, untrained, without dropout: 33,637,066 parameters.

    Changed: one channel, ten logits, and 32x32 pixels, of which the last of five poolings leaves
    one; so the first dense layer has 512 inputs instead of 25,088.

    Args:
        initializer: Distribution of the kernels, a name in `kernels.INITIALIZERS`.
        seed: Fixes the initial kernels.
        size: Height and width of the images in pixels.

    Returns:
        Like `alexnet`.

    Raises:
        ValueError: if `size` is less than 32.

    Reference:
        Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition,
        ICLR 2015, Table 1, column D.
    """
    _check_size("VGG16", size, LEAST_SIZE)
    return _application(keras.applications.VGG16, initializer, seed, size)


def resnet50(
    *, initializer: str = "glorot_uniform", seed: int = 0, size: int = CANVAS
) -> keras.Model:
    """ResNet-50 as `keras.applications` has it, untrained: 23,601,930 parameters.

    Changed: one channel, ten logits, and 32x32 pixels, of which the first convolution and the
    pooling behind it leave 8x8, the last stage 1x1.

    Args:
        initializer: See `vgg16`, and so for `seed` and `size`.
        seed: Fixes the initial kernels.
        size: Height and width of the images in pixels.

    Returns:
        Like `alexnet`.

    Raises:
        ValueError: if `size` is less than 32.

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, Table 1.
    """
    _check_size("ResNet-50", size, LEAST_SIZE)
    return _application(keras.applications.ResNet50, initializer, seed, size)


def resnet18(
    *, initializer: str = "glorot_uniform", seed: int = 0, size: int = CANVAS
) -> keras.Model:
    """ResNet-18: 11,184,970 parameters. The paper does not say how deep its ResNet is.

    Changed: as in `resnet50`. It keeps the stem of the ImageNet networks (7x7 at stride 2, then
    pooling) and not the 3x3 stem of the CIFAR ones: so it differs from our ResNet-50 in depth
    alone, and the later layers work on a sixteenth as many positions.

    Args:
        initializer: See `vgg16`, and so for `seed` and `size`.
        seed: Fixes the initial kernels.
        size: Height and width of the images in pixels.

    Returns:
        Like `alexnet`.

    Raises:
        ValueError: if `size` is less than 32.

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, Table 1;
        where a block changes shape, the shortcut is a 1x1 convolution (option B).
    """
    _check_size("ResNet-18", size, LEAST_SIZE)
    inputs = keras.Input((size, size, 1), name="image")
    maps = _normalised(inputs, 64, 7, 2, "conv1")
    maps = layers.ReLU(name="conv1_relu")(maps)
    maps = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(maps)  # (8, 8, 64)
    for stage, features in enumerate((64, 128, 256, 512), start=2):
        for block in (1, 2):
            strides = 2 if stage > 2 and block == 1 else 1
            maps = _basic_block(maps, features, strides, f"conv{stage}_block{block}")
    maps = layers.GlobalAveragePooling2D(name="average")(maps)
    model = keras.Model(inputs, layers.Dense(10, name="output")(maps), name="resnet18")
    draw_kernels(model, initializer, seed)
    return model


def _basic_block(maps, features: int, strides: int, name: str):
    """Two 3x3 convolutions and a shortcut around them (He et al., Figure 5, left)."""
    shortcut = maps
    if strides != 1 or maps.shape[-1] != features:
        shortcut = _normalised(maps, features, 1, strides, f"{name}_shortcut")
    maps = _normalised(maps, features, 3, strides, f"{name}_1")
    maps = layers.ReLU(name=f"{name}_1_relu")(maps)
    maps = _normalised(maps, features, 3, 1, f"{name}_2")
    maps = layers.Add(name=f"{name}_add")([shortcut, maps])
    return layers.ReLU(name=f"{name}_relu")(maps)


def _normalised(maps, features: int, kernel: int, strides: int, name: str):
    """A convolution and batch normalisation, which makes a bias needless."""
    options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
    maps = layers.Conv2D(features, kernel, strides, **options)(maps)
    return layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(maps)


def _application(builder, initializer: str, seed: int, size: int) -> keras.Model:
    model = builder(
        weights=None, input_shape=(size, size, 1), classes=10, classifier_activation=None
    )
    draw_kernels(model, initializer, seed)
    return model


def _own_seed(seed: int, name: str) -> int:
    """A layer's own seed, so that two dropouts of a network do not drop alike."""
    return zlib.crc32(f"{seed} {name}".encode())


def _check_size(network: str, size: int, least: int) -> None:
    if size < least:
        raise ValueError(
            f"Expected images of at least {least}x{least} pixels for {network}. "
            f"Received: size={size}"
        )


def multiply_accumulates(model: keras.Model) -> int:
    """Multiplications, each with its addition, that one image costs in convolutions and products.

    Args:
        model: A network. Each kernel is applied once at every position of its layer's output.
    """
    return sum(
        math.prod(weight.shape) * math.prod(layer.output.shape[1:-1])
        for layer in model.layers
        for weight in layer.weights
        if weight.name == "kernel"
    )
