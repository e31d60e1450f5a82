"""Every data set has its page, and what the pages tell one to run exists."""

import re
from pathlib import Path

import pytest

from leffa.data.catalog import CATALOG, SYNTHETIC_LAYOUTS
from leffa.run import CONF, compose

PAGES = sorted((CONF.parent / "docs" / "reference" / "datasets").glob("*.md"))


def test_every_layout_has_a_page() -> None:
    assert {page.stem for page in PAGES} == set(SYNTHETIC_LAYOUTS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_what_exists(page: Path) -> None:
    text = page.read_text()
    assert f"leffa draw {page.stem} ROOT" in text
    for group in ("data", "dataset"):
        for name in re.findall(rf"\b{group}=(\w+)", text):
            assert (CONF / group / f"{name}.yaml").is_file(), name
    for layout in re.findall(r"leffa (?:draw|doctor) (\w+)", text):
        assert layout == page.stem
    assert re.search(r"`leffa\.data\.\w+\.\w+`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_overrides_of_a_page_are_accepted(page: Path) -> None:
    # A quoted override may hold blanks; the values that a page leaves open become the letter X.
    text = page.read_text().replace("ROOT", "X").replace("RUN", "X")
    found = re.findall(r"'(data(?:set)?\.[^']+)'|\b(data(?:set)?\.\w[\w.]*=[^\s`,]+)", text)
    overrides = [quoted or plain for quoted, plain in found]
    option = {"viton_hd": "vitonhd_paired", "dress_code": "dresscode_all_paired"}
    option |= {"deepfashion": "deepfashion_512", "viton": "viton_paired"}
    ours = [text for text in overrides if text.startswith("data.")]
    theirs = [text for text in overrides if text.startswith("dataset.")]
    assert theirs
    compose("evaluate", [f"dataset={option.get(page.stem, page.stem)}", *theirs])
    if ours:
        compose("train", [f"data={page.stem}", *ours])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_experiments_of_a_page_exist(page: Path) -> None:
    names = set(re.findall(r"experiment=(\w+)", page.read_text())) - {"NAME"}
    assert all((CONF / "experiment" / f"{name}.yaml").is_file() for name in names)


def test_market_is_trained_at_the_size_of_its_photographs() -> None:
    page = next(page for page in PAGES if page.stem == "market1501").read_text()
    commands = re.findall(r"`python train\.py ([^`]+)`", page)
    assert len(commands) == 2
    for command in commands:
        stages = compose("train", command.split()).curriculum.stages
        assert {(stage.height, stage.width) for stage in stages} == {(128, 64)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_official_counts(page: Path) -> None:
    text = page.read_text()
    lists = [listing for group in CATALOG[page.stem].groups for listing in group.lists]
    counts = [listing.official for listing in lists if listing.official]
    assert counts or page.stem == "folder"
    assert all(f"{count:,}" in text for count in counts)
