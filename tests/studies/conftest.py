"""The smoke study as the default engine makes it, and what of its records must be the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_attention.records import read_record, reproducible_text
from mnist_attention.studies.run import run_study


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """The results of the smoke study, finished in two processes."""
    results = tmp_path_factory.mktemp("loky")
    outcome = run_study("smoke", results=results, jobs=2, verbose=False)
    assert (outcome.finished, outcome.failed) == (4, {})
    return results


@pytest.fixture
def texts() -> Callable[[Path], dict[str, str]]:
    """Folder of results -> run id -> what must be the same each time."""
    return lambda results: {
        path.stem: reproducible_text(read_record(path)) for path in results.glob("*/*.json")
    }
