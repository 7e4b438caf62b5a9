"""The program of the engine `lanes`: ``vmap`` over ``scan`` over Keras's own ``train_step``."""

import time
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from ..data import Dataset, EpochPlan, augment, augmentation_table, network_input, scale_brightness
from ..models import EVALUATION_BATCH
from ..protocol import Protocol
from ..storage.checkpoints import variables


def convolve_patches(layer: keras.layers.Layer, inputs, kernel):
    """The undilated convolution of `layer`: shifted `inputs` side by side, times a matrix.

    Under `vmap` over kernels it is a batched matrix product instead of a grouped convolution.
    """
    size, strides = kernel.shape[:2], getattr(layer, "strides", (1, 1))
    padding = getattr(layer, "padding", "valid").upper()
    margins = jax.lax.padtype_to_pads(inputs.shape[1:3], size, strides, padding)
    inputs = ops.pad(inputs, [(0, 0), *margins, (0, 0)])
    for axis in (0, 1):
        extent = inputs.shape[axis + 1] - size[axis] + 1
        parts = [slice(first, first + extent, strides[axis]) for first in range(size[axis])]
        whole = (slice(None),) * (axis + 1)
        inputs = ops.concatenate([inputs[(*whole, part)] for part in parts], axis=-1)
    # The features are now sorted by column of the kernel, then row, then channel.
    columns_first = ops.transpose(kernel, (1, 0, 2, 3))
    return ops.matmul(inputs, ops.reshape(columns_first, (-1, kernel.shape[-1])))


class LaneProgram:
    """Compiled functions over lanes that share a model, a batch size and an image table.

    `values` are the trainable, non-trainable and optimizer variables, each with the lanes as its
    first axis; so the learning rates are among them. Of `model`, compiled, the weights do not
    matter; of `protocol` the batch size and the augmentation do. `lowering` is one of
    `options.LOWERINGS`: a convolution as `vmap` makes it, or `convolve_patches`.
    """

    def __init__(self, model: keras.Model, protocol: Protocol, dataset: Dataset, lowering: str):
        for layer in model.layers if lowering == "patches" else []:
            if hasattr(layer, "convolution_op"):
                layer.convolution_op = partial(convolve_patches, layer)
        # Keras makes the variables of its metrics when it sees the first batch.
        canvas = protocol.canvas
        model.test_on_batch(network_input(dataset.test_images[:1], canvas), dataset.test_labels[:1])
        self.parameters = model.count_params()
        self._model, self._protocol = model, protocol
        table = augmentation_table(dataset.train_images, protocol.shift, canvas)
        train = (table, dataset.train_labels)
        test = (augmentation_table(dataset.test_images, 0, canvas), dataset.test_labels)
        self._data = jax.tree.map(jnp.asarray, {"train": train, "test": test})
        self._epoch = jax.jit(jax.vmap(self._lane_epoch, in_axes=(0, 0, None)), donate_argnums=0)
        self._classes = jax.jit(jax.vmap(self._lane_classes, in_axes=(0, None)))

    def start(self, models: Sequence[keras.Model]) -> tuple:
        """The `values` of lanes that start as these networks do."""
        lanes = [[[v.value for v in kind] for kind in _kinds(model)] for model in models]
        return tuple(jax.tree.map(lambda *values: jnp.stack(values), *lanes))

    def compile(self, values: tuple, plans: Sequence[EpochPlan]) -> None:
        """Compile the epoch for so many lanes, so that no epoch's time includes it."""
        started = time.perf_counter()
        self.compiled = self._epoch.lower(values, _stack(plans), self._data).compile()
        self.compile_seconds = time.perf_counter() - started

    def epoch(self, values: tuple, plans: Sequence[EpochPlan]) -> tuple[tuple, dict]:
        """Train for an epoch, then test. Returns before the device is done.

        `values` are used up; there are as many plans, one per lane, as `compile` saw. Returns the
        new `values`, and metrics under Keras's names, one number per lane each.
        """
        return self.compiled(values, _stack(plans), self._data)

    def classes(self, values: tuple) -> dict[str, np.ndarray]:
        """Each lane's class of every clean image: split -> integers, shape `(lanes, n)`."""
        return jax.device_get(self._classes(values, self._data))

    def variables(self, values: tuple) -> list[list[np.ndarray]]:
        """Each lane's variables in the order of `State.variables`."""
        arrays = {
            id(variable): array
            for kind, column in zip(_kinds(self._model), jax.device_get(values), strict=True)
            for variable, array in zip(kind, column, strict=True)
        }
        ordered = [arrays[id(variable)] for variable in variables(self._model)]
        return [list(lane) for lane in zip(*ordered, strict=True)]

    def _lane_epoch(self, values, plan, data):
        metrics = [jnp.zeros_like(variable.value) for variable in self._model.metrics_variables]
        size = self._protocol.batch_size
        whole = len(plan[0]) // size * size
        batches = [draws[:whole].reshape(-1, size, *draws.shape[1:]) for draws in plan]
        state, logs = jax.lax.scan(partial(self._step, data), (*values, metrics), batches)
        logs = {name: running_mean[-1] for name, running_mean in logs.items()}
        if whole < len(plan[0]):
            state, logs = self._step(data, state, [draws[whole:] for draws in plan])
        table, labels = data["test"]
        logits = self._logits(state, table)
        logs["val_loss"] = self._model.loss(labels, logits)
        logs["val_accuracy"] = jnp.mean(logits.argmax(axis=-1) == labels)
        return state[:3], logs

    def _step(self, data, state, batch):
        table, labels = data["train"]
        order, flip, shift, factor = batch
        images = augment(table, order, flip, shift, self._protocol.canvas)
        if self._protocol.brightness:
            images = scale_brightness(images, factor)
        logs, state = self._model.train_step(state, (images, labels[order]))
        return state, logs

    def _lane_classes(self, values, data):
        return {split: self._logits(values, data[split][0]).argmax(axis=-1) for split in data}

    def _logits(self, values, table):
        def of_one(index):
            still = jnp.zeros(1, bool), jnp.zeros((1, 2), "int32")
            image = augment(table, index[None], *still, self._protocol.canvas)
            return self._model.stateless_call(*values[:2], image, training=False)[0][0]

        return jax.lax.map(of_one, jnp.arange(len(table)), batch_size=EVALUATION_BATCH)


def _kinds(model: keras.Model) -> tuple[list[keras.Variable], ...]:
    return (model.trainable_variables, model.non_trainable_variables, model.optimizer.variables)


def _stack(plans: Sequence[EpochPlan]) -> list[np.ndarray]:
    return [np.stack(draws) for draws in zip(*(vars(plan).values() for plan in plans), strict=True)]
