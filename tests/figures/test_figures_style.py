"""What all figures share: the same bytes every time, banners, colours, no pyplot."""

import inspect
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from mnist_attention import figures
from mnist_attention.figures import Curve
from mnist_attention.storage import paths


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Nothing is ever written over the committed figures."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    return tmp_path


def make(uci):
    digits = uci.test_images[:3]
    return {
        "grid": figures.image_grid({"a": digits, "b": digits / 255}, masks=["b"], ink=digits),
        "curves": figures.curves({"": {"one": Curve([1, 2], [[0.0, 1.0], [1.0, 2.0]])}}),
        "forest": figures.forest({"": {"row": [1.0, 2.0]}}, title="A message"),
    }


def test_every_figure_is_the_same_byte_for_byte_when_made_again(uci):
    before = {n: figures.save(figure, n).read_bytes() for n, figure in make(uci).items()}
    with mpl.rc_context({"font.size": 20, "image.cmap": "jet", "lines.linewidth": 9}):
        after = {n: figures.save(figure, n).read_bytes() for n, figure in make(uci).items()}
    assert [name for name in before if before[name] != after[name]] == []


def test_a_figure_is_the_same_when_it_is_saved_twice(uci):
    figure = make(uci)["curves"]
    assert figures.save(figure, "a").read_bytes() == figures.save(figure, "b").read_bytes()


def test_a_banner_is_put_above_the_figure_in_a_folder_of_its_own(folder, uci):
    figure = make(uci)["forest"]
    plain, marked = figures.save(figure, "one"), figures.save(figure, "one", "other digits")
    assert (plain, marked) == (folder / "one.png", folder / "fallback" / "one.png")
    with Image.open(plain) as without, Image.open(marked) as under:
        assert without.width == 1245
        assert without.height < under.height
    assert not [text for text in figure.texts if "OTHER" in text.get_text()]


def test_show_returns_the_saved_file_with_its_text(folder, uci):
    image = figures.show(make(uci)["forest"], "one", "a row")
    assert (image.data, image.alt) == ((folder / "one.png").read_bytes(), "a row")
    assert image.width == 830


def test_a_figure_without_a_name_is_shown_but_not_kept(folder, uci):
    assert figures.show(make(uci)["forest"], None, "a row").data
    assert [*folder.iterdir()] == []


def test_no_figure_needs_pyplot():
    sources = Path(figures.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "import matplotlib.pyplot" in path.read_text()] == []


def test_every_figure_is_named_in_the_overview_and_takes_a_title():
    tools = {"Curve", "redraw", "save", "show", "style", "subplots"}
    drawn = {n for n in figures.__all__ if callable(getattr(figures, n))} - tools
    assert sorted(name for name in drawn if name not in figures.__doc__) == []
    for name in drawn:
        assert "title" in inspect.signature(getattr(figures, name)).parameters, name


def test_a_network_has_the_same_colour_everywhere():
    series = {name: Curve([1, 2], [1, 2]) for name in ("third", "LeNet+Attention", "LeNet")}
    colours = [line.get_color() for line in figures.curves({"": series}).axes[0].lines]
    assert colours[1:] == [figures.MASK, figures.PLAIN]
    assert len({*colours}) == 3
