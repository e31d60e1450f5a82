"""The mask on the page, in a real browser: its preview, and the brush."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .visitor import (
    OF_GRADIO,
    PATIENCE,
    brush,
    canvas_pixels,
    download,
    photo,
    set_steps,
    upload,
    wait_for_status,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow, *OF_GRADIO]


def test_a_photograph_of_ones_own_is_masked_by_brush(
    page: Any, tmp_path: Path, screenshots: Path
) -> None:
    upload(page, "tryon-person", photo(tmp_path / "me.jpg", (300, 400)))
    told = wait_for_status(page, "DensePose map")
    assert "--densepose FILE" in told
    assert "Brush over what is to be repainted" in told
    page.wait_for_function(
        "() => document.querySelector('#tryon-mask canvas').width === 300", timeout=PATIENCE
    )
    before = canvas_pixels(page)
    brush(page, (0.3, 0.5), (0.7, 0.5))
    changed = (canvas_pixels(page) != before).any(axis=-1)
    assert changed[200, 100:200].all()  # along the stroke
    assert not changed[:100].any()
    page.click("#tryon-go")
    assert "DensePose" in wait_for_status(page, "Or tick “Without DensePose”")
    page.check("#tryon-without input")
    set_steps(page, 1)
    page.click("#tryon-go")
    wait_for_status(page, r"^Done in")
    with Image.open(download(page, "png")) as picture:
        made = np.asarray(picture.convert("RGB")).astype(int)
    with Image.open(tmp_path / "me.jpg") as picture:
        given = np.asarray(picture.convert("RGB")).astype(int)
    difference = np.abs(made - given).max(axis=-1)
    assert difference[200, 120:180].mean() > 5
    assert difference[:80].max() == 0  # kept outside the mask
    page.screenshot(path=screenshots / "brush.png", full_page=True)


def test_the_eraser_and_undo_take_paint_away(page: Any) -> None:
    before = canvas_pixels(page)
    page.click("#tryon-mask [data-tool=erase]")
    brush(page, (0.5, 0.6), (0.5, 0.6))
    erased = canvas_pixels(page)
    assert (erased != before).any()
    page.click("#tryon-mask [data-do=undo]")
    assert (canvas_pixels(page) == before).all()
    page.click("#tryon-mask [data-do=clear]")
    assert (canvas_pixels(page) != before).any()
    page.click("#tryon-go")
    wait_for_status(page, "The mask is empty; brush over the area to repaint")
    page.click("#tryon-mask [data-do=reset]")
    page.wait_for_timeout(300)
    assert (canvas_pixels(page) == before).all()


def test_another_example_brings_its_own_mask(page: Any) -> None:
    before = canvas_pixels(page)
    page.click("#tryon-persons button.thumbnail-lg >> nth=0")
    page.wait_for_function(
        """data => { const c = document.querySelector("#tryon-mask canvas");
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        return d[data[0]] !== data[1]; }""",
        arg=[0, int(before[0, 0, 0])],
        timeout=PATIENCE,
    )
    violet = (canvas_pixels(page)[..., 2].astype(int) - canvas_pixels(page)[..., 1]) > 60
    assert violet.mean() > 0.05
