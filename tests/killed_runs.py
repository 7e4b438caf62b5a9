"""Trains one small run again and again, each time killed by SIGKILL, until its record is there.

    python killed_runs.py RESULTS once          killed halfway through writing the second state
    python killed_runs.py RESULTS writes        killed at every write, sync and rename
    python killed_runs.py RESULTS random N      killed N times at random moments

Prints the number of kills. Each attempt is a fork of a process that has imported TensorFlow but
not used it, which saves the import.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnist_attention import Protocol, train
from mnist_attention.data import Dataset
from small_digits import first_digits

PROTOCOL = Protocol(dataset="uci", epochs=3, learning_rate=0.1, momentum=0.9)


DIGITS = first_digits(230, 40)
"""230 images make two batches of 96 and a smaller one."""


def attempt(results: Path, dataset: Dataset, sabotage: Callable[[], None]) -> bool:
    """Train in a forked process; whether it lived to the end."""
    process = os.fork()
    if process == 0:
        sabotage()
        train(PROTOCOL, dataset=dataset, results=results, verbose=False)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        sys.exit("the run failed by itself")
    return not os.WIFSIGNALED(status)


def kill_at_event(number: int) -> Callable[[], None]:
    """Kill the process at the `number`-th moment before or after it touches a file to be kept."""

    def install() -> None:
        events = iter(range(1, 10**9))

        def event() -> None:
            if next(events) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def watched(function: Callable, when: Callable[..., bool] = lambda *_: True) -> Callable:
            def call(*args, **kwargs):
                if not when(*args):
                    return function(*args, **kwargs)
                event()
                value = function(*args, **kwargs)
                event()
                return value

            return call

        fdopen = os.fdopen

        def half_writing(*args, **kwargs):
            file = fdopen(*args, **kwargs)
            if "b" in args[1]:
                write = file.write

                def write_in_halves(content):
                    middle = len(content) // 2
                    write(content[:middle])
                    file.flush()
                    event()
                    return write(content[middle:])

                return _Written(file, write_in_halves)
            return file

        os.open = watched(os.open, lambda path, *_: str(path).endswith(".tmp"))
        os.fdopen = half_writing
        os.fsync = watched(os.fsync)
        os.replace = watched(os.replace)

    return install


class _Written:
    """A file with another `write`."""

    def __init__(self, file, write):
        self.file, self.write = file, write

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def kill_after(seconds: float) -> Callable[[], None]:
    """Kill the process when `seconds` have passed."""

    def install() -> None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    return install


EVENTS = 9
"""Moments in one atomic write: before and after making the temporary file, halfway through
writing it, before and after the sync, the rename, and the sync of the folder."""


def at_every_write(results: Path, dataset: Dataset) -> int:
    """Kill at each moment of writing a state, then at each of writing the record.

    The kills after a rename leave one more epoch done; as there are three such moments and three
    epochs, the second round meets the record.
    """
    kills = 0
    while not attempt(results, dataset, kill_at_event(kills % EVENTS + 1)):
        kills += 1
    return kills


def once(results: Path, dataset: Dataset) -> int:
    """Kill halfway through writing the second state; the next attempt gets through."""
    kills = 0
    while not attempt(results, dataset, kill_at_event(EVENTS + 3 if kills == 0 else 0)):
        kills += 1
    return kills


def at_random_moments(results: Path, dataset: Dataset, wanted: int) -> int:
    """Kill `wanted` attempts, in a new folder after each run that got through."""
    draw = random.Random(0)
    started = time.perf_counter()
    attempt(results / "timing", dataset, lambda: None)
    whole = time.perf_counter() - started
    kills = number = 0
    while kills < wanted:
        folder = results / f"run{number}"
        if attempt(folder, dataset, kill_after(draw.uniform(0.05, 0.9) * whole)):
            number += 1
        else:
            kills += 1
    attempt(results / f"run{number}", dataset, lambda: None)
    return kills


if __name__ == "__main__":
    np.seterr(all="raise")
    results, how, *rest = sys.argv[1:]
    if how == "once":
        print(once(Path(results), DIGITS))
    elif how == "writes":
        print(at_every_write(Path(results), DIGITS))
    else:
        print(at_random_moments(Path(results), DIGITS, int(rest[0])))
