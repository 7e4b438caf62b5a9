"""The web site, built once and read in a browser."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

import mnist_attention
from mnist_attention.storage.record_format import RECORD_KEYS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PHONE = {"width": 390, "height": 844}


def build(output: Path, *options, repository: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "site" / "build.py", "--output", output, *options]
    environment = {**os.environ, "GITHUB_REPOSITORY": repository}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "html"
    built = build(folder, repository="someone/mnist-attention")
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="session")
def pages(site) -> list[str]:
    """Every page, as a path inside the site."""
    found = [str(path.relative_to(site)) for path in site.rglob("*.html")]
    return sorted(path for path in found if not path.startswith("_static/"))


@pytest.fixture(scope="session")
def address(site, request) -> Iterator[str]:
    """Where the site is served: over http, or as files."""
    if request.param == "file":
        yield site.as_uri()
        return
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


def visible_text(path: Path) -> str:
    html = re.sub(r"<(script|style).*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return " ".join(re.sub("<[^>]+>", "", html).split())


def test_all_is_there(pages):
    fixed = {"index.html", "REPORT.html", "api.html", "studies.html", "CONTRIBUTING.html"}
    assert fixed | {f"notebooks/{path.stem}.html" for path in NOTEBOOKS} <= set(pages)


def report_failure(request, faults: list[str]) -> None:
    """Note a request that failed; not one that the next page cut short, as the favicon's may be."""
    if request.failure != "net::ERR_ABORTED":
        faults.append(f"failed: {request.url} ({request.failure})")


@pytest.mark.parametrize("address", ["http", "file"], indirect=True)
def test_crawl_finds_no_broken_link_no_request_outside_and_no_error(address, site, pages, page):
    faults, requests, links, ids = [], [], [], {}
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: report_failure(request, faults))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    for name in pages:
        page.goto(f"{address}/{name}")
        faults += page.eval_on_selector_all(
            "main img", "images => images.filter(i => !i.naturalWidth).map(i => i.src)"
        )
        ids[name] = page.eval_on_selector_all("[id]", "found => found.map(e => e.id)")
        links += page.eval_on_selector_all("a[href]", "found => found.map(a => a.href)")
    assert faults == []
    assert len(requests) > len(pages)
    assert [url for url in requests if not url.startswith((address, "data:"))] == []
    inside = {link for link in links if link.startswith((address, "file:"))}
    assert len(inside) > 10 * len(pages)
    for link in sorted(inside):
        url, fragment = urldefrag(link)
        name = url.removeprefix(f"{address}/")
        assert (site / name).is_file(), link
        assert not fragment or fragment in ids[name], link


@pytest.mark.parametrize("address", ["file"], indirect=True)
def test_no_page_scrolls_sideways_on_a_phone(address, pages, browser):
    phone = browser.new_page(viewport=PHONE)
    widths = {}
    for name in pages:
        phone.goto(f"{address}/{name}")
        widths[name] = phone.evaluate("document.documentElement.scrollWidth")
    phone.close()
    assert {name: width for name, width in widths.items() if width > PHONE["width"]} == {}


@pytest.mark.parametrize("address", ["file"], indirect=True)
def test_every_picture_has_its_alt_text(address, pages, page):
    for name in pages:
        page.goto(f"{address}/{name}")
        alts = page.eval_on_selector_all("img", "images => images.map(i => i.alt)")
        assert all(len(alt) > 20 for alt in alts), name
        notebook = ROOT / Path(name).with_suffix(".ipynb")
        if notebook in NOTEBOOKS:
            assert alts == notebook_alts(notebook)


def notebook_alts(path: Path) -> list[str]:
    return [
        output.metadata["image/png"]["alt"]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]


@pytest.mark.parametrize("address", ["file"], indirect=True)
def test_search_finds_a_word_from_files(address, site, page):
    assert (site / "searchindex.js").stat().st_size > 10_000
    page.goto(f"{address}/search.html?q=squeeze")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    assert any("api.html" in link for link in found)


@pytest.mark.parametrize("address", ["file"], indirect=True)
def test_axe_finds_no_violation(address, pages, page):
    found = {}
    for name in pages:
        page.goto(f"{address}/{name}")
        for violation in Axe().run(page).response["violations"]:
            nodes = [node["html"][:200] for node in violation["nodes"]]
            found.setdefault(violation["id"], {})[name] = nodes
    assert found == {}


def test_api_shows_signatures_of_init_and_every_public_name(site):
    html = (site / "api.html").read_text()
    layer = re.search(r'<dt[^>]*id="mnist_attention.AttentionMask1x1">.*?</dt>', html, re.DOTALL)
    signature = re.sub("<[^>]+>", "", layer[0])
    assert "mask_channels: int | None = 1, activation: str = 'sigmoid'" in signature
    assert "args" not in signature.replace("kwargs", "")
    names = [f"mnist_attention.{name}" for name in mnist_attention.__all__]
    assert [name for name in names if f'id="{name}"' not in html] == []
    assert [key for key in RECORD_KEYS if f'<span class="pre">{key}</span>' not in html] == []


def test_docstrings_come_out_as_markdown(site):
    text = visible_text(site / "api.html")
    assert "](http" not in text
    assert "`" not in text
    assert {"Call arguments", "Output shape", "Reference"} <= set(
        re.findall("Call arguments|Output shape|Reference", text)
    )
    assert "mirror each training image with probability 1/2" in text  # a field of Protocol


def test_formulas_are_mathml(site):
    notebook = site / "notebooks" / "02_train_lenet_with_attention.html"
    assert "<math" in notebook.read_text()
    assert "$" not in re.sub("<pre.*?</pre>", "", notebook.read_text(), flags=re.DOTALL)


def test_landing_page_has_the_finding_as_generated(site):
    readme = (ROOT / "README.md").read_text()
    finding = re.search("finding:begin -->(.*?)<!--", readme, re.DOTALL)[1].replace("**", "")
    numbers = re.findall(r"[-+]?\d+\.\d+", finding)
    text = visible_text(site / "index.html")
    assert numbers
    assert [number for number in numbers if number not in text] == []


def test_links_to_files_without_a_page_lead_to_the_repository(site):
    report = (site / "REPORT.html").read_text()
    assert 'href="https://github.com/someone/mnist-attention/blob/main/results"' in report
    assert 'href="notebooks/06_does_it_filter_noise.html"' in report


def test_links_to_files_are_text_where_no_repository_is_known(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("[home](../README.md), [law](../LICENSE)"))
    nbformat.write(notebook, folder / NOTEBOOKS[0].name)
    built = build(tmp_path / "html", "--notebooks", folder)
    assert built.returncode == 0, built.stderr
    assert "blob/main" not in (tmp_path / "html" / "REPORT.html").read_text()
    html = (tmp_path / "html" / "notebooks" / f"{NOTEBOOKS[0].stem}.html").read_text()
    (line,) = re.findall("<p>(.*?law.*?)</p>", html)
    assert 'href="../index.html"' in line
    assert line.count("href") == 1


def test_a_notebook_without_outputs_is_refused(tmp_path):
    folder = tmp_path / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder)
    bare = folder / NOTEBOOKS[1].name
    notebook = nbformat.read(bare, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbformat.write(notebook, bare)
    refused = build(tmp_path / "html", "--notebooks", folder)
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert bare.name in line
    assert f"make notebooks ONLY=notebooks/{bare.stem}.py" in line
    assert not (tmp_path / "html").exists()


def test_no_notebooks_at_all_are_refused(tmp_path):
    refused = build(tmp_path / "html", "--notebooks", tmp_path)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
