"""The command line, as a user types it."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

import mnist_attention
from mnist_attention import cli
from mnist_attention.records import read_record
from mnist_attention.studies.catalogue import STUDIES
from mnist_attention.studies.run import StudyResult

COMMANDS = ("data", "train", "study", "merge", "measure", "report", "bench")


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mnist_attention", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there(command):
    result = CliRunner().invoke(cli.commands, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    for name in ("DATA", "CACHE", "RESULTS", "FIGURES", "WEIGHTS"):
        assert f"MNIST_ATTENTION_{name} " in result.output


def test_a_version_needs_no_installation(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: pytest.fail("asked for metadata"))
    result = CliRunner().invoke(cli.commands, ["--version"])
    assert (result.exit_code, result.output) == (
        0,
        f"mnist-attention, version {mnist_attention.__version__}\n",
    )


@pytest.mark.parametrize("option", ["--results=~/r2", "--results=~nobody-here/r2"])
def test_a_home_folder_is_expanded(option, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.commands, ["merge", str(tmp_path), option])
    expanded = "nobody" not in option
    assert result.exit_code == (0 if expanded else 2), result.output
    assert (tmp_path / "r2").is_dir() == expanded
    assert "nobody-here" in result.output or expanded
    assert not [*tmp_path.glob("~*")]


def test_help_lists_every_command_and_is_quick_to_come_by():
    result = run("--help")
    assert result.returncode == 0
    assert all(command in result.stdout for command in COMMANDS)
    script = "import sys; from mnist_attention import cli; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_train_writes_a_record_where_it_says(tmp_path):
    options = "--dataset uci --model lenet5 --epochs 2 --batch-size 64 --learning-rate 0.1 --seed 3"
    result = run("train", *options.split(), "--results", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("single/*.json")
    assert str(path) in result.stdout
    record = read_record(path)
    assert f"{record['result']['test_accuracy']:.2%}" in result.stdout
    assert record["protocol"]["batch_size"] == 64
    assert record["protocol"]["seed"] == 3
    assert "lenet5, seed 3: 100%" in result.stderr  # the progress bar
    assert "oneDNN" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --epochs 0", "Expected epochs to be at least 1. Received: epochs=0"),
        ("train --learning-rate -1", "Received: learning_rate=-1.0"),
        ("train --model lenet6", "'lenet6' is not one of"),
        ("train --mask-channels 2", "mask_channels=2"),
        ("train --mask-channels many", "Expected 1 or none. Received: 'many'"),
        ("train --dataset uci --batch-size 2000", "Received: batch_size=2000"),
        ("train --dataset uci --results FILE", "FILE"),
        ("study nonsense", "Expected a study among table1"),
        ("study smoke --engine slurm", "Expected engine among loky, dask, ray, lanes"),
        ("study smoke --seeds 0", "Expected at least one seed"),
        ("study zoo --models alexnet,lenet6", "Received: 'lenet6'"),
        ("study smoke --deadline 0", "Received: deadline_minutes=0"),
        ("merge nowhere", "'nowhere' does not exist"),
        ("data --dataset cifar", "'cifar' is not one of"),
        ("bench nonsense", "'nonsense' is not one of"),
    ],
)
def test_bad_input_ends_with_two_and_one_clear_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    blocked = tmp_path / "file"
    blocked.write_text("")
    words = [word.replace("FILE", str(blocked / "results")) for word in arguments.split()]
    monkeypatch.setattr(sys, "argv", ["mnist-attention", *words])
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main()
    assert message.replace("FILE", str(blocked)) in capsys.readouterr().err


def test_the_options_of_a_study_arrive(monkeypatch, tmp_path):
    arrived = {}

    def run_study(name, **options):
        arrived.update(options, name=name)
        return StudyResult(finished=1, failed={}, unfinished=2)

    monkeypatch.setattr("mnist_attention.studies.run.run_study", run_study)
    words = "--first-seed 3 --models alexnet,vgg16 --deadline 8.5 --lowering patches"
    words += f" --checkpoint-every 20 --engine lanes --results {tmp_path}"
    result = CliRunner().invoke(cli.commands, ["study", "zoo", *words.split()])
    assert result.exit_code == cli.UNFINISHED
    assert "stopped by the deadline: 2 runs" in result.output
    assert arrived == {
        **{"name": "zoo", "results": tmp_path, "engine": "lanes", "seeds": 1, "first_seed": 3},
        **{"models": ("alexnet", "vgg16"), "deadline_minutes": 8.5, "lowering": "patches"},
        **{"checkpoint_every": 20, "jobs": None, "epochs": None, "budget_minutes": None},
    }


def test_data_says_what_and_where():
    result = run("data", "--dataset", "uci")
    assert result.returncode == 0
    assert "1,437 training, 360 test" in result.stdout


def test_data_names_the_folder_of_the_users_also_without_a_home(monkeypatch, tmp_path, small):
    content = dict.fromkeys(("train_images", "test_images"), small.train_images)
    content |= dict.fromkeys(("train_labels", "test_labels"), small.train_labels)
    monkeypatch.setattr("mnist_attention.data.load_mnist", lambda: content)
    monkeypatch.setenv("MNIST_ATTENTION_DATA", str(tmp_path))
    for name in ("MNIST_ATTENTION_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")
    result = CliRunner().invoke(cli.commands, ["data"])
    assert result.exit_code == 0, result.output
    assert result.output.endswith(f"place     {tmp_path}\n")


def test_mask_channels_may_be_none(tmp_path):
    options = "--dataset uci --epochs 1 --mask-channels none --no-flip --shift 0"
    command = ["train", *options.split(), "--results", str(tmp_path)]
    result = CliRunner().invoke(cli.commands, command)
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("single/*.json")
    protocol = read_record(path)["protocol"]
    assert (protocol["mask_channels"], protocol["flip"], protocol["shift"]) == (None, False, 0)


def test_study_without_a_name_lists_the_studies():
    result = CliRunner().invoke(cli.commands, ["study"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines()}
    assert [*lines] == ["study", *STUDIES]
    assert lines["table4"].split()[1:3] == ["3", "150"]  # one trajectory
    assert lines["lenets"].endswith(STUDIES["lenets"].question)


def test_benchmarks_are_there():
    folder = Path(__file__).parents[1] / "benchmarks"
    assert {path.stem for path in folder.glob("*.py")} == set(cli.BENCHMARKS)
