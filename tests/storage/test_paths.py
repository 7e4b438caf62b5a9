"""Folders: whose home, whose project."""

import runpy
import shutil
from pathlib import Path

import pytest

from mnist_attention.storage import paths
from mnist_attention.storage.paths import CHECKOUT, user_path


@pytest.mark.parametrize("path", ["~/r2", Path("~/r2")])
def test_the_home_folder_is_expanded(path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert user_path(path) == Path("/home/of/mine/r2")


@pytest.mark.parametrize("path", ["results", "/tmp/~", "./~", "a~b"])
def test_other_paths_stay_as_they_are(path):
    assert user_path(path) == Path(path)


def test_a_home_folder_that_is_not_there_is_refused():
    with pytest.raises(OSError, match=r"Received: '~nobody-of-this-name/x'.*set MINE"):
        user_path("~nobody-of-this-name/x", "MINE")


@pytest.mark.parametrize("name", ["RESULTS", "WEIGHTS", "FIGURES"])
def test_variables_move_the_folders(name, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/mine")
    monkeypatch.setenv(f"MNIST_ATTENTION_{name}", "~/there")
    assert runpy.run_path(paths.__file__)[name] == Path("/home/of/mine/there")


@pytest.mark.parametrize(
    "project",
    [
        b'[project]\nname = "another"\n',
        b"[tool.ruff]\n",
        b'project = "mnist-attention"\n',
        b"not = = toml",
        b"\xff\xfe",
        None,
    ],
)
def test_another_project_above_an_installed_copy_gets_no_records(project, tmp_path, monkeypatch):
    for name in ("RESULTS", "WEIGHTS", "FIGURES"):
        monkeypatch.delenv(f"MNIST_ATTENTION_{name}", raising=False)
    assert runpy.run_path(paths.__file__)["RESULTS"] == CHECKOUT / "results"
    installed = tmp_path / "src" / "mnist_attention" / "storage"
    installed.mkdir(parents=True)
    copy = shutil.copy(paths.__file__, installed)
    if project:
        (tmp_path / "pyproject.toml").write_bytes(project)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert runpy.run_path(copy)["RESULTS"] == here / "results"
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    assert runpy.run_path(copy)["RESULTS"] == tmp_path / "results"
