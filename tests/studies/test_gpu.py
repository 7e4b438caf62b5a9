"""The order of runs for a GPU, rehearsed with tiny networks on a CPU, without TensorFlow."""

import os
import subprocess
import sys
import tarfile

import pytest
from click.testing import CliRunner

import zoo_runs
from mnist_attention.records import read_records
from mnist_attention.studies import gpu
from mnist_attention.studies.catalogue import study_protocols
from mnist_attention.studies.run import StudyResult

BLOCKER = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("No module named 'tensorflow'", name=name)

sys.meta_path.insert(0, Finder())
"""


def test_every_call_of_the_order_has_runs():
    for call in gpu.ORDER:
        chosen = {name: value for name, value in call.items() if name in ("name", "seeds")}
        assert study_protocols(**chosen, models=call.get("models", ()))


def test_a_benchmark_that_fails_is_no_reason_to_call_again(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "run_study", lambda **_: StudyResult(finished=1, failed={}))
    monkeypatch.setattr(gpu, "BENCHMARK", ("--no-such-option",))
    for name in ("KERAS_BACKEND", "JAX_COMPILATION_CACHE_DIR", "JAX_DEFAULT_MATMUL_PRECISION"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # so that they are put back
    result = CliRunner().invoke(gpu.main, [str(tmp_path)])
    assert result.exit_code == 1
    assert "failed: " in result.output
    assert result.output.endswith("done\n")


@pytest.mark.slow
def test_the_order_for_a_gpu_is_resumable_and_packs_its_records(tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    folder = tmp_path / "gpu"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}

    def part(minutes: float) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, zoo_runs.__file__, folder, "gpu", str(minutes)],
            env=inherited | {"PYTHONPATH": path, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
        )

    first = part(0.1)
    assert first.returncode == gpu.UNFINISHED, first.stderr
    assert "unfinished: the same call goes on" in first.stdout
    runs = [part(30)]
    while runs[-1].returncode == gpu.UNFINISHED and len(runs) < 3:
        runs.append(part(30))
    assert runs[-1].returncode == 0, runs[-1].stderr
    assert runs[-1].stdout.endswith("done\n")
    records, problems = read_records(folder / "results")
    assert problems == []
    assert {record["environment"]["engine"] for record in records} == {"lanes"}
    assert {"alexnet", "resnet50", "vgg16", "resnet18", "lenet5", "lenet5_attention"} == {
        record["protocol"]["model"] for record in records
    }
    with tarfile.open(folder / "records.tar.gz") as archive:
        names = archive.getnames()
    assert sum(name.startswith("results/") for name in names) >= len(records)
    assert "lanes.txt" in names
    assert not any(".checkpoints" in name for name in names)
    assert "patches" in (folder / "lanes.txt").read_text()
