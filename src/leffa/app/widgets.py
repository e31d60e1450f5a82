"""The two parts of the page that gradio does not have: the mask's brush, and the flow view.

`gr.ImageEditor` (6.31) is no mask editor: it loses a mask that it was given before its canvas stood
at the first stroke, its "Clear" removes the photograph, and each stroke uploads 15 files.
"""

import base64
import io
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from leffa.app.inference import Result
from leffa.app.ui_text import PARTS
from leffa.io.pictures import open_picture

_MOST_SHOWN = 640  # pixels along a side: what the page shows of a photograph


def widget(name: str, elem_id: str, value: dict[str, Any] | None = None) -> gr.HTML:
    """ "mask_editor" or "flow_view"; its value is made by `editor_value` or `flow_value`."""
    return gr.HTML(
        value=value,
        html_template=part(f"{name}.html"),
        css_template=part(f"{name}.css"),
        js_on_load=part(f"{name}.js"),
        elem_id=elem_id,
    )


def editor_value(picture: Image.Image, mask: Image.Image | None) -> dict[str, Any]:
    """What the brush works on: a smaller copy of the photograph, and its mask."""
    shown = _shown(picture)
    address = None
    if mask is not None:
        small = np.asarray(mask.convert("L").resize(shown.size, Image.Resampling.BILINEAR)) >= 128
        address = data_address(Image.fromarray(small).convert("L"), "PNG")
    pictures = {"picture": data_address(shown, "JPEG"), "mask": address, "automatic": address}
    return pictures | {"edited": False}


def flow_value(result: Result, text: dict[str, str]) -> dict[str, Any]:
    """What the flow view shows of a finished picture."""
    if result.flow is None:
        return {"grid": None, "text": text | {"empty": text["none"]}}
    files = result.picture, result.job.record.reference
    picture, reference = (_shown(open_picture(path)) for path in files)
    gathered = result.flow.gather(reference).resize(picture.size, Image.Resampling.BILINEAR)
    return {
        "result": data_address(picture, "JPEG"),
        "reference": data_address(reference, "JPEG"),
        "gathered": data_address(gathered, "JPEG"),
        "grid": result.flow.packed(),
        "text": text,
    }


def part(name: str) -> str:
    """A file of the folder `parts`."""
    return (PARTS / name).read_text(encoding="utf-8")


def data_address(picture: Image.Image, kind: str) -> str:
    """The picture in the form that a page holds it without a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    content = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{content}"


def _shown(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.thumbnail((_MOST_SHOWN, _MOST_SHOWN))
    return copy
