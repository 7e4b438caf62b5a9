"""Figures of digits and masks: what they show, where they go, and the same bytes every time."""

import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from mnist_attention import figures
from mnist_attention.figures import attention, digits
from mnist_attention.storage import paths


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing is ever written over the committed figures."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    return tmp_path


def make_figures(uci) -> dict[str, Figure]:
    """Every figure of this floor, by name."""
    images, labels = uci.train_images, uci.train_labels
    ten, captions = images[:10], [f"digit {label}" for label in labels[:10]]
    shares = np.full((10, 10), 10.0)
    masks = np.linspace(0, 1, 10 * 28 * 28).reshape(10, 28, 28, 1)
    patch = np.array([[6, 5, 2], [7, 6, 1], [9, 8, 7]])
    weights = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]])
    return {
        "samples": digits.samples(images, labels),
        "pixel_values": digits.pixel_values(images[0]),
        "class_counts": digits.class_counts({"training": np.bincount(labels)}),
        "gallery": digits.gallery(images[:7], captions[:7], columns=4),
        "comparison": digits.comparison({"one": ten, "other": ten[:, :, ::-1]}, captions),
        "look_alikes": digits.look_alikes({"as stored": shares, "mirrored": shares}),
        "worked_pattern": digits.worked_pattern(patch, weights),
        "pattern_image": digits.pattern_image(images[0], images[0], (4, 5)),
        "masks": attention.masks(ten, {"C1": masks[..., 0]}, captions),
        "enlargement": attention.enlargement(
            ten[0], masks[0, :10, :10, 0], masks[0, ..., 0], np.arange(10)
        ),
        "on_and_off_ink": attention.on_and_off_ink({"C1": (masks[0].ravel(), masks[1].ravel())}),
    }


def test_every_figure_is_the_same_byte_for_byte_when_made_again(uci):
    first = {name: figures.save(figure, name) for name, figure in make_figures(uci).items()}
    bytes_before = {name: path.read_bytes() for name, path in first.items()}

    with mpl.rc_context({"font.size": 20, "savefig.dpi": 30, "image.cmap": "jet"}):  # a user's own
        again = {name: figures.save(figure, name) for name, figure in make_figures(uci).items()}

    changed = [name for name, path in again.items() if path.read_bytes() != bytes_before[name]]
    assert changed == []
    assert all(content.startswith(b"\x89PNG") for content in bytes_before.values())
    assert not any(b"Software" in content for content in bytes_before.values())


def test_saving_leaves_a_figure_as_it_was(uci):
    figure = digits.gallery(uci.train_images[:3], ["a", "b", "c"], columns=3)
    plain = figures.save(figure, "plain").read_bytes()

    figures.save(figure, "stamped", banner=uci.banner)

    assert figures.save(figure, "plain").read_bytes() == plain


def test_a_banner_is_stamped_and_goes_to_its_own_folder(folder, uci):
    figure = digits.gallery(uci.train_images[:3], ["a", "b", "c"], columns=3)
    plain = mpl.image.imread(figures.save(figure, "samples"))

    path = figures.save(figure, "samples", banner=uci.banner)

    assert path == folder / "fallback" / "samples.png"
    stamped = mpl.image.imread(path)
    banner_colour = np.array(mpl.colors.to_rgb(figures.COLOURS["vermillion"]))
    assert _share(stamped, banner_colour) > 0.01
    assert _share(plain, banner_colour) == 0


def _share(image: np.ndarray, colour: np.ndarray) -> float:
    return float(np.mean(np.abs(image[..., :3] - colour).max(axis=-1) < 0.01))


def test_a_notebook_shows_the_saved_file_with_its_alternative_text(folder, uci):
    pytest.importorskip("IPython")
    figure = digits.pixel_values(uci.train_images[0])

    image = figures.show(figure, "pixels", alt="A digit.")

    assert image.data == (folder / "pixels.png").read_bytes()
    assert image.alt == "A digit."


def test_figures_load_neither_tensorflow_nor_pyplot():
    code = (
        "import sys, mnist_attention.figures.digits, mnist_attention.figures.attention;"
        "print(*sorted({'keras', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert run.stdout.strip() == ""


def test_the_folder_can_be_redirected(tmp_path):
    code = "from mnist_attention.storage.paths import FIGURES; print(FIGURES)"
    environment = {**os.environ, "MNIST_ATTENTION_FIGURES": str(tmp_path / "elsewhere")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == str(tmp_path / "elsewhere")


def test_all_masks_share_one_scale_and_carry_the_outline_of_the_ink(uci):
    images = uci.test_images[:3]
    weak = np.full((3, 28, 28), 0.2)
    figure = attention.masks(images, {"weak": weak, "strong": 4 * weak}, ["a", "b", "c"])

    maps = figure.axes[3:9]
    assert {panel.images[0].get_clim() for panel in maps} == {(0, 1)}
    assert all(panel.collections for panel in maps)
    assert figure.axes[9].get_ylabel() == "mask value"


def test_the_outline_lies_where_the_ink_begins():
    image = np.zeros((28, 28), np.uint8)
    image[10:20, 5:9] = 255
    _, axes = figures.subplots()
    attention.draw_outline(axes[0, 0], image)

    corners = axes[0, 0].collections[0].get_paths()[0].vertices
    assert corners.min(axis=0) == pytest.approx([4.5, 9.5], abs=0.01)  # column, row
    assert corners.max(axis=0) == pytest.approx([8.5, 19.5], abs=0.01)


def test_the_worked_pattern_adds_up_as_in_the_paper():
    patch = np.array([[6, 5, 2], [7, 6, 1], [9, 8, 7]])
    weights = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]])

    figure = digits.worked_pattern(patch, weights)

    assert figure.get_supxlabel() == "1 + 16 + 32 + 64 + 128 = 241, in binary 11110001"


def test_histograms_are_in_percent_of_their_own_pixels():
    ink, background = np.full(10, 0.9), np.full(1000, 0.1)
    figure = attention.on_and_off_ink({"C1": (ink, background)}, columns=1)
    for steps in figure.axes[0].patches:
        assert steps.get_data().values.sum() == pytest.approx(100)
