"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def wait_for(condition: Callable, seconds: float = 600):
    """Ask again and again until the answer is true; the answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")
