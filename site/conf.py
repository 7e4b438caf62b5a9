"""Sphinx's settings for the web site. `site/build.py` collects the sources and calls Sphinx."""

import base64
import dataclasses
import hashlib
import inspect
import os
import re
import typing
from pathlib import Path

import latex2mathml.converter
import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.util.inspect import stringify_signature

import mnist_attention

CHECKOUT = Path(__file__).resolve().parents[1]

project = "mnist-attention"
html_title = project
author = project_copyright = "the mnist-attention developers"
version = release = mnist_attention.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.githubpages",  # a folder that begins with an underscore is served, too
]

# Pages and notebooks
myst_enable_extensions = ["alert", "dollarmath", "html_image"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # the default knows no tables

# Docstrings, which are Markdown
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # paths as the code writes them, not as this machine has them
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Reference",
]

# Looks
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "navbar_persistent": [],  # the sidebar has a field for the search already
    "footer_content_items": ["copyright.html"],
}
html_context = {"default_mode": "auto"}
html_sidebars = {"**": ["home.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/favicon.svg"
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_math_renderer = "mathml"

# Links to files that have no page lead to the repository where its address is known.
REPOSITORY = os.environ.get("GITHUB_REPOSITORY")
SERVER = os.environ.get("GITHUB_SERVER_URL", "https://github.com")


def setup(app):
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-signature", read_init)
    app.connect("autodoc-process-docstring", docstring_to_rst, priority=400)  # before napoleon
    app.connect("doctree-read", mend_outputs)
    app.connect("doctree-read", resolve_links_to_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def inline_mathml(translator, node):
    translator.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def block_mathml(translator, node):
    mathml = latex2mathml.converter.convert(node.astext(), display="block")
    translator.body.append(f'<div class="pst-scrollable-table-container">{mathml}</div>')
    raise nodes.SkipNode


def mend_outputs(app, doctree):
    """Give pictures the alt texts that MyST-NB drops. It names files by the hash of their bytes."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    alts = {}
    for cell in nbformat.read(source, as_version=4).cells:
        for output in cell.get("outputs", ()):
            if picture := output.get("data", {}).get("image/png"):
                name = hashlib.sha256(base64.b64decode(picture)).hexdigest()
                alts[name] = output.metadata.get("image/png", {}).get("alt", "")
    for image in doctree.findall(nodes.image):
        image.setdefault("alt", alts.get(Path(image["uri"]).stem, ""))
    for html in doctree.findall(nodes.raw):  # the corner of a table of pandas heads nothing
        text = html.astext().replace("<th></th>", "<td></td>")
        html.clear()
        html += nodes.Text(text)


def resolve_links_to_files(app, doctree):
    """Links to files that are in the checkout and have no page: to the repository, or text."""
    folder = Path(app.env.docname).parent
    for link in list(doctree.findall(addnodes.pending_xref)):
        path = os.path.normpath(folder / link["reftarget"].partition("#")[0])
        if link["reftype"] != "myst" or link["refdomain"] or path.startswith(".."):
            continue
        if path == "README.md":
            link["refdomain"], link["reftarget"], link["reftargetid"] = "doc", "index", None
        elif (CHECKOUT / path).exists() and link["reftarget"]:
            text = link.children
            if REPOSITORY:
                address = f"{SERVER}/{REPOSITORY}/blob/main/{path}"
                text = [nodes.reference("", "", *text, refuri=address)]
            link.replace_self(text)


def read_init(app, what, name, obj, *args):
    """Keras's layers show `(*args, **kwargs)`, and annotated fields would repeat their texts."""
    if not inspect.isclass(obj):
        return None
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    if field_texts(obj):
        parameters = [parameter.replace(annotation=parameter.empty) for parameter in parameters]
    return stringify_signature(inspect.Signature(parameters)), None


def field_texts(obj) -> dict[str, str]:
    """Field of a dataclass -> the text that is its annotation, and the names that it may be."""
    texts = {}
    if inspect.isclass(obj) and dataclasses.is_dataclass(obj):
        for field, hint in typing.get_type_hints(obj, include_extras=True).items():
            if typing.get_origin(hint) is typing.Annotated:
                names = [name for name in typing.get_args(hint.__origin__) if isinstance(name, str)]
                choices = ": " + ", ".join(f"`{name}`" for name in names) if names else ""
                texts[field] = hint.__metadata__[0] + choices
    return texts


def docstring_to_rst(app, what, name, obj, options, lines):
    """Add the texts of fields, and rewrite what Markdown writes otherwise than reST."""
    if fields := field_texts(obj):
        lines += ["Args:", *(f"    {field}: {text}." for field, text in fields.items()), ""]
    text = "\n".join(lines)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r"`\1 <\2>`__", text)  # links
    text = re.sub(r"(?m)^(\S.*\n)\n(?=    \S)", r"\1\n::\n\n", text)  # indented code
    lines[:] = text.splitlines()
