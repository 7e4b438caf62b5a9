"""Records to numbers, claims and the report. Imports no Keras, TensorFlow or JAX.

What the notebooks use is here; the rest is in the modules.
"""

# fmt: off
# ruff: noqa: I001
from ..storage.paths import RESULTS
from .attention import robustness, trained_on_noise
from .runs import (
    RunTable, difference, differences, predictions_of, reported, runs_of, sample, setting_of,
)
from .sentences import answer, claim_text, finding, moved_text
from .tables import (
    controls_table, labels_table, markdown, noise_table, paper_table, scores_table, systems5_table,
    verdict_table,
)

__all__ = [
    "RunTable", "answer", "claim_text", "controls_table", "difference", "differences", "finding",
    "labels_table", "markdown", "moved_text", "noise_table", "paper_table", "predictions_of",
    "read_records", "reported", "robustness", "runs_of", "sample", "scores_table", "setting_of",
    "systems5_table", "trained_on_noise", "verdict_table",
]


def read_records() -> RunTable:
    """The records in the project's `results` folder, indexed."""
    return RunTable.read(RESULTS)
