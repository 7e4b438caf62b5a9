"""The smoke study with runs that wait in place of training: processes without TensorFlow.

    python fake_runs.py OPTIONS OF THE COMMAND `study`

A run writes the id of its process to a file in RESULTS/running, and waits for the file
RESULTS/go or RESULTS/go-MODEL.
"""

import os
import sys
import time

import fake_runs
from mnist_attention import cli, load_dataset
from mnist_attention.records import write_if_longer
from mnist_attention.studies import run as studies
from synthetic import make_record


def make_network(protocol, options) -> dict:
    """Wait, then write the record of a run."""
    mark = options.results / "running" / f"{protocol.model}-{protocol.epochs}"
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(str(os.getpid()))
    go = [options.results / name for name in ("go", f"go-{protocol.model}")]
    while not any(path.exists() for path in go):
        time.sleep(0.02)
    record = make_record(digest=load_dataset("uci").digest, **protocol.to_json())
    return write_if_longer(record, options.results, options.study)


if __name__ == "__main__":
    studies.make_network = fake_runs.make_network  # by this name the workers find it
    sys.argv[1:1] = ["study", "smoke"]
    cli.main()
