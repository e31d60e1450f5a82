"""Files and folders that are complete or not there, and whose temporary files are whose."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from leffa.io import atomic
from leffa.io.atomic import new_folder, replacing, write_bytes, write_json, write_text


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporary_of(target: Path, pid: int) -> Path:
    """The name of a temporary file of `target` that process `pid` of this machine writes."""
    own = atomic._temporary(target).name
    return target.with_name(own.replace(f"-{os.getpid()}-", f"-{pid}-"))


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_writes_text_bytes_and_json(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "where \u2192 there\n")
    write_bytes(tmp_path / "b.bin", b"\r\n", durable=True)
    write_json(tmp_path / "c.json", {"epe": 1.5})
    assert (tmp_path / "new" / "a.txt").read_bytes() == "where \u2192 there\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\r\n"
    assert (tmp_path / "c.json").read_text() == '{\n  "epe": 1.5\n}\n'
    assert left_in(tmp_path) == ["b.bin", "c.json", "new"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "disk full"), r"a\.txt: could not be written \(disk full\)"),
        (OSError("b.png: is no picture"), r"^b\.png: is no picture"),
        (KeyboardInterrupt("Ctrl-C"), "Ctrl-C"),
    ],
)
def test_a_write_that_ends_early_leaves_the_old_file_alone(
    tmp_path: Path, error: BaseException, told: str
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(type(error), match=told), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert left_in(tmp_path) == ["a.txt"]


def test_two_writers_of_one_target_do_not_meet(tmp_path: Path) -> None:
    texts = [str(number) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text() in texts
    assert left_in(tmp_path) == ["a"]


def test_removes_what_a_dead_process_left_of_the_same_target(tmp_path: Path, dead_pid: int) -> None:
    temporary_of(tmp_path / "a.png", dead_pid).touch()
    folder = temporary_of(tmp_path / "a.png", dead_pid)
    folder.mkdir()
    (folder / "weights").touch()
    write_text(tmp_path / "a.png", "new")
    assert left_in(tmp_path) == ["a.png"]


def test_leaves_the_temporary_files_of_everybody_else(tmp_path: Path, dead_pid: int) -> None:
    others = [
        temporary_of(tmp_path / "b.png", dead_pid),  # another target
        temporary_of(tmp_path / "a.png", os.getppid()),  # a process that runs
        temporary_of(tmp_path / "a.png", os.getpid()),  # another thread
        tmp_path / f".a.png.elsewhere-{dead_pid}-0123abcd.unfinished",  # another machine
        tmp_path / "a.png.unfinished",  # somebody's own
    ]
    for other in others:
        other.touch()
    write_text(tmp_path / "a.png", "new")
    assert left_in(tmp_path) == sorted(["a.png", *(other.name for other in others)])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_have_the_mode_of_ordinary_files(tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    ordinary = stat.S_IMODE((tmp_path / "ordinary").stat().st_mode)
    with replacing(tmp_path / "a.safetensors") as temporary:
        save_file({"x": torch.zeros(2)}, temporary)  # makes its file unreadable for others
    with new_folder(tmp_path / "exported") as folder:
        save_file({"x": torch.zeros(2)}, folder / "b.safetensors")
    for path in (tmp_path / "a.safetensors", tmp_path / "exported" / "b.safetensors"):
        assert stat.S_IMODE(path.stat().st_mode) == ordinary
        assert load_file(path)["x"].shape == (2,)


@pytest.mark.posix
def test_writes_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "last.json").symlink_to(tmp_path / "disk" / "real.json")
    write_text(tmp_path / "last.json", "new")
    assert (tmp_path / "last.json").is_symlink()
    assert (tmp_path / "disk" / "real.json").read_text() == "new"
    assert left_in(tmp_path / "disk") == ["real.json"]


def test_takes_names_as_long_as_the_disk_does(tmp_path: Path) -> None:
    name = "\u00e9" * 120
    write_text(tmp_path / name, "long")
    assert left_in(tmp_path) == [name]


def test_a_folder_appears_complete(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()  # empty: made by hand
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert left_in(tmp_path / "out") == []
    assert left_in(tmp_path) == ["out"]
    assert left_in(tmp_path / "out") == ["a"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        raise ValueError("bad")
    assert left_in(tmp_path) == []


def test_does_not_replace_a_folder_that_holds_something(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="out"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
    assert left_in(tmp_path) == ["out"]
    with pytest.raises(FileExistsError, match="out"), new_folder(tmp_path / "out"):
        pytest.fail("began")


def test_works_without_posix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: signal 0 ends a process, and folders cannot be opened."""

    def must_not_be_called(*_: object) -> None:
        pytest.fail("not on Windows")

    monkeypatch.setattr(atomic, "_WINDOWS", True)
    monkeypatch.setattr(os, "kill", must_not_be_called)
    leftover = temporary_of(tmp_path / "a", 1)
    leftover.touch()
    opened = []
    really_open = os.open
    monkeypatch.setattr(
        os, "open", lambda path, *rest: opened.append(path) or really_open(path, *rest)
    )
    write_bytes(tmp_path / "a", b"new", durable=True)
    assert left_in(tmp_path) == sorted(["a", leftover.name])
    assert tmp_path not in opened
