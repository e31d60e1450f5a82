"""A checked sequence of records, and readers of the lists they come from."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import overload

from leffa.data.batch import Record
from leffa.data.catalog.spec import SYNTHETIC, GroupSpec, Need
from leffa.data.keypoints import Annotation, listed_names
from leffa.io.folders import names_in
from leffa.io.tables import read_table, read_text

# From a file's key to its place, or None where there is no such file.
Locate = Callable[[str], Path | None]

UNPAIRED_TRAINING = "pairs=unpaired: training has no unpaired list; use pairs=paired, or split=test"
_SHOWN = 3  # file names in an error message: enough to see the pattern, few enough for one line


class Layout(Sequence[Record]):
    """The samples of one split, in the order of their list (named in messages).

    Raises:
        ValueError: two samples share a name, or a list of keypoints lacks an image.
        FileNotFoundError: some files are missing; the message counts them and names the first few.
    """

    def __init__(self, records: Sequence[Record], pair_list: Path) -> None:
        # Results are files, and many file systems ignore case.
        names = Counter(record.name.casefold() for record in records)
        repeated = {
            folded: record.name for record in records if names[folded := record.name.casefold()] > 1
        }
        if repeated:
            shown = ", ".join(list(repeated.values())[:_SHOWN])
            raise ValueError(
                f"{pair_list}: {len(repeated)} pairs are listed more than once, first {shown} "
                "(capitals do not count); remove the repeated lines"
            )
        missing, total = missing_files(records)
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of the {total} files that {pair_list} asks for are missing, first "
                f"{', '.join(missing[:_SHOWN])}; add them (extract the archive again), or remove "
                "their lines from the list"
            )
        _check_annotations(records)
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self._records[index]


def missing_files(records: Iterable[Record]) -> tuple[list[str], int]:
    """The files of these records that are not there, sorted, and how many files they name.

    One directory scan per folder: a stat per file takes minutes on a network disk.
    """
    files = [field.name for field in fields(Record) if field.name not in ("name", "category")]
    paths = {getattr(record, file) for record in records for file in files} - {None}
    wanted: dict[str, set[str]] = defaultdict(set)
    for path in {path.path if isinstance(path, Annotation) else path for path in paths}:
        folder, name = os.path.split(path)
        wanted[folder].add(name)
    missing = sorted(
        f"{folder}/{name}"
        for folder, names in wanted.items()
        for name in names - names_in(Path(folder))
    )
    return missing, sum(len(names) for names in wanted.values())


def _check_annotations(records: Iterable[Record]) -> None:
    """Check that a list of keypoints names every image, before training starts."""
    wanted: dict[Path, set[str]] = defaultdict(set)
    for record in records:
        for joints in (record.keypoints, record.reference_keypoints):
            if isinstance(joints, Annotation) and joints.row is not None:
                wanted[joints.path].add(joints.row)
    for path, names in wanted.items():
        if missing := sorted(names - listed_names(path)):
            raise ValueError(
                f"{path}: lacks {len(missing)} of the {len(names)} images that the pairs ask "
                f"for, first {', '.join(missing[:_SHOWN])}; use the two lists of one release"
            )


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError, naming the choices, unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{name}={value}: choose one of {', '.join(choices)}")


def check_root(root: str | Path) -> Path:
    """The root as a path; raises FileNotFoundError where there is no such folder."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such folder; link the dataset there, or give the folder that holds its "
            "pair lists (data.root=DIR in training, dataset.root=DIR in evaluation)"
        )
    return root


def check_truth(root: Path, records: Sequence[Record], group: GroupSpec) -> None:
    """Raise FileNotFoundError, with the command that renders them, where there are no unpaired
    records, or true images, their parsings or flows are missing."""
    drawn_files = [each.field for each in group.files if each.role == "unpaired" and each.field]
    lacking = sum(None in (getattr(each, field) for field in drawn_files) for each in records)
    if records and not lacking:
        return
    if not (root / SYNTHETIC).is_file():
        raise FileNotFoundError(
            f"{root}: photographs do not show its persons with the references of others, so there "
            "is no truth; give pairs=paired, or truth=false (try-on), or a synthetic dataset"
        )
    who = f"{lacking} of {len(records)} persons" if records else "its persons"
    drawn = json.loads(read_text(root / SYNTHETIC))
    if not records:  # pose transfer: it takes two persons, of three pairs each
        drawn["test"] = max(drawn["test"], 4)
    options = " ".join(
        f"--{key} {drawn[key]}" for key in ("train", "test", "seed", "height", "width")
    )
    raise FileNotFoundError(
        f"{root}: {who} are not rendered with the reference that the unpaired list gives them; "
        f"complete the dataset: leffa draw {drawn['layout']} {root} {options}"
    )


def read_lines(path: Path) -> list[str]:
    """The lines of a list that are not blank; it must exist and have some."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list; copy it from the dataset's archive into {path.parent}"
        )
    lines = [line for each in read_text(path).splitlines() if (line := each.strip())]
    if not lines:
        raise ValueError(f"{path}: lists nothing; copy it again from the dataset's archive")
    return lines


def read_csv_pairs(path: Path) -> list[tuple[str, str]]:
    """The columns `from` and `to` of a list of PATN's; others, such as an index, are ignored."""
    again = "copy the list again from its release"
    read_lines(path)  # its own errors
    pairs = []
    for number, row in read_table(path, ("from", "to")):
        if not (row["from"] and row["to"]):
            raise ValueError(f"{path}: line {number} lacks one of its two images; {again}")
        pairs.append((row["from"], row["to"]))
    if not pairs:
        raise ValueError(f"{path}: lists nothing; {again}")
    return pairs


def locate(folder: Path, pattern: str, need: Need, keys: Iterable[str] = ()) -> Locate:
    """Finds the files of one kind by their keys, which stand for `{}` in the pattern.

    A file that is needed is given whether it is there or not, since `Layout` tells what is missing:
    "always", or, unless files are "loose", where the folder has that of any of these keys, since
    half a folder is a mistake.
    """
    names = frozenset() if need == "always" else names_in(folder)
    if need == "always" or (need != "loose" and any(pattern.format(key) in names for key in keys)):
        return lambda key: folder / pattern.format(key)
    return lambda key: folder / name if (name := pattern.format(key)) in names else None


def spelling(folder: Path, names: Sequence[str]) -> Path:
    """What exists in `folder` under one of these names; the first name if nothing does."""
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])
