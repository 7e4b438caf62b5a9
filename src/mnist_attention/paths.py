"""Where the project keeps its records, weights and figures."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def _folder(name: str) -> Path:
    """`MNIST_ATTENTION_<NAME>` where it is set, else the folder in the project's checkout."""
    return Path(os.environ.get(f"MNIST_ATTENTION_{name.upper()}") or CHECKOUT / name)


RESULTS = _folder("results")
WEIGHTS = _folder("weights")
FIGURES = _folder("figures")
