"""The two parts of the page that gradio does not have: the mask's brush, and the flow view.

`gr.ImageEditor` (6.31) is no mask editor: it loses a mask that it was given before its canvas stood
at the first stroke, its "Clear" removes the photograph, and each stroke uploads 15 files.
"""

import io
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from leffa.app.inference import Result
from leffa.app.ui_text import PARTS
from leffa.io.pages import data_address
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
        address = picture_address(Image.fromarray(small).convert("L"), "png")
    picture_and_masks = {"picture": picture_address(shown), "mask": address, "automatic": address}
    return picture_and_masks | {"edited": False}


def flow_value(result: Result, text: dict[str, str]) -> dict[str, Any]:
    """What the flow view shows of a finished image."""
    if result.flow is None:
        return {"grid": None, "text": text | {"empty": text["none"]}}
    files = result.picture, result.job.record.reference
    picture, reference = (_shown(open_picture(path)) for path in files)
    gathered = result.flow.gather(reference).resize(picture.size, Image.Resampling.BILINEAR)
    return {
        "result": picture_address(picture),
        "reference": picture_address(reference),
        "gathered": picture_address(gathered),
        "grid": result.flow.packed(),
        "text": text,
    }


def part(name: str) -> str:
    """A file of the folder `parts`."""
    return (PARTS / name).read_text(encoding="utf-8")


def picture_address(picture: Image.Image, kind: str = "jpeg") -> str:
    """The image in the form that a page holds it without a file; PNG has no quality."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=90)
    return data_address(buffer.getvalue(), kind)


def _shown(picture: Image.Image) -> Image.Image:
    copy = picture.copy()
    copy.thumbnail((_MOST_SHOWN, _MOST_SHOWN))
    return copy
