"""Pages that need nothing but themselves: templates with one look, pictures inside."""

import base64
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template


def fill(package: str, **parts: str) -> str:
    """The `report.html` of a package with its `$names` filled in.

    `$style` is the look that all pages share; a page's own rules come after it.

    Args:
        package: such as "leffa.metrics".
        parts: HTML, escaped already.
    """
    template = files(package).joinpath("report.html").read_text(encoding="utf-8")
    style = files("leffa").joinpath("page.css").read_text(encoding="utf-8")
    return Template(template).substitute(parts, style=style)


def data_address(picture: bytes, kind: str = "png") -> str:
    """An address that holds a picture file's content: `<img src="...">` without a file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def description_list(facts: Mapping[str, object]) -> str:
    """Keys and values as `<dl>`."""
    rows = (f"<dt>{escape(key)}</dt><dd>{escape(str(fact))}</dd>" for key, fact in facts.items())
    return f"<dl>{''.join(rows)}</dl>"
