"""The README's snippets run, and what it links to is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_layers_snippet_runs_as_printed(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(snippet, {})
    assert "(2, 26, 26, 16) (2, 26, 26, 1)" in snippet
    assert "(2, 26, 26, 1)" in capsys.readouterr().out


def test_everything_it_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_notebook_has_its_line():
    for notebook in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert f"(notebooks/{notebook.name})" in README
