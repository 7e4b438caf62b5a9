"""What a record says of the machine that it was made on."""

import os
import platform
import time
from importlib import metadata


def describe_machine(*packages: str) -> dict:
    """Machine, system, versions and time.

    Args:
        *packages: Names of the packages whose versions matter.
    """
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
