"""Testing the notebooks leaves the committed figures as they are."""

import tempfile

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Send the figures of a notebook under test to a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_ATTENTION_FIGURES", folder)
        return (yield)
