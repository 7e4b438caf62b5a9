"""Where the project keeps its records, weights and figures."""

import contextlib
import os
from pathlib import Path


def user_path(path: str | os.PathLike, variable: str = "HOME") -> Path:
    """Expand `~` and `~user`, also where no shell has done it: `--results=~/runs`.

    If there is no such home folder, the OSError names `variable`, which moves the folder.
    """
    expanded = os.path.expanduser(os.fspath(path))
    if expanded.startswith("~"):
        raise OSError(
            f"Expected a path in a home folder that exists. Received: {os.fspath(path)!r}. "
            f"Give the full path, or set {variable}."
        )
    return Path(expanded)


def _is_checkout(folder: Path) -> bool:
    """Whether this is our project and not another one that has a copy of the package."""
    with contextlib.suppress(OSError, ValueError):
        return '\nname = "mnist-attention"\n' in (folder / "pyproject.toml").read_text("utf-8")
    return False


def _folder(name: str) -> Path:
    variable = f"MNIST_ATTENTION_{name.upper()}"
    return user_path(os.environ.get(variable) or CHECKOUT / name, variable)


_ABOVE_PACKAGE = Path(__file__).resolve().parents[3]

CHECKOUT = _ABOVE_PACKAGE if _is_checkout(_ABOVE_PACKAGE) else Path.cwd()
"""The project's checkout; the working folder where the package is installed without one."""

RESULTS = _folder("results")
WEIGHTS = _folder("weights")
FIGURES = _folder("figures")
"""The folder in the checkout, or the one that `MNIST_ATTENTION_RESULTS` (...) names."""
