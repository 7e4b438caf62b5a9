"""The README's snippet runs, what it links to is there, and it stays short."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_snippet_prints_what_its_comment_says(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (promised,) = re.findall(r"print\(.+\)  # (.+)", snippet)
    exec(snippet, {})
    assert capsys.readouterr().out == f"{promised}\n"


def test_everything_it_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 10
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        assert not anchor or anchor in headings(ROOT / path), link


def test_the_report_links_to_its_own_headings():
    report = ROOT / "REPORT.md"
    anchors = re.findall(r"\]\(#([^)]+)\)", report.read_text())
    assert anchors
    assert set(anchors) <= headings(report)


def test_every_notebook_has_its_line():
    notebooks = [*(ROOT / "notebooks").glob("[0-9]*.ipynb")]
    assert len(notebooks) == 6
    for notebook in notebooks:
        assert f"(notebooks/{notebook.name})" in README


def test_it_has_at_most_900_words():
    assert len(README.split()) <= 900


def test_the_commands_that_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`?make ([a-z]+)\b", README)) - {"it"}
    assert {"reproduce", "test", "verify", "paper", "site"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_folders_that_it_names_can_be_set(tmp_path):
    variables = re.findall(r"MNIST_ATTENTION_(?:RESULTS|FIGURES|WEIGHTS|CACHE)", README)
    assert len(variables) == 4
    code = (
        "from mnist_attention.storage import mnist, paths\n"
        "print(paths.RESULTS, paths.FIGURES, paths.WEIGHTS, mnist.cache_folder())"
    )
    environment = {**os.environ, **{name: str(tmp_path / name) for name in variables}}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) == {str(tmp_path / name) for name in variables}
