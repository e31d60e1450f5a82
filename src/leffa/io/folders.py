"""Reads folders: which files are images, and by which names they match.

Names match whichever way their accents are encoded (macOS writes NFD, most others NFC).
"""

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff")  # of images
_BESIDE = (".json", ".npz")  # what our commands write beside images, or read with them
_HIDDEN = ("thumbs.db", "desktop.ini", "__macosx")


def check_there(*paths: Path | None) -> None:
    """Raise FileNotFoundError where a path that was given leads nowhere."""
    for path in paths:
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")


@dataclass(frozen=True)
class FolderFiles:
    """The files of one kind that lie directly in a folder."""

    folder: Path
    suffixes: Sequence[str]
    files: dict[str, Path]  # by their names without the suffix, in NFC, sorted
    repeated: list[tuple[Path, Path]]  # of one name; `files` has the first
    excluded: list[Path]  # of other kinds, neither hidden nor made by us

    @property
    def excluded_line(self) -> str:
        """The ignored files, in one line; empty if there are none."""
        if not self.excluded:
            return ""
        kinds = Counter(path.suffix.lower() or path.name for path in self.excluded)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return f"{self.folder}: left out: {counted}; what is read: {', '.join(self.suffixes)}"


def scan(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> FolderFiles:
    """The files of these suffixes; of a folder that is absent, none."""
    found = FolderFiles(folder, suffixes, {}, [], [])
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if not (is_hidden(e.name) or e.is_dir()))
    for path in (folder / name for name in names):
        suffix, name = path.suffix.lower(), normal(path.stem)
        if suffix not in suffixes:
            found.excluded.extend([] if suffix in _BESIDE else [path])
        elif name in found.files:
            found.repeated.append((found.files[name], path))
        else:
            found.files[name] = path
    return found


def files_by_name(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """The files of these suffixes by name; logs other kinds, refuses two of one name."""
    found = scan(folder, suffixes)
    for first, second in found.repeated:
        raise ValueError(f"{second} and {first.name} have one name; remove one")
    if line := found.excluded_line:
        log.warning(line)
    return found.files


def pictures_in(folder: Path) -> dict[str, Path]:
    """The images of a folder by name; raises FileNotFoundError where there are none."""
    if found := files_by_name(folder):
        return found
    raise FileNotFoundError(f"{folder}: no images ({', '.join(SUFFIXES)}); put them there")


def names_in(folder: Path) -> frozenset[str]:
    """All names in a folder, as the disk spells them; nothing where the folder is absent."""
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries)


class Spelling:
    """Finds files however the disk encodes their accents; reads a folder once."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}

    def __call__(self, path: Path) -> Path:
        """The path as the disk spells it; as given where there is no such file."""
        if path.parent == path or path.name == "..":
            return path
        folder = path.parent if path.parent.is_dir() else self(path.parent)
        if folder not in self._names:
            names = names_in(folder)
            self._names[folder] = {normal(name): name for name in names} | {n: n for n in names}
        known = self._names[folder]
        return folder / known.get(path.name, known.get(normal(path.name), path.name))


def normal(name: str) -> str:
    """The name by which files match."""
    return unicodedata.normalize("NFC", name)


def is_hidden(name: str) -> bool:
    """Whether an operating system or an unfinished writer left the name."""
    return name.startswith(".") or name.lower() in _HIDDEN


def log_unused(folder: Path, names: Collection[str], used: Collection[str], what: str) -> None:
    """Log how many files of a folder belong to nothing."""
    if unused := sorted(set(names) - set(used)):
        log.warning(
            "%s: %d of %d files belong to no %s, first %s",
            *(folder, len(unused), len(names), what, unused[0]),
        )
