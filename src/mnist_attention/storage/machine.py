"""The machine on which a record was made."""

import os
import platform
import time
from importlib import metadata
from pathlib import Path

VECTOR_INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd")
"""Instruction sets that decide which kernels TensorFlow runs, and so a run's last bits."""


def describe_machine(*packages: str) -> dict:
    """Describe the machine, the system, the versions and the time for a record.

    Args:
        *packages: Names of the packages whose versions matter.
    """
    return {
        "machine": platform.machine(),
        **describe_processor(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def describe_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict:
    """The processor's model and its vector instructions, where the system names them."""
    try:
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
    except OSError:  # not Linux
        return {"processor": platform.processor(), "vector_instructions": None}
    facts = {name.strip().lower(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", facts.get("features", "")).split()
    return {
        "processor": facts.get("model name", platform.processor()),
        "vector_instructions": [name for name in VECTOR_INSTRUCTIONS if name in flags],
    }
