"""Pages from Jinja templates: self-contained HTML with one look, or other text."""

import base64
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(template: str, **values: Any) -> str:
    """A template of this package, filled in; HTML escapes values unless they are `Markup`.

    Args:
        template: its path below `leffa/`; HTML extends `io/page.html`, the look of all pages.
    """
    return _templates().get_template(template).render(values)


def data_address(picture: bytes, kind: str = "png") -> str:
    """An address that holds an image file's content: `<img src="...">` without a file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("leffa", ""),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
