"""LeNet-5 with a 1x1-convolution attention mask on MNIST: the layer, the runs, the evidence."""

import importlib
import os
import sys

from .storage.quiet import QuietImport

# TensorFlow reads these when it is imported. 3 hides everything but fatal errors. Left to itself it
# uses oneDNN only on processors with AVX512-VNNI; on the others, too, training is faster with it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_HOME_OF = {
    "AttentionMask1x1": "layers",
    "lenet5": "models.lenet",
    "lenet5_attention": "models.lenet",
    "build_model": "models",
    "MODELS": "models",
    "load_dataset": "data",
    "Protocol": "protocol",
    "PAPER": "protocol",
    "train": "training",
    "augment": "data",
    "epoch_plan": "data",
    "network_input": "data",
    "attention_maps": "probes.masks",
    "load_or_train_briefly": "probes.measure",
}
_SUBPACKAGES = ("evidence", "figures")
__all__ = [*_HOME_OF, *_SUBPACKAGES]
__version__ = "0.1.0"


def __getattr__(name: str):
    """Import a public name on first use, so that reading records never loads TensorFlow."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])


if "keras" in sys.modules:
    from . import layers as layers
else:  # the first import of Keras: no start-up lines of TensorFlow, and saved models find our layer
    register = QuietImport("keras", then=lambda: importlib.import_module(f"{__name__}.layers"))
    sys.meta_path.insert(0, register)
