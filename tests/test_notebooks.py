"""The notebooks' two halves agree, and what is committed is a clean, full execution."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from jupytext.cli import jupytext as run_jupytext

from mnist_attention.data import UCI_BANNER

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = [
    "01_look_at_the_data",
    "02_train_lenet_with_attention",
    "03_sweep_hyperparameters",
    "04_see_the_attention",
    "05_is_it_attention",
    "06_does_it_filter_noise",
]


def executed(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(name: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in executed(name).cells if cell.cell_type == "code"]


def test_all_are_found_and_no_other():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("[0-9]*.py")) == NAMES


@pytest.mark.parametrize("newer", ["py", "ipynb"])
@pytest.mark.parametrize("name", NAMES)
def test_jupytext_finds_nothing_to_synchronise(name, newer, tmp_path):
    halves = [tmp_path / f"{name}.{extension}" for extension in ("py", "ipynb")]
    for path in (*halves, tmp_path / "jupytext.toml"):
        shutil.copy(FOLDER / path.name, path)
        os.utime(path, (10, 10))
    os.utime(tmp_path / f"{name}.{newer}", (20, 20))
    before = [path.read_bytes() for path in halves]
    run_jupytext(["--quiet", "--sync", str(halves[0])])
    assert [path.read_bytes() for path in halves] == before, "make notebooks"


@pytest.mark.parametrize("name", NAMES)
def test_it_was_executed_from_top_to_bottom(name):
    counts = [cell.execution_count for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_hold_no_error_no_noise_and_no_stand_in(name):
    outputs = [output for cell in code_cells(name) for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = [str(output.get("data", {}).get("text/markdown")) for output in outputs]
    assert not [text for text in shown if UCI_BANNER in text or "NO TRAINED WEIGHTS" in text]


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_has_a_text_for_those_who_cannot_see_it(name):
    pictures = [
        output.metadata.get("image/png", {})
        for cell in code_cells(name)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    assert all(len(picture.get("alt", "")) > 20 for picture in pictures)


@pytest.mark.parametrize("name", NAMES)
def test_tests_shrink_it_through_its_parameters_cell(name):
    tagged = [cell for cell in code_cells(name) if "parameters" in cell.metadata.get("tags", ())]
    has_mock = [bool(cell.metadata.get("nbmake", {}).get("mock")) for cell in tagged]
    assert has_mock == [True]
