"""Checks of outputs: neither inputs nor files without our mark are overwritten."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MARK = "written by leffa"
PNG_TEXT = {"Comment": MARK}
_COMMENTS = {".md": f"<!-- {MARK} -->", ".tex": f"% {MARK}"}
_ENDS = 4096  # bytes at both ends of a file, where the mark is


def check_writable(
    outputs: Iterable[Path], inputs: Iterable[Path] = (), option: str = "--out"
) -> None:
    """Refuse, before the work, outputs that cannot or must not be written.

    Raises:
        ValueError: an output is an input, a folder, or a file that we did not write.
        OSError: its folder cannot be written to.
    """
    outputs = list(outputs)
    there = [path for path in outputs if path.exists()]
    read = {_identity(path) for path in inputs if path.exists()} if there else set()
    for path in there:
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; give another {option}")
        if _identity(path) in read:
            raise ValueError(f"{path}: is an input, which is never replaced; give another {option}")
        if not is_ours(path):
            raise ValueError(
                f"{path}: exists and was not written by this version of leffa; rename it, or give "
                f"another {option}"
            )
    for folder in {path.parent for path in outputs}:
        check_folder(folder, option)


def check_folder(folder: Path, option: str = "--out") -> None:
    """Raise OSError where a folder, or the nearest existing one above it, is read-only."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{folder}: cannot be written to ({error.strerror}); give another {option}"
        ) from error


def check_unclaimed(folder: Path, names: Iterable[str], note: str) -> None:
    """Refuse a folder that holds some of `names` and lacks `note`, which says that it is ours."""
    for name in names:
        if (path := folder / name).exists() and not (folder / note).is_file():
            raise ValueError(
                f"{path}: exists, and {folder} has no {note}, so it is not replaced; give another "
                "paths.output_dir"
            )


def is_ours(path: Path) -> bool:
    """Whether a file carries the mark; of a CSV file, which cannot, the page beside it."""
    if path.suffix == ".csv":
        path = path.with_suffix(".html")
    try:
        with path.open("rb") as file:
            start = file.read(_ENDS)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _ENDS))
            return MARK.encode() in start or MARK.encode() in file.read()
    except OSError:
        return False


def marked(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a JSON file, with the mark."""
    return {"generator": MARK, **content}


def marked_text(text: str, suffix: str) -> str:
    """A Markdown or LaTeX file, with the mark as its last line."""
    return f"{text.rstrip()}\n\n{_COMMENTS[suffix]}\n"


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of a file, also on disks that ignore case."""
    status = path.stat()
    return status.st_dev, status.st_ino
