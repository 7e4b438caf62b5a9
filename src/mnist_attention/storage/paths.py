"""Where the project keeps its records, weights and figures."""

import os
from pathlib import Path

_HOME = Path(__file__).resolve().parents[3]

CHECKOUT = _HOME if (_HOME / "pyproject.toml").is_file() else Path.cwd()
"""The project's checkout; the working folder where the package is installed without one."""


def _folder(name: str) -> Path:
    """`MNIST_ATTENTION_<NAME>` where it is set, else the folder in the project's checkout."""
    return Path(os.environ.get(f"MNIST_ATTENTION_{name.upper()}") or CHECKOUT / name)


RESULTS = _folder("results")
WEIGHTS = _folder("weights")
FIGURES = _folder("figures")
