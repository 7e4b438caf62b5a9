"""What the tests of probes share."""

import pytest

from mnist_attention.probes import masks


@pytest.fixture
def two_steps(monkeypatch):
    """Deletion and insertion in two steps, where the areas do not matter."""
    monkeypatch.setattr(masks, "STEPS", 2)
