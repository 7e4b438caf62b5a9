"""Keeping TensorFlow's start-up lines out of terminals and notebooks."""

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys
import threading
from collections.abc import Callable, Iterator

_lock = threading.Lock()
_blocks = 0
_kept: int | None = None


@contextlib.contextmanager
def silence_stderr() -> Iterator[None]:
    """Discard what is written to the stderr descriptor, by C++ code and child processes too.

    TensorFlow 2.21 announces oneDNN and missing GPU drivers on import, before its log level takes
    effect. Python errors are raised when the descriptor is back. Threads may overlap: the last one
    to leave restores it. A process without stderr is left as it is.
    """
    global _blocks, _kept
    with _lock:
        _flush()
        if _blocks == 0:
            _kept = _redirect()
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _flush()
            _blocks -= 1
            if _blocks == 0 and _kept is not None:
                os.dup2(_kept, 2)
                os.close(_kept)


def _flush() -> None:
    # A process without stderr has None; one that closed it, an object that raises.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stderr.flush()


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


class QuietImport(importlib.abc.MetaPathFinder):
    """On `sys.meta_path`: imports the module `name` without its notices, then calls `then`."""

    def __init__(self, name: str, then: Callable[[], object]):
        self.name, self.then = name, then

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module):
                with silence_stderr():
                    execute(module)
                    with contextlib.suppress(RuntimeError):  # another thread is importing it
                        self.then()

            spec.loader.exec_module = execute_quietly
        return spec
