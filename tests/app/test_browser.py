"""The page in a real browser: Debian's chromium, driven by playwright.

    make test-browser SCREENSHOTS=DIR

writes a picture of each tab into DIR ($LEFFA_SCREENSHOTS), else into pytest's temporary folder.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from leffa.inference import LoadedModel
from leffa.photo_to_picture import Weights
from leffa.preprocess.photo import Tools

from .visitor import OF_GRADIO, PATIENCE, download, set_steps, upload, wait_for_status

pytestmark = [pytest.mark.browser, pytest.mark.slow, *OF_GRADIO]


def test_a_new_visitor_gets_a_picture_with_one_press(page: Any, screenshots: Path) -> None:
    page.click("#tryon-go")
    assert "seed 42" in wait_for_status(page, r"^Done in")
    page.wait_for_selector("#tryon-result img")
    size = page.eval_on_selector("#tryon-result img", "i => [i.naturalWidth, i.naturalHeight]")
    assert size == [288, 384]
    with Image.open(download(page, "png")) as picture:
        assert (picture.format, list(picture.size)) == ("PNG", size)
    settings = json.loads(download(page, "json").read_text())
    assert settings["sampler"]["seed"] == 42
    assert settings["files"]["source"]["path"] == "person.png"
    page.hover("#tryon-flow figure:first-child img", position={"x": 125, "y": 190})
    page.screenshot(path=screenshots / "tryon.png", full_page=True)


def test_holding_the_pointer_over_the_result_shows_where_it_came_from(page: Any) -> None:
    page.click("#tryon-go")
    wait_for_status(page, r"^Done in")
    result = "#tryon-flow figure:first-child img"
    box = page.locator(result).bounding_box()
    page.hover(result, position={"x": box["width"] * 0.45, "y": box["height"] * 0.5})
    sentence = page.inner_text("#tryon-flow .sentence")
    assert re.search(r"45 % from the left and 50 % from the top.*looking at the garment", sentence)
    there = page.locator("#tryon-flow figure:nth-child(2) .dot")
    assert there.is_visible()
    first = there.get_attribute("style")
    page.hover(result, position={"x": box["width"] * 0.55, "y": box["height"] * 0.6})
    assert there.get_attribute("style") != first
    page.hover(result, position={"x": 3, "y": 3})  # a corner: background
    assert "nothing was repainted" in page.inner_text("#tryon-flow .sentence")
    assert not there.is_visible()


def test_stop_ends_the_work_and_the_next_picture_can_be_made(page: Any) -> None:
    set_steps(page, 100)
    page.click("#tryon-go")
    wait_for_status(page, r"Step \d+ of 100, about \d+ (s|min) left")
    page.click("#tryon-stop")
    assert "Stopped; nothing was made." in wait_for_status(page, r"^Stopped")
    assert page.locator("#tryon-result img").count() == 0
    set_steps(page, 1)
    page.click("#tryon-go")  # waits for nothing: the loop has ended
    wait_for_status(page, r"^Done in")


def test_a_visitor_who_waits_in_the_queue_can_leave_it(
    page: Any, browser: Any, address: str
) -> None:
    other = browser.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(address)
    other.wait_for_selector("#tryon-go")
    set_steps(other, 100)
    other.click("#tryon-go")
    wait_for_status(other, r"Step \d+ of 100")
    page.click("#tryon-go")
    wait_for_status(page, "^Waiting for its turn")
    page.click("#tryon-stop")
    wait_for_status(page, "^Stopped")
    other.close()  # which ends its work
    page.click("#tryon-go")
    wait_for_status(page, "^Done in")
    assert page.locator("#tryon-session button.thumbnail-lg").count() == 1


@pytest.mark.parametrize("kind", ["text", "large", "bomb"])
def test_a_bad_file_gets_one_line_with_the_remedy(page: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dress.png"
    expected = {"text": "is not a readable PNG", "bomb": "at most 2 megapixels"}
    if kind == "text":
        path.write_text("not a picture at all")
    elif kind == "large":
        path.write_bytes(os.urandom(1_200_000))
    else:
        Image.new("L", (2000, 2000)).save(path)
    upload(page, "tryon-reference", path)
    if kind == "large":  # refused while it comes in
        page.wait_for_selector(".toast-wrap >> text=/size/", timeout=PATIENCE)
    else:
        line = wait_for_status(page, expected[kind])
        assert line.startswith("The garment's image")
        assert "\n" not in line
    assert page.locator("#tryon-result img").count() == 0


def test_the_session_keeps_its_pictures_and_shows_them_again(page: Any) -> None:
    thumbnails = page.locator("#tryon-session button.thumbnail-lg")
    for number, seed in enumerate(("42", "8")):
        page.locator("#tryon-seed input").fill(seed)
        page.click("#tryon-go")
        thumbnails.nth(number).wait_for()
    wait_for_status(page, "^Done in")
    assert thumbnails.count() == 2
    assert "seed 8" in page.inner_text("#tryon-status")
    thumbnails.nth(1).click()
    wait_for_status(page, "seed 42")


def test_the_pose_tab_puts_a_person_into_a_pose(page: Any, screenshots: Path) -> None:
    page.get_by_role("tab", name="Pose transfer").click()
    page.wait_for_selector("#pose-go", state="visible")
    page.click("#pose-go")
    wait_for_status(page, r"^Done in", "pose")
    page.wait_for_selector("#pose-result img")
    result = "#pose-flow figure:first-child img"
    page.hover(result, position={"x": 120, "y": 150})
    assert "looking at the person" in page.inner_text("#pose-flow .sentence")
    page.screenshot(path=screenshots / "pose.png", full_page=True)


def test_a_narrow_window_shows_one_column(page: Any, screenshots: Path) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.screenshot(path=screenshots / "narrow.png", full_page=True)


def test_the_tab_for_programs_has_an_example(page: Any, screenshots: Path) -> None:
    page.get_by_role("tab", name="From a program").click()
    page.wait_for_selector("text=gradio_client", state="visible")
    page.screenshot(path=screenshots / "api.png", full_page=True)


def test_a_tab_without_a_model_says_how_to_give_one(
    browser: Any, trained_pose: LoadedModel, weights: Path, screenshots: Path
) -> None:
    from leffa.app.server import served
    from leffa.app.settings import Serving

    models = {"pose": [Weights.of(trained_pose, weights)]}
    with served(models, Tools(), Serving(device="cpu")) as address:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector("#pose-go", state="visible")  # the tab that has a model comes first
        page.get_by_role("tab", name="Try-on").click()
        page.wait_for_selector("text=the small model that ships with the package", state="visible")
        page.screenshot(path=screenshots / "missing.png", full_page=True)
        page.close()
