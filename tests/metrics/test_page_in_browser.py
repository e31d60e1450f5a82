"""The page of `leffa report` in a real browser: its columns sort."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leffa.cli import main

from .finished import PAIRED, evaluation

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(tmp_path: Path, browser: Any) -> Iterator[Any]:
    """A report with one row of ours, opened from its file; it asks nobody for anything."""
    evaluation(tmp_path / "run", "vitonhd_paired", PAIRED)
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path)]) == 0
    address = (tmp_path / "report.html").as_uri()
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert (asked, errors) == ([address], [])


def column(page: Any, title: str) -> list[str]:
    """The cells below a heading, top to bottom."""
    heads = page.locator("thead th").all_inner_texts()
    (index,) = [i for i, head in enumerate(heads) if head.startswith(title)]
    rows = page.locator("tbody tr").all()
    return [row.locator("th, td").nth(index).inner_text().strip() for row in rows]


def test_a_click_sorts_the_best_to_the_top_and_a_second_one_turns_it_round(
    page: Any, screenshots: Path
) -> None:
    page.screenshot(path=screenshots / "report.png", full_page=True)
    for title, best_is_highest in (("SSIM", True), ("FID paired", False)):
        before = column(page, title)
        page.get_by_role("button", name=title).first.click()
        found = column(page, title)
        numbers = [float(cell.rstrip("†‡§")) for cell in found if cell != "-"]
        assert numbers == sorted(numbers, reverse=best_is_highest)
        assert sorted(found) == sorted(before)
        missing = found.count("-")
        assert missing and found[-missing:] == ["-"] * missing  # what is missing stays below
        page.get_by_role("button", name=title).first.click()
        turned = [float(cell.rstrip("†‡§")) for cell in column(page, title) if cell != "-"]
        assert turned == sorted(numbers, reverse=not best_is_highest)
        assert column(page, title)[-missing:] == ["-"] * missing


def test_methods_sort_by_their_names_and_rows_stay_whole(page: Any) -> None:
    def rows() -> set[str]:
        return set(page.locator("tbody tr").all_inner_texts())

    before = rows()
    page.get_by_role("button", name="Method").click()
    names = column(page, "Method")
    assert names == sorted(names, key=str.casefold)
    assert page.locator("thead th").first.get_attribute("aria-sort") == "ascending"
    assert rows() == before
