"""What Keras's ``fit`` is fed: the batches of an epoch, in the order of its plan."""

import functools

import keras
import numpy as np

from .data import (
    Dataset,
    augment_epoch,
    augmentation_table,
    epoch_plan,
    scale_brightness,
    scale_pixels,
)
from .models import EVALUATION_BATCH
from .protocol import Protocol


class Batches(keras.utils.PyDataset):
    """An epoch in batches of float32 images `(batch, canvas, canvas, 1)` and labels `(batch,)`.

    Args:
        size: Images per batch. The last may be smaller; no image is left out.
        count: Images per epoch.
    """

    def __init__(self, size: int, count: int):
        super().__init__()
        self.size, self.count = size, count

    def take(self, part: slice) -> tuple[np.ndarray, ...]:
        """A part of the epoch: stored pixels, labels and, if any, brightness factors."""
        raise NotImplementedError

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __getitem__(self, index: int) -> tuple:
        return _scale(*self.take(slice(index * self.size, (index + 1) * self.size)))

    def to_input(self):
        """What `fit` takes: on TensorFlow a `tf.data.Dataset`, which works beside the training."""
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        tf.get_logger().setLevel(
            "ERROR"
        )  # each network of a process retraces the graph, as it must
        of_each = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in self.take(slice(1))]
        # Taken when the first batch of an epoch is asked for: callbacks have set the epoch by then.
        whole = tf.data.Dataset.from_generator(
            lambda: iter([self.take(slice(None))]), output_signature=tuple(of_each)
        )
        batches = whole.flat_map(
            lambda *arrays: tf.data.Dataset.from_tensor_slices(arrays).batch(self.size).map(_scale)
        )
        batches = batches.apply(tf.data.experimental.assert_cardinality(len(self))).prefetch(1)
        # With TensorFlow 2.21 an iterator that goes away while tf.data's tuner sleeps waits until
        # it wakes: up to half of a run's time, in which no processor is used.
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.with_options(options)


class TrainingBatches(Batches):
    """The training images as `epoch_plan` orders, mirrors and shifts them.

    Args:
        protocol: How to do so, and how many images make a batch.
        table: What `augmentation_table` makes of the images.
        labels: Their classes.
        epoch: Number of the epoch, from 0; set the attribute to move on.
    """

    def __init__(self, protocol: Protocol, table: np.ndarray, labels: np.ndarray, epoch: int = 0):
        super().__init__(protocol.batch_size, len(labels))
        self.protocol, self.table, self.labels, self.epoch = protocol, table, labels, epoch
        self._plan = functools.lru_cache(1)(functools.partial(epoch_plan, protocol))

    def take(self, part: slice) -> tuple[np.ndarray, ...]:
        plan = self._plan(self.epoch, self.count)
        order, canvas = plan.order[part], self.protocol.canvas
        images = augment_epoch(self.table, order, plan.flip[part], plan.shift[part], canvas)
        factor = (plan.brightness[part],) if self.protocol.brightness else ()
        return images, self.labels[order].astype("int32"), *factor


class TestBatches(Batches):
    """The test images, clean and in their order."""

    __test__ = False  # no test of pytest's

    def __init__(self, protocol: Protocol, dataset: Dataset):
        super().__init__(EVALUATION_BATCH, len(dataset.test_labels))
        self.images = augmentation_table(dataset.test_images, 0, protocol.canvas)[..., None]
        self.labels = dataset.test_labels.astype("int32")

    def take(self, part: slice) -> tuple[np.ndarray, ...]:
        return self.images[part], self.labels[part]


def _scale(images, labels, factor=None):
    images = scale_pixels(images)
    return (images if factor is None else scale_brightness(images, factor)), labels


def epoch_batches(protocol: Protocol, table: np.ndarray, labels: np.ndarray, epoch: int):
    """What `fit` takes for one epoch alone; for the arguments see `TrainingBatches`."""
    return TrainingBatches(protocol, table, labels, epoch).to_input()
