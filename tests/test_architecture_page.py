"""The newcomer's first page: its files exist, and a walk takes few of them and no room twice."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
WALKS = PAGE.partition("\n## A new model")[0].split("\n## ")[1:]


def test_every_file_on_the_page_exists() -> None:
    paths = re.findall(r"`([\w./-]+(?:\.py|\.yaml|/))`", PAGE)
    assert len(paths) > 30
    bases = (ROOT, ROOT / "src" / "leffa")
    assert [path for path in paths if not any((base / path).exists() for base in bases)] == []


def test_a_walk_takes_at_most_twelve_files() -> None:
    assert len(WALKS) == 4
    for walk in WALKS:
        assert len(set(re.findall(r"`([\w./-]+\.py)`", walk))) <= 12, walk.splitlines()[0]


def test_no_walk_enters_a_room_twice() -> None:
    for walk in WALKS:
        rooms = [path.split("/")[0] for path in re.findall(r"`([\w./-]+/[\w.-]+\.py)`", walk)]
        visits = [
            room for room, before in zip(rooms, [None, *rooms], strict=False) if room != before
        ]
        assert len(visits) == len(set(visits)), walk.splitlines()[0]
