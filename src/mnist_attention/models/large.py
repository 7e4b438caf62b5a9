"""The larger networks of Table 1, fitted to one 32x32 image channel and ten logits.

Their units and pooling are their authors'; `seed` fixes the initial kernels and the dropout.
"""

import zlib

import keras
from keras import layers

from ..protocol import CANVAS
from .initializers import draw_kernels

GLOROT = "glorot_uniform"


def alexnet(*, initializer: str = GLOROT, seed: int = 0) -> keras.Model:
    """AlexNet, fitted to 32x32: 21,589,706 parameters.

    Layers, features, overlapping pooling and dropout are the paper's. Changed, and why:

    - C1 has 5x5 kernels at stride 2 instead of 11x11 at stride 4: with those, the third pooling
      would find nothing left of 32x32 pixels. So the maps are 16, 7, 3 and 1 pixels wide.
    - One tower: the paper halves C2, C4 and C5 into groups only to fit two GPUs.
    - No local response normalisation: it does not help (Simonyan and Zisserman, Section 4.1).
    - Biases start at 0, as in all our networks, not at 1 in some layers.

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet classification with deep convolutional neural
        networks, NeurIPS 2012, Section 3.5 and Figure 2.
    """
    same = {"padding": "same", "activation": "relu"}

    def dropout(name: str):  # with a seed of its own: two dropouts do not drop alike
        return layers.Dropout(0.5, seed=zlib.crc32(f"{seed} {name}".encode()), name=name)

    stack = [
        keras.Input((CANVAS, CANVAS, 1), name="image"),
        layers.Conv2D(96, 5, 2, name="c1", **same),  # (16, 16, 96)
        layers.MaxPooling2D(3, 2, name="p1"),  # (7, 7, 96)
        layers.Conv2D(256, 5, name="c2", **same),
        layers.MaxPooling2D(3, 2, name="p2"),  # (3, 3, 256)
        layers.Conv2D(384, 3, name="c3", **same),
        layers.Conv2D(384, 3, name="c4", **same),
        layers.Conv2D(256, 3, name="c5", **same),
        layers.MaxPooling2D(3, 2, name="p5"),  # (1, 1, 256)
        layers.Flatten(name="flatten"),
        layers.Dense(4096, "relu", name="f6"),
        dropout("f6_dropout"),
        layers.Dense(4096, "relu", name="f7"),
        dropout("f7_dropout"),
        layers.Dense(10, name="output"),
    ]
    return draw_kernels(keras.Sequential(stack, name="alexnet"), initializer, seed)


def vgg16(*, initializer: str = GLOROT, seed: int = 0) -> keras.Model:
    """VGG16 as `keras.applications` has it, untrained, without dropout: 33,637,066 parameters.

    Of 32x32 pixels the last of five poolings leaves one: the first dense layer has 512 inputs.

    Reference:
        Simonyan, Zisserman: Very deep convolutional networks for large-scale image recognition,
        ICLR 2015, Table 1, column D.
    """
    return _application(keras.applications.VGG16, initializer, seed)


def resnet50(*, initializer: str = GLOROT, seed: int = 0) -> keras.Model:
    """ResNet-50 as `keras.applications` has it, untrained: 23,601,930 parameters.

    Of 32x32 pixels the first convolution and the pooling after it leave 8x8, the last stage 1x1.

    Reference:
        He, Zhang, Ren, Sun: Deep residual learning for image recognition, CVPR 2016, Table 1.
    """
    return _application(keras.applications.ResNet50, initializer, seed)


def resnet18(*, initializer: str = GLOROT, seed: int = 0) -> keras.Model:
    """ResNet-18: 11,184,970 parameters. The paper does not say how deep its ResNet is.

    It keeps the stem of the ImageNet networks (7x7 at stride 2, then pooling), not the 3x3 stem of
    the CIFAR ones: so it differs from our ResNet-50 in depth alone, and the later layers work on a
    sixteenth as many positions.

    Reference:
        As for `resnet50`; where a block changes shape, the shortcut is a 1x1 convolution.
    """
    inputs = keras.Input((CANVAS, CANVAS, 1), name="image")
    maps = _convolution(inputs, 64, 7, 2, "conv1")
    maps = layers.ReLU(name="conv1_relu")(maps)
    maps = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(maps)  # (8, 8, 64)
    for stage, features in enumerate((64, 128, 256, 512), start=2):
        for block in (1, 2):
            strides = 2 if stage > 2 and block == 1 else 1
            maps = _basic_block(maps, features, strides, f"conv{stage}_block{block}")
    maps = layers.GlobalAveragePooling2D(name="average")(maps)
    outputs = layers.Dense(10, name="output")(maps)
    return draw_kernels(keras.Model(inputs, outputs, name="resnet18"), initializer, seed)


def _basic_block(maps, features: int, strides: int, name: str):
    """Two 3x3 convolutions and a shortcut around them (He et al., Figure 5, left)."""
    shortcut = maps
    if strides != 1 or maps.shape[-1] != features:
        shortcut = _convolution(maps, features, 1, strides, f"{name}_shortcut")
    maps = _convolution(maps, features, 3, strides, f"{name}_1")
    maps = layers.ReLU(name=f"{name}_1_relu")(maps)
    maps = _convolution(maps, features, 3, 1, f"{name}_2")
    maps = layers.Add(name=f"{name}_add")([shortcut, maps])
    return layers.ReLU(name=f"{name}_relu")(maps)


def _convolution(maps, features: int, kernel: int, strides: int, name: str):
    """With batch normalisation, which makes a bias needless."""
    options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
    maps = layers.Conv2D(features, kernel, strides, **options)(maps)
    return layers.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(maps)


def _application(builder, initializer: str, seed: int) -> keras.Model:
    options = {"weights": None, "classes": 10, "classifier_activation": None}
    return draw_kernels(builder(input_shape=(CANVAS, CANVAS, 1), **options), initializer, seed)
