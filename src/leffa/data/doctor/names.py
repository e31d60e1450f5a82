"""The names in a folder: each folder is read once, and a release's tree goes by flat names."""

import os
from pathlib import Path

from leffa.data.catalog.spec import TREE
from leffa.data.inshop import flat_name

_GENDERS = ("MEN", "WOMEN")


def is_there(folder: Path) -> bool:
    """Whether there is such a folder, or such a tree."""
    if folder.name == TREE:
        return any((folder.parent / gender).is_dir() for gender in _GENDERS)
    return folder.is_dir()


def file_names(folder: Path) -> dict[str, str]:
    """All that is no folder, dangling links included: from its name to its path below the folder.

    A file of the In-shop release goes by its flat name.
    """
    if folder.name == TREE:
        places = [p for gender in _GENDERS for p in (folder.parent / gender).glob("*/id_*/*.jpg")]
        relative = [place.relative_to(folder.parent).as_posix() for place in places]
        return {name: path for path in relative if (name := _flat(path))}
    with os.scandir(folder) as entries:
        return {entry.name: entry.name for entry in entries if not entry.is_dir()}


def _flat(path: str) -> str | None:
    """The flat name of a path, None where it is not named as in the release."""
    try:
        return flat_name(path)
    except ValueError:
        return None


def folder_names(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def plain(name: str) -> str:
    """A folder's name without the marks that copies of a data set change."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
