"""Testing the notebooks leaves the committed figures as they are."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Send the figures of a notebook under test to a folder that is thrown away."""
    folder = item.config._tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNIST_ATTENTION_FIGURES", str(folder))
        return (yield)
