"""Build the web site from the executed notebooks, README.md, REPORT.md and the docstrings."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from sphinx.cmd.build import build_main

SITE = Path(__file__).resolve().parent
CHECKOUT = SITE.parent
# Raw HTML, as the page is made after Sphinx, which warns of links to what it does not know.
DRAW_LINK = '<a class="draw" href="draw.html">Draw a digit and watch the mask</a>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notebooks", type=Path, default=CHECKOUT / "notebooks")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "build" / "site")
    parser.add_argument("--jobs", default="2")
    options = parser.parse_args()

    notebooks = sorted(options.notebooks.glob("[0-9]*.ipynb"))
    if not notebooks:
        sys.exit(f"Expected executed notebooks in {options.notebooks}. Received: none.")
    for notebook in notebooks:
        require_outputs(notebook)
    work = options.output.with_name(f"{options.output.name}-work")
    for folder in (options.output, work):
        shutil.rmtree(folder, ignore_errors=True)
    collect_sources(notebooks, work / "source")
    sphinx = ["-q", "-W", "--keep-going", "-j", options.jobs, "-c", SITE, "-d", work / "doctrees"]
    failed = build_main([str(value) for value in (*sphinx, work / "source", options.output)])
    if failed:
        sys.exit(failed)
    draw = [sys.executable, SITE / "draw_page.py", "--output", options.output / "draw.html"]
    subprocess.run(draw, check=True)
    print(f"The site starts at {os.path.relpath(options.output / 'index.html')}")


def require_outputs(notebook: Path) -> None:
    """End with one line where a notebook has not been executed."""
    if not any(cell.get("outputs") for cell in nbformat.read(notebook, as_version=4).cells):
        sys.exit(
            f"Expected an executed notebook. Received: {notebook} without outputs. "
            f"Execute it: make notebooks ONLY=notebooks/{notebook.stem}.py"
        )


def collect_sources(notebooks: list[Path], folder: Path) -> None:
    """Copy what becomes a page, laid out as in the checkout, so that relative links hold."""
    parts = {**readme_parts(), "studies": list_of_studies()}
    (folder / "notebooks").mkdir(parents=True)
    for notebook in notebooks:
        shutil.copy(notebook, folder / "notebooks")
    shutil.copytree(CHECKOUT / "figures", folder / "figures")
    (folder / "results").mkdir()
    for name in ("REPORT.md", "CONTRIBUTING.md", "results/PLAN.md"):
        shutil.copy(CHECKOUT / name, folder / name)
    for page in SITE.glob("*.md"):
        text = re.sub("<!-- part: (.+) -->", lambda part: parts[part[1]], page.read_text())
        (folder / page.name).write_text(text)


def readme_parts() -> dict[str, str]:
    """What the landing page takes from the README: name of the part -> Markdown."""
    readme = (CHECKOUT / "README.md").read_text()
    finding = re.search("<!-- finding:begin -->(.+?)<!-- finding:end -->", readme, re.DOTALL)
    figure = re.search(r"!\[[^\n]+\]\(figures/.+?(?=\n#|\n<!--)", readme, re.DOTALL)
    if not (finding and figure):
        sys.exit("Expected README.md with a block `finding` and a figure of the folder figures.")
    return {
        "finding": finding[1],
        "figure": figure[0],
        "notebooks": max(readme.split("\n\n"), key=lambda block: block.count("](notebooks/")),
        "draw": DRAW_LINK,
    }


def list_of_studies() -> str:
    """What `mnist-attention study` prints, columns with two or more spaces between, as a table."""
    command = [sys.executable, "-m", "mnist_attention", "study"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    head, *rows = [re.sub(" {2,}", " | ", line.strip()) for line in printed.splitlines()]
    return "\n".join([head, "| --- | --: | --: | --- |", *rows])


if __name__ == "__main__":
    main()
