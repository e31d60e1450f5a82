"""Tells which dataset a folder holds by the names in it."""

import os
import re
from pathlib import Path

from leffa.data.catalog import DATASETS
from leffa.data.catalog.spec import TREE, DatasetSpec, FileSpec
from leffa.data.inshop import flat_name
from leffa.io.folders import is_hidden

_RECOGNISED_FROM = 64  # names of a folder
_GENDERS = ("MEN", "WOMEN")


def recognise(root: Path) -> str | None:
    """The name of the dataset that the folder looks most like, None where it looks like none."""
    scores = {name: _likeness(root, dataset) for name, dataset in DATASETS.items()}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0 else None


def recognise_below(root: Path) -> Path | None:
    """A folder one or two levels deeper that looks like a dataset."""
    for depth in ("*", "*/*"):
        for folder in sorted(root.glob(depth)):
            if folder.is_dir() and not is_hidden(folder.name) and recognise(folder):
                return folder
    return None


def _likeness(root: Path, dataset: DatasetSpec) -> float:
    """How many of its folders and lists are there, names of the official form counting most."""
    score = 0.0
    for group in dataset.groups:
        score += sum(0.5 for listing in group.lists if listing.find(root))
        for files, spelling in ((each, one) for each in group.files for one in each.spellings):
            folder = root / group.folder / spelling
            if folder.name == TREE:
                score += is_there(folder)  # its paths are the official form
                continue
            names = _some_names(folder) if folder.is_dir() else []
            official = sum(official_name(dataset, files, name) for name in names)
            score += official / max(1, len(names))
            score += 0.1 * (folder.is_dir() and folder != root)
    return score


def official_name(dataset: DatasetSpec, files: FileSpec, name: str) -> bool:
    """Whether a file is named as in the official release."""
    key = files.key(name)
    return key is not None and re.fullmatch(dataset.key, key) is not None


def _some_names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(_RECOGNISED_FROM), strict=False)]


def is_there(folder: Path) -> bool:
    """Whether there is such a folder, or such a tree of the In-shop release."""
    if folder.name == TREE:
        return any((folder.parent / gender).is_dir() for gender in _GENDERS)
    return folder.is_dir()


def file_names(folder: Path) -> dict[str, str]:
    """All that is no folder, dangling links included: from its name to its path below the folder.

    A file of the In-shop release goes by its flat name.
    """
    if folder.name != TREE:
        with os.scandir(folder) as entries:
            return {entry.name: entry.name for entry in entries if not entry.is_dir()}
    found = {}
    for gender in _GENDERS:
        for place in (folder.parent / gender).glob("*/id_*/*.jpg"):
            path = place.relative_to(folder.parent).as_posix()
            try:
                found[flat_name(path)] = path
            except ValueError:  # not named as in the release
                continue
    return found


def folder_names(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())
