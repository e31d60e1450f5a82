"""The page holds what was read, is self-contained, and stays small."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leffa.data.batch import Batch
from leffa.explain.attention import LayerShape, read_attention
from leffa.explain.job import BUDGET
from leffa.explain.layers import chosen_layers
from leffa.explain.page import Explanation, render
from leffa.explain.points import FEW, plan_points, start_point
from leffa.explain.view import View, attended_position, flow_error, peak_mass, true_matches
from leffa.models.leffa import LeffaModel

MOST = 10_000_000  # bytes


@pytest.fixture(scope="module")
def explanation(model: LeffaModel, batch: Batch) -> Explanation:
    shapes = {
        name: layer.shape
        for name, layer in read_attention(model, batch, torch.zeros(1, 2), [0], 1.0)
        .layers[0]
        .items()
    }
    plan = plan_points(batch, shapes, 2, 300_000)
    seen = read_attention(
        model, batch, plan.points, [600, 200], 0.5, title="tiny", cells=plan.cells
    )
    start = start_point(batch, plan.points)
    facts = {"weights": "none <b>"}
    return Explanation(batch, plan.points, start, View(200), 0.5, [seen], plan.cells, facts)


def part(page: str, name: str) -> str:
    found = re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def page(explanation: Explanation) -> str:
    return render(explanation)


def test_the_page_holds_the_numbers_that_were_read(explanation: Explanation, page: str) -> None:
    data = json.loads(part(page, "data"))
    block = zlib.decompress(base64.b64decode(part(page, "block")))
    for t, layers in enumerate(explanation.readings[0].layers.values()):
        for index, layer in enumerate(layers.values()):
            found = data["models"][0]["looks"][t][index]
            read = layer.rows

            def numbers(key: str, kind: Any, count: int, found: Any = found) -> Any:
                return torch.from_numpy(np.frombuffer(block, kind, count, found[key]).copy())

            at = numbers("at", "<f4", read.at.numel()).view_as(read.at)
            assert torch.equal(at, read.at)
            peak = numbers("peak", "<f4", read.peak.numel()).view_as(read.peak)
            assert torch.equal(peak, read.peak)
            scale = numbers("scale", "<f4", read.peak.numel()).view(*read.peak.shape, 1, 1)
            maps = numbers("map", "u1", read.maps.numel()).view_as(read.maps) * scale / 255
            assert ((maps - read.maps).abs() <= scale / 510 + 1e-6).all()
            flows = numbers("flow", "<u2", layer.flows.numel()).float() / 32767.5 - 1
            torch.testing.assert_close(flows.view_as(layer.flows), layer.flows, rtol=0, atol=2e-5)
            assert data["layers"][index]["token"] == layer.token.tolist()


def test_the_page_tells_the_errors_of_each_timestep_layer_and_head(
    explanation: Explanation, page: str
) -> None:
    errors = json.loads(part(page, "data"))["models"][0]["errors"]
    layers = explanation.readings[0].layers[200]
    for index, name in enumerate(explanation.layers):
        heads = layers[name].shape.heads
        views: list[int | None] = [*range(heads), None] if heads > 1 else [None]
        wanted = [flow_error(layers, View(200, name, head), explanation.batch) for head in views]
        assert errors[1][index] == pytest.approx(wanted)
    assert errors[1][-1] == pytest.approx([flow_error(layers, View(200), explanation.batch)])


def test_the_page_needs_no_other_file(page: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert not re.findall(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", page)


def test_a_name_cannot_break_out_of_the_page(explanation: Explanation) -> None:
    bad = "</script><script>alert(1)</script>"
    batch: Batch = {**explanation.batch, "name": [bad]}
    page = render(
        replace(explanation, batch=batch, readings=[replace(explanation.readings[0], title=bad)])
    )
    assert "<script>alert" not in page
    assert json.loads(part(page, "data"))["models"][0]["title"] == bad
    assert "none &lt;b&gt;" in page  # facts are escaped too


def test_true_matches_are_those_of_the_ground_truth_flow(batch: Batch) -> None:
    row, column = batch["flow_valid"][0, 0].nonzero()[40].tolist()
    height, width = batch["flow"].shape[1:3]
    point = torch.tensor([[column / (width - 1) * 2 - 1, row / (height - 1) * 2 - 1], [-1, -1]])
    found, nothing = true_matches(batch, point)
    assert found == pytest.approx(batch["flow"][0, row, column].tolist())
    assert nothing is None


def test_the_first_point_has_a_true_match(explanation: Explanation) -> None:
    first = explanation.points[explanation.start : explanation.start + 1]
    assert true_matches(explanation.batch, first) != [None]


SD15 = {
    f"{index}.{layer}": LayerShape((64 >> index, 48 >> index), (64 >> index, 48 >> index), 8)
    for index, count in enumerate((5, 5, 5, 1))
    for layer in range(count)
}
SDXL = {
    f"{side}.{layer}": LayerShape((side, side * 3 // 4), (side, side * 3 // 4), heads)
    for side, heads, count in ((64, 10, 3), (32, 20, 13))
    for layer in range(count)
}


@pytest.mark.parametrize("shapes", [SD15, SDXL], ids=["sd15", "sdxl"])
def test_a_page_of_a_large_model_stays_small_and_keeps_enough_points(
    batch: Batch, shapes: dict[str, LayerShape]
) -> None:
    plan = plan_points(batch, chosen_layers(shapes, ()), passes=10, budget=BUDGET)
    assert plan.size <= BUDGET
    assert len(plan.points) >= FEW
    assert BUDGET * 4 / 3 + 1_200_000 < MOST  # base64; numbers that do not pack; pictures


def test_points_lie_on_what_is_painted_and_those_asked_for_come_first(
    model: LeffaModel, batch: Batch
) -> None:
    shapes = {"one": LayerShape((16, 12), (16, 12), 1)}
    plan = plan_points(batch, shapes, 1, BUDGET, asked=[(0.9, -0.9)])
    assert plan.points[0].tolist() == pytest.approx([0.9, -0.9])
    height, width = batch["mask"].shape[-2:]
    for x, y in plan.points[1:].tolist():
        row, column = round((y + 1) / 2 * (height - 1)), round((x + 1) / 2 * (width - 1))
        assert batch["mask"][0, 0, row, column] == 1
    assert len(plan.points) > 20


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_shows_the_same_numbers(
    explanation: Explanation, page: str, browser: Any, screenshots: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(page)
    layers = explanation.readings[0].layers[600]
    index, name = next(
        (index, name) for index, name in enumerate(layers) if layers[name].shape.heads == 2
    )
    point = len(explanation.points) // 3
    x, y = ((explanation.points[point] + 1) / 2).tolist()
    for hash_, view in (
        (f"t=600&layer={index}&head=2&point={x:.4f},{y:.4f}", View(600, name, 1)),
        (f"t=600&layer=all&head=mean&point={x:.4f},{y:.4f}", View(600)),
    ):
        with opened(browser, f"{path.as_uri()}#{hash_}") as window:
            told = window.inner_text("#m0-text")
            window.screenshot(path=screenshots / "explain.png", full_page=True)
        at = attended_position(layers, view, point).tolist()
        match = true_matches(explanation.batch, explanation.points[point : point + 1])[0]
        assert f"EPE {flow_error(layers, view, explanation.batch):.1f} px" in told
        assert f"peak {peak_mass(layers, view, point):.3f}" in told
        assert f"at {at[0]:.2f}, {at[1]:.2f}" in told
        assert ("off by" in told) == (match is not None)


@pytest.mark.browser
@pytest.mark.slow
def test_all_can_be_chosen_with_the_keyboard_and_has_a_name(
    explanation: Explanation, page: str, browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(page)

    def point(window: Any) -> np.ndarray:
        """(x, y) of the chosen point, from 0 to 1, when the page has been drawn anew."""
        window.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        place = window.evaluate("new URLSearchParams(location.hash.slice(1)).get('point')")
        return np.array(place.split(","), float)

    with opened(browser, path.as_uri()) as window:
        # Those in buttons and those beside their text need no name of their own.
        nameless = "canvas:not([aria-label], [aria-hidden=true], button canvas)"
        assert window.locator(nameless).count() == 0
        assert window.locator(".strip button:visible:not([aria-label])").count() == 0
        window.focus("#layer")
        window.keyboard.press("Tab")  # the head cannot be chosen for all layers together
        focused = window.evaluate("document.activeElement.ariaLabel")
        assert focused == "person, tiny; the arrow keys move the chosen point"
        top = window.evaluate("scrollY")
        for there, back, axis in (("ArrowRight", "ArrowLeft", 0), ("ArrowDown", "ArrowUp", 1)):
            window.keyboard.press(back)
            before = point(window)
            window.keyboard.press(there)
            after = point(window)
            assert after[axis] > before[axis]
            told = explanation.points / 2 + 0.5
            assert (told - torch.from_numpy(after)).abs().max(dim=1).values.min() < 1e-3
        for _ in range(100):  # to the edge, where it stays
            window.keyboard.press("ArrowLeft")
        least = explanation.points[:, 0].min().item() / 2 + 0.5
        assert point(window)[0] == pytest.approx(least, abs=1e-3)
        assert window.evaluate("scrollY") == top

        button = window.get_by_role("button", name=re.compile("^t = 600, tiny, EPE"))
        assert button.get_attribute("aria-pressed") == "false"
        button.focus()
        window.keyboard.press("Enter")
        window.wait_for_function("location.hash.includes('t=600')")
        assert button.get_attribute("aria-pressed") == "true"


@pytest.mark.browser
@pytest.mark.slow
def test_a_narrow_window_is_not_wider_than_itself(
    page: str, browser: Any, screenshots: Path, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(page)
    with opened(browser, path.as_uri(), width=400) as window:
        window.screenshot(path=screenshots / "explain_narrow.png", full_page=True)
        assert window.evaluate("document.documentElement.scrollWidth") <= 400


@contextmanager
def opened(browser: Any, address: str, width: int = 1280) -> Iterator[Any]:
    """A page when its numbers stand there; it must ask nobody else, and must not stumble."""
    window = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    window.on("request", lambda request: asked.append(request.url))
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.goto(address)
    window.wait_for_function("document.querySelector('#m0-text')?.textContent.includes('peak')")
    yield window
    window.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []
