"""Whether the machine can hold what training takes: else it would die hours later."""

import math
import os


def check_memory(model, protocol, dataset) -> None:
    """Check the memory of the machine against an estimate.

    Args:
        model: The Keras model.
        protocol: Its `momentum`, `batch_size`, `canvas` and `shift` matter.
        dataset: Its training images are held at once.

    Raises:
        MemoryError: with the estimate, if it is more than all memory of the machine.
    """
    try:
        available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # a system that does not tell
        return
    copies = 3 if protocol.momentum else 2  # weights, gradients, momentum
    values = sum(math.prod(layer.output.shape[1:]) for layer in model.layers)
    side = protocol.canvas + 2 * protocol.shift
    table = len(dataset.train_images) * side**2 * dataset.train_images.itemsize
    needed = 4 * (copies * model.count_params() + protocol.batch_size * values) + table
    if needed > available:
        raise MemoryError(
            f"Expected at least {needed / 2**30:.1f} GiB of memory for {protocol.model}: {copies} "
            f"copies of {model.count_params():,} parameters, the feature maps of "
            f"{protocol.batch_size} images, all training images. "
            f"Received: a machine with {available / 2**30:.1f} GiB"
        )
