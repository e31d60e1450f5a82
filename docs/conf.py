"""Sphinx makes a site of these pages: `make docs`. Pages of this folder stay plain Markdown.

What only the site has is added to a page as it is read: the sections that `generated.py` makes from
the code, and the menu of the first page.
"""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import generated

import leffa

project, author, version = "Leffa", "The Leffa developers", leffa.__version__
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
html_theme = "furo"  # system fonts; nothing is loaded from elsewhere
html_static_path, html_css_files = ["_static"], ["site.css"]
html_title = f"Leffa {version}"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 4  # as GitHub names them
suppress_warnings = ["misc.highlighting_failure"]  # shell lines, data files
highlight_language = "none"
default_role = "code"  # of docstrings, which are no reStructuredText

nitpicky = True
nitpick_ignore_regex = [
    # Not ours, and their inventories are on the network.
    (r"py:.*", r"(torch|torchmetrics|numpy|PIL|diffusers|pathlib|collections|os|random)\..*"),
    # Inside a model's own package, and what only the package itself calls.
    (r"py:class", r"leffa\.models\.\w+\.\w+\.\w+"),
    (r"py:class", r"leffa\.data\..*\.(DatasetSpec|LatentEncoder|LoaderStage|Packed)"),
    (r"py:class", r"leffa\.models\..*\.(Conditioning|ReferenceTokens|RunMemory)"),
    (r"py:class", r"leffa\.metrics\..*\.(TextLine|View)"),
    (r"py:class", r"(dict|tuple)\[str"),  # Sphinx cuts a type at its comma
]
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False  # not those of Lightning and diffusers
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

STYLE = Config(napoleon_use_rtype=False)  # a shape is no type
PAGES: dict[str, Callable[[], str]] = {
    "reference/cli": generated.commands,
    "reference/config": generated.configuration,
    "reference/experiments": generated.experiments,
    "reference/mask-recipes": generated.mask_recipes,
    "reference/weights": generated.weights,
    "reference/python-api": generated.python_api,
    "README": lambda: "".join(menu(shelf) for shelf in ("Tutorials", *SHELVES)),
}
SHELVES = ("How-to", "Reference", "Explanation")


def menu(shelf: str) -> str:
    """A shelf of the menu: all pages of its folder."""
    folder = shelf.lower()
    first = "how-to/install\n" if shelf == "How-to" else ""
    last = "glossary\n" if shelf == "Explanation" else ""
    options = f":hidden:\n:glob:\n:caption: {shelf}\n"
    return f"\n```{{toctree}}\n{options}\n{first}{folder}/**\n{last}```\n"


def add_generated(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what is made from the code; pages of other folders are offered as files."""
    source[0] = re.sub(r"\]\((?=(?:\.\./)+[\w/.-]+\.md\))", partial(outside, page), source[0])
    if page in PAGES:
        source[0] += "\n" + PAGES[page]()


def outside(page: str, link: re.Match[str]) -> str:
    """The beginning of a link: MyST knows no Markdown outside of this folder, unless told."""
    target = (HERE / page).parent / link.string[link.end() :].partition(")")[0]
    return link[0] if target.resolve().is_relative_to(HERE) else "](path:"


def google_style(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Read sections of a docstring; of an attribute's text napoleon would make a type."""
    if what not in ("attribute", "property", "data"):
        lines[:] = GoogleDocstring(lines, STYLE, app, what, name, thing, options).lines()


def add_index(app: Sphinx, error: Exception | None) -> None:
    """Let index.html lead to the first page."""
    if error is None:
        forward = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        (Path(app.outdir) / "index.html").write_text(forward, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_generated)
    app.connect("autodoc-process-docstring", google_style)
    app.connect("build-finished", add_index)
