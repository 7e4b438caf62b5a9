"""Keeping TensorFlow's start-up lines out of terminals and notebooks."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard what is written to the stderr descriptor, by C++ code and child processes too.

    TensorFlow 2.21 announces oneDNN and missing GPU drivers on import, before its log level takes
    effect. Python errors are not lost: they are raised when the descriptor is back.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
