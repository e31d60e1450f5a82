"""Trusted matches for all pairs of a try-on dataset, one file per pair."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from leffa.data.batch import Record
from leffa.data.catalog import DATASETS
from leffa.data.catalog.spec import MATCHES, SPLITS
from leffa.data.doctor.recognise import recognise
from leffa.data.folder import is_custom_folder, pairs_by_table
from leffa.data.matches import format_matches, load_matches, pair_name
from leffa.data.matching import RECIPE, find_matches, require_opencv
from leffa.data.reader import TryOnPairs
from leffa.io.pictures import open_mask, open_photograph, open_picture
from leffa.preprocess.prepare.jobs import Progress, alone, make_files

Open = Callable[[Path], Image.Image]


@dataclass(frozen=True)
class MatchSet:
    """What a dataset's files of matches hold.

    Args:
        folders: where they are.
        pairs: their number.
        covered: pairs with matches.
        matches: of all pairs.
    """

    folders: tuple[Path, ...]
    pairs: int
    covered: int
    matches: int

    def __str__(self) -> str:
        return f"{self.covered} of {self.pairs} pairs have trusted matches, {self.matches:,} in all"


def prepare_matches(root: Path, workers: int = 1, progress: Progress | None = None) -> MatchSet:
    """Find the trusted matches of every pair that has no file of them yet.

    VITON-HD and VITON: `<split>/matches/`; DressCode: `<category>/matches/`; the user's own folder:
    `matches/PERSON__GARMENT.json`, for the pairs of all its tables. Garment masks and try-on masks
    are used where the dataset has their files.

    Args:
        root: of the dataset, which is recognised.
        workers: processes; the files do not depend on it.

    Raises:
        FileNotFoundError: files of the dataset are missing.
        ValueError: OpenCV is not installed, this is no try-on dataset, files of other matches are
            there, pairs cannot be read, or another run makes matches here.
    """
    require_opencv()
    records, photograph = _records(root)
    with alone(root, MATCHES):
        for path, record in records.items():
            if path.is_file():
                _check_made_so(path, record)
        jobs = {path: partial(match_files, one, photograph) for path, one in records.items()}
        make_files(jobs, "files of matches", workers, progress)
    counts = [len(load_matches(path)["matches"]) for path in records]
    folders = tuple(dict.fromkeys(path.parent for path in records))
    return MatchSet(folders, len(counts), sum(map(bool, counts)), sum(counts))


def match_files(record: Record, photograph: Open = open_picture) -> str:
    """The text of a pair's file of matches (`data.matches`); `photograph` reads its images."""
    person, garment = photograph(record.source), photograph(record.reference)
    masks = (
        None if path is None else np.asarray(open_mask(path)) >= 128
        for path in (record.reference_mask, record.mask)
    )
    return format_matches(
        record, (person.size, garment.size), RECIPE, find_matches(person, garment, *masks)
    )


def _check_made_so(path: Path, record: Record) -> None:
    """Raise ValueError where a file is of another recipe, or another pair's."""
    content = load_matches(path)
    made = content["recipe"], content["person"]["file"], content["garment"]["file"]
    if made != (RECIPE, record.source.name, record.reference.name):
        raise ValueError(
            f"{path}: has the matches of {made[1]} and {made[2]} by {made[0]}, not of "
            f"{record.source.name} and {record.reference.name} by {RECIPE}; delete {path.parent}, "
            "and run it again"
        )


def _records(root: Path) -> tuple[Mapping[Path, Record], Open]:
    """The pairs of a dataset by the files of their matches, and what reads their photographs."""
    if is_custom_folder(root):
        return _own(root), open_photograph
    dataset = recognise(root)
    if dataset is None or not any(
        files.role == "garment" for files in DATASETS[dataset].groups[0].files
    ):
        raise ValueError(
            f"{root}: matches are found between persons and garments, in viton_hd, viton, "
            f"dress_code and folder, and this is {dataset or 'none of them'}"
        )
    return dict(_published(root, dataset)), open_picture


def _published(root: Path, dataset: str) -> Iterator[tuple[Path, Record]]:
    spec = DATASETS[dataset]
    for group in spec.groups:
        for split in SPLITS:
            if any(one.split == split and one.find(root) for one in group.lists):
                for record in TryOnPairs(
                    spec, root, split, allow_subset=True, categories=[group.name]
                ):
                    yield root / group.folder / MATCHES / f"{record.name}.json", record


def _own(root: Path) -> dict[Path, Record]:
    """The pairs of all tables, or of the folders; ValueError where two have one file."""
    found: dict[Path, Record] = {}
    for records in pairs_by_table(root).values():
        for record in records:
            path = root / MATCHES / f"{pair_name(record)}.json"
            other = found.setdefault(path, record)
            if (other.source, other.reference) != (record.source, record.reference):
                raise ValueError(
                    f"{other.source} with {other.reference} and {record.source} with "
                    f"{record.reference} would both have the matches {path.name}; rename an image"
                )
    return found
