"""The pages: every link leads somewhere, every page says first what it is for, none is hidden."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
INDEX = ROOT / "docs" / "README.md"
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.M)  # [a](b), and [a]: b below


def prose(page: Path) -> str:
    """A page without its code, in which brackets are no links."""
    fenced = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return "\n".join(line for line in fenced.splitlines() if not line.startswith("    "))


def links(page: Path) -> list[str]:
    return ["".join(found) for found in LINK.findall(prose(page))]


@cache
def anchors(page: Path) -> set[str]:
    """What `#...` may follow a page's address: its headings, as GitHub writes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path, link: str) -> bool:
    """Whether a link of a page leads nowhere; the network is not asked."""
    if re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or (bool(anchor) and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if broken(page, link)] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    there, wrong = "[a](#one-two-three) [d](page.md)", "[b](#four) [c](none.md)"
    page.write_text(f"# One `two`, three\n{there}\n{wrong}\n\n[e]: out.md")
    assert [link for link in links(page) if broken(page, link)] == ["#four", "none.md", "out.md"]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_first_what_it_is_for(page: Path) -> None:
    title, blank, purpose, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ") and blank == ""
    assert re.match(r"[A-Z*`]", purpose), "a sentence, not a table or an example"


def test_the_index_has_every_page() -> None:
    linked = {(INDEX.parent / link).resolve() for link in links(INDEX)}
    hidden = {page for page in PAGES[1:] if page != INDEX} - linked
    assert sorted(page.name for page in hidden) == []
