"""What may be written: nothing over inputs, nothing over files of others, nothing too late."""

import errno
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest
from PIL import Image

from leffa.io.atomic import write_json, write_text
from leffa.io.outputs import check_folder, check_unclaimed, check_writable, marked, marked_text
from leffa.io.pages import render
from leffa.io.png import save_png


def write_ours(folder: Path) -> list[Path]:
    """A file of each kind that carries the mark."""
    save_png(Image.new("RGB", (600, 600), "red"), folder / "a.png")
    write_json(folder / "b.json", marked({"names": ["x" * 9000]}))
    write_text(folder / "c.md", marked_text("table\n" * 2000, ".md"))
    write_text(folder / "d.tex", marked_text("table\n" * 2000, ".tex"))
    write_text(folder / "e.html", render("io/page.html"))
    write_text(folder / "e.csv", "metric,value\n")  # of the page
    return sorted(folder.iterdir())


def test_replaces_what_carries_the_mark(tmp_path: Path) -> None:
    check_writable(write_ours(tmp_path))
    check_writable([tmp_path / "new" / "folder" / "a.png"])
    assert len(list(tmp_path.iterdir())) == 6  # nothing was made on the way


@pytest.mark.parametrize("name", ["anna.png", "r.json", "t.md", "t.csv", "page.html", "empty"])
def test_never_replaces_a_file_of_somebody_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".png":
        Image.new("RGB", (4, 4)).save(path)
    else:
        path.write_text("" if name == "empty" else '{"model": "leffa"}')
    with pytest.raises(ValueError, match=rf"{name}: exists .*; rename it, or give another --x"):
        check_writable([path], option="--x")


def test_never_replaces_an_input_by_whatever_name(tmp_path: Path) -> None:
    (person, *_) = write_ours(tmp_path)  # a picture of ours may be the input of the next command
    (tmp_path / "link.png").symlink_to(person)
    for output in (person, tmp_path / "link.png"):
        with pytest.raises(ValueError, match=f"{output.name}: is an input"):
            check_writable([output], inputs=[person])


def test_refuses_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; give another --json"):
        check_writable([tmp_path], option="--json")


def test_tells_of_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    told = rf"{tmp_path.name}: cannot be written to \(Read-only file system\); give another --out"
    with pytest.raises(OSError, match=told):
        check_writable([tmp_path / "new" / "a.png"])
    with pytest.raises(OSError, match=told):
        check_folder(tmp_path)


def test_a_folder_without_our_note_keeps_its_files(tmp_path: Path) -> None:
    check_unclaimed(tmp_path, ["images"], "settings.json")
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"images: exists, .* has no settings\.json"):
        check_unclaimed(tmp_path, ["images"], "settings.json")
    (tmp_path / "settings.json").touch()
    check_unclaimed(tmp_path, ["images"], "settings.json")
