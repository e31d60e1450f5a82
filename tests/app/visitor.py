"""What a visitor does on the page, for the tests in a browser."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PATIENCE = 120_000  # milliseconds: the machine may be busy

# Gradio's own: sockets and event loops that it leaves open, and how it uses pandas.
OF_GRADIO = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in ("unclosed", ".*no_silent_downcasting", "The copy keyword")
] + [pytest.mark.usefixtures("sweep")]


def set_steps(page: Any, steps: int, task: str = "tryon") -> None:
    field = page.locator(f"#{task}-steps input[type=number]")
    field.fill(str(steps))
    field.blur()


def wait_for_status(page: Any, pattern: str, task: str = "tryon") -> str:
    from playwright.sync_api import expect

    line = page.locator(f"#{task}-status .leffa-status")
    expect(line).to_contain_text(re.compile(pattern), timeout=PATIENCE)
    return str(line.inner_text())


def photo(path: Path, size: tuple[int, int] = (96, 128)) -> Path:
    pixels = np.random.default_rng(3).integers(0, 255, (8, 6, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def upload(page: Any, name: str, file: Path) -> None:
    """Put a file in the place of what stands there."""
    box = page.locator(f"#{name}")
    if box.get_by_label("Remove Image").count():
        box.get_by_label("Remove Image").click()
    box.locator("input[type=file]").first.set_input_files(str(file))


def download(page: Any, kind: str) -> Path:
    """Press a download button of the try-on tab: "png" or "json"."""
    with page.expect_download() as waiting:
        page.click(f"#tryon-{kind}")
    return Path(waiting.value.path())


def canvas_pixels(page: Any) -> np.ndarray:
    """(H, W, 4) of the mask's preview."""
    address = page.eval_on_selector("#tryon-mask canvas", "canvas => canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as picture:
        return np.asarray(picture.convert("RGBA"))


def brush(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line on the mask's preview; both ends in fractions of its width and height."""
    canvas = page.locator("#tryon-mask canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=8)
    page.mouse.up()
    page.mouse.move(5, 5)
