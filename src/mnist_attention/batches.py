"""What Keras's ``fit`` is fed: the batches of one epoch after the other, each in its own order."""

import itertools

import keras
import numpy as np

from .data import Dataset, augment_epoch, epoch_plan, network_input, scale_brightness, scale_pixels
from .models import EVALUATION_BATCH
from .protocol import Protocol


class TrainingBatches(keras.utils.PyDataset):
    """The training images as `epoch_plan` orders, mirrors and shifts them, epoch after epoch.

    Batch `index` belongs to epoch `epoch + index // steps`, so `fit` needs `steps_per_epoch`.
    Batches are float32 images `(batch, canvas, canvas, 1)` and int32 labels `(batch,)`. The last
    of an epoch may be smaller; no image is left out. A batch is a function of its index, as Keras
    may read some and start over before it trains: a generator would lose them.

    `table` is what `augmentation_table` makes of the images; `epoch`, from 0, the first to feed.
    """

    num_batches = None  # without end

    def __init__(self, protocol: Protocol, table: np.ndarray, labels: np.ndarray, epoch: int = 0):
        super().__init__()
        self.protocol, self.first, self.plan = protocol, epoch, (None, None)
        self.table, self.labels = table, labels.astype("int32")
        self.steps = -(-len(self.labels) // protocol.batch_size)

    def __getitem__(self, index: int) -> tuple:
        epoch, number = divmod(index, self.steps)
        size = self.protocol.batch_size
        return _scale(*self._take(self.first + epoch, slice(number * size, (number + 1) * size)))

    def to_input(self):
        """What `fit` takes: on TensorFlow a `tf.data.Dataset`, which works beside the training."""
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        def whole_epochs():
            for epoch in itertools.count(self.first):
                yield self._take(epoch, slice(None))

        some = self._take(self.first, slice(1))
        signature = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in some)
        batches = tf.data.Dataset.from_generator(whole_epochs, output_signature=signature).flat_map(
            lambda *epoch: tf.data.Dataset.from_tensor_slices(epoch).batch(self.protocol.batch_size)
        )
        return _without_autotuning(batches.map(_scale).prefetch(1))

    def _take(self, epoch: int, part: slice) -> tuple[np.ndarray, ...]:
        """A part of an epoch: stored pixels, labels and, if any, brightness factors."""
        if self.plan[0] != epoch:
            self.plan = epoch, epoch_plan(self.protocol, epoch, len(self.labels))
        plan, canvas = self.plan[1], self.protocol.canvas
        order, flip, shift = plan.order[part], plan.flip[part], plan.shift[part]
        images = augment_epoch(self.table, order, flip, shift, canvas)
        factor = (plan.brightness[part],) if self.protocol.brightness else ()
        return images, self.labels[order], *factor


def _scale(images, labels, factor=None):
    images = scale_pixels(images)
    return (images if factor is None else scale_brightness(images, factor)), labels


def validation_arguments(protocol: Protocol, dataset: Dataset) -> dict:
    """Arguments of `fit` for validation on the test images, clean and in their order."""
    images = network_input(dataset.test_images, protocol.canvas)
    labels = dataset.test_labels.astype("int32")
    if keras.backend.backend() != "tensorflow":
        return {"validation_data": (images, labels), "validation_batch_size": EVALUATION_BATCH}
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(EVALUATION_BATCH)
    return {"validation_data": _without_autotuning(batches)}


def _without_autotuning(batches):
    """The same `tf.data.Dataset` without its tuner, which has nothing to tune here.

    With TensorFlow 2.21 an iterator that goes away while the tuner sleeps waits until it wakes: up
    to half of a run's time, in which no processor is used.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
