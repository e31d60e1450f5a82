"""HTML pages that need nothing but themselves: Jinja templates with one look, pictures inside."""

import base64
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """A template of this package, filled in; values are escaped unless they are `Markup`.

    Templates extend `io/page.html`, which has the look that all pages share.

    Args:
        template: its path below `leffa/`, such as "metrics/report.html".

    Raises:
        jinja2.UndefinedError: the template needs a value that was not given.
    """
    return _templates().get_template(template).render(values)


def data_address(picture: bytes, kind: str = "png") -> str:
    """An address that holds a picture file's content: `<img src="...">` without a file."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("leffa", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
