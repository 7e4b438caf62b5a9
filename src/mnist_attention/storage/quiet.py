"""Keeping TensorFlow's start-up lines out of terminals and notebooks."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_blocks = 0
_kept: int | None = None


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard what is written to the stderr descriptor, by C++ code and child processes too.

    TensorFlow 2.21 announces oneDNN and missing GPU drivers on import, before its log level takes
    effect. Python errors are not lost: they are raised when the descriptor is back. Threads may
    overlap: the last one to leave restores it. A process without stderr is left as it is.
    """
    _count_blocks(+1)
    try:
        yield
    finally:
        _count_blocks(-1)


def _count_blocks(step: int) -> None:
    global _blocks, _kept
    with _lock:
        with contextlib.suppress(OSError, ValueError):  # of a stderr that was closed
            if sys.stderr is not None:
                sys.stderr.flush()
        _blocks += step
        if (_blocks, step) == (1, +1):
            _kept = _redirect()
        elif _blocks == 0 and _kept is not None:
            os.dup2(_kept, 2)
            os.close(_kept)


def _redirect() -> int | None:
    """Point the descriptor at nothing. Returns a copy of it, or `None` if it is closed."""
    if sys.__stderr__ is None:  # closed at the start: number 2 may be a file of the user's by now
        return None
    try:
        kept = os.dup(2)
    except OSError:
        return None
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    return kept
