"""The machine on which a run is made: what a record says of it, and whether its memory will do."""

import math
import os
import platform
import time
from importlib import metadata
from pathlib import Path

VECTOR_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd")
"""Instruction sets that decide which kernels TensorFlow runs, and so a run's last bits."""


def describe_environment(seconds: list[float], train_size: int, **engine) -> dict:
    """The `environment` of a network's record: all that may differ from run to run.

    `seconds` is the training time of each epoch, `train_size` the images in one; `engine` is what
    the engine knows of itself: `engine`, `device`, `threads`.
    """
    import keras

    backend = keras.backend.backend()
    packages = ("keras", backend, *(("jaxlib",) if backend == "jax" else ()), "numpy")
    return {
        **engine,
        "backend": backend,
        **describe_machine(*packages),
        "epoch_seconds": seconds,
        "images_per_second": round(train_size * len(seconds) / sum(seconds), 1),
    }


def usable_cores() -> int:
    """Cores that this process may run on, as `taskset` or a scheduler leaves them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def wanted_threads(variable: str) -> int:
    """The number in an environment variable; with 0, or no number, one for each usable core."""
    wanted = os.environ.get(variable, "")
    return int(wanted if wanted.isdecimal() else 0) or usable_cores()


def describe_device() -> dict:
    """What Keras trains on: "cpu" or "gpu", and how many threads feed it."""
    import keras

    threads = wanted_threads("TF_NUM_INTRAOP_THREADS")
    if keras.backend.backend() == "torch":  # Keras lists no devices of it
        import torch

        has_gpu = torch.cuda.is_available()
    else:
        has_gpu = any(device.startswith("gpu") for device in keras.distribution.list_devices())
    return {"device": "gpu" if has_gpu else "cpu", "threads": threads}


def describe_machine(*packages: str) -> dict:
    """The machine, the system, the versions of `packages` and the time."""
    return {
        "machine": platform.machine(),
        **describe_processor(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def describe_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict:
    """The processor's model and its vector instructions, where the system names them."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    except OSError:  # not Linux
        return {"processor": platform.processor(), "vector_instructions": None}
    facts = {name.strip().lower(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", facts.get("features", "")).split()
    return {
        "processor": facts.get("model name", platform.processor()),
        "vector_instructions": [name for name in VECTOR_INSTRUCTIONS if name in flags],
    }


def check_memory(model, protocol, dataset) -> None:
    """Raise MemoryError, with an estimate, if training `model` takes more than all memory."""
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
