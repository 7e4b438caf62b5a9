"""Choices that the paper leaves open: each does what its field says, and nothing else."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from mnist_attention import Protocol, build_model, train
from mnist_attention.batches import TrainingBatches
from mnist_attention.data import augmentation_table, epoch_plan, network_input
from mnist_attention.models import logits
from mnist_attention.training import compile_model

PROTOCOL = Protocol(dataset="uci", epochs=1, batch_size=100, learning_rate=0.1)
CHOICES = {
    "weight_decay": 1e-4,
    "dense_layers": 2,
    "brightness": 0.4,
    "canvas": 28,
    "pixel_scale": 255,
    "reshuffle": False,
}


def fed(protocol, dataset, epoch=0):
    table = augmentation_table(dataset.train_images, protocol.shift, protocol.canvas)
    batches = TrainingBatches(protocol, table, dataset.train_labels, epoch)
    return np.concatenate([images.numpy() for images, _ in batches.to_input().take(batches.steps)])


def test_all_choices_can_be_trained_together(small):
    record = train(replace(PROTOCOL, **CHOICES), dataset=small, verbose=False)
    assert CHOICES.items() <= record["protocol"].items()
    assert len(record["test_predictions"]) == len(small.test_labels)


def test_brightness_scales_each_image_and_white_stays_white(small):
    protocol = replace(PROTOCOL, brightness=0.4)
    factor = epoch_plan(protocol, 0, 300).brightness
    assert factor.min() < 0.65
    assert factor.max() > 1.35
    assert 0.6 <= factor.min() <= factor.max() <= 1.4
    expected = np.minimum(fed(PROTOCOL, small) * factor[:, None, None, None], 1)
    np.testing.assert_allclose(fed(protocol, small), expected, rtol=1e-6)


def test_without_reshuffling_the_order_alone_repeats():
    protocol = replace(PROTOCOL, reshuffle=False)
    first, second = (epoch_plan(protocol, epoch) for epoch in (0, 1))
    np.testing.assert_array_equal(first.order, second.order)
    usual = epoch_plan(PROTOCOL, 1)
    assert (usual.order != second.order).any()
    for name in ("flip", "shift", "brightness"):
        np.testing.assert_array_equal(getattr(usual, name), getattr(second, name))


def test_without_padding_the_network_sees_28_pixels(small):
    protocol = replace(PROTOCOL, canvas=28, shift=0)
    padded = fed(replace(PROTOCOL, shift=0), small)
    np.testing.assert_array_equal(fed(protocol, small), padded[:, 2:-2, 2:-2])
    model = build_model(protocol)
    assert model.get_layer("c5").kernel.shape == (16 * 4 * 4, 120)
    assert logits(model, small.test_images).shape == (50, 10)


def test_unscaled_pixels_are_the_input_times_255(small):
    images = network_input(small.test_images)
    unscaled = build_model(replace(PROTOCOL, pixel_scale=255))
    np.testing.assert_allclose(unscaled(images), build_model(PROTOCOL)(255 * images), rtol=1e-4)


def test_two_dense_layers_are_c5_and_output():
    model = build_model(replace(PROTOCOL, dense_layers=2))
    assert [layer.name for layer in model.layers][-2:] == ["c5", "output"]
    assert model.get_layer("output").kernel.shape == (120, 10)


def test_weight_decay_shrinks_kernels_and_not_biases(small):
    images, labels = network_input(small.train_images), small.train_labels
    after = []
    for decay in (0.0, 0.01):
        protocol = replace(PROTOCOL, weight_decay=decay)
        model = compile_model(build_model(protocol), protocol, 1)
        before = {v.path: v.numpy() for v in model.trainable_variables}
        model.train_on_batch(images, labels)
        after.append({v.path: v.numpy() for v in model.trainable_variables})
    for path, start in before.items():
        shrunk = protocol.learning_rate * 0.01 * start if path.endswith("kernel") else 0 * start
        np.testing.assert_allclose(after[0][path] - after[1][path], shrunk, atol=2e-6)


def test_weight_decay_leaves_batch_normalisation_alone():
    protocol = replace(PROTOCOL, weight_decay=0.01)
    stack = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    optimizer = compile_model(keras.Sequential(stack), protocol, 1).optimizer
    variables = [keras.Variable(np.ones(3, "float32"), name=n) for n in ("gamma", "beta", "kernel")]
    optimizer.build(variables)
    optimizer.apply([keras.ops.zeros(3)] * 3, variables)
    assert [float(v[0]) for v in variables] == pytest.approx([1, 1, 0.999])


@pytest.mark.parametrize("field", ["dense_layers", "canvas", "pixel_scale"])
def test_choices_of_lenet_are_refused_for_other_networks(field):
    value = {"dense_layers": 2, "canvas": 28, "pixel_scale": 255}[field]
    with pytest.raises(ValueError, match=rf"Expected {field} .* unless the model is 'lenet5'"):
        Protocol(model="alexnet", **{field: value})
