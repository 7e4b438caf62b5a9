"""What a record says of the machine."""

import os

import pytest

from mnist_attention.storage.machine import describe_device


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system has no affinity")
def test_threads_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7})
    assert describe_device()["threads"] == 3
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    assert describe_device()["threads"] == 2
    for default in ("0", "auto", ""):  # what TensorFlow reads as its default
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", default)
        assert describe_device()["threads"] == 3
