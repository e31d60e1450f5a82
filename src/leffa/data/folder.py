"""A user's own persons and garments: a CSV of pairs, or folders whose files match by name."""

import csv
import difflib
from collections import Counter
from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.layout import Layout, Locate, absent, check_root, names_in, read_lines
from leffa.data.picture_files import SUFFIXES, pictures_by_name

_COLUMNS = ("person", "garment", "name", "category")
_FILES = ("mask", "densepose", "parse", "keypoints", "garment_mask")


class FolderPairs(Layout):
    """Pairs of a person and a garment, or of two pictures of one person, wherever they are.

    With a table, a CSV file whose paths are below the root or absolute:

        person,garment[,name][,category][,mask][,densepose][,parse][,keypoints][,garment_mask]
        photos/anna.jpg,shop/dress_12.png

    Without one, folders in which a sample's files have one name; the last five are optional:

        <root>/persons/anna.jpg    garments/anna.png    masks/anna.png    densepose/anna.png
               parse/anna.png      keypoints/anna.json  garment_masks/anna.png

    A sample is called by its column `name`; else by its person, where no person occurs twice, else
    `<person>__<garment>`. What the files must hold, `PersonTransform` says: it reads them.

    Args:
        root: the folder that the paths begin in.
        table: the CSV file, below the root; None for folders.
        category: of samples without a column for it: "upper_body", "lower_body" or "dresses" where
            the loss region or the mask depends on it, else any word.
    """

    def __init__(
        self, root: str | Path, table: str | None = "pairs.csv", category: str = "upper_body"
    ) -> None:
        root = check_root(root)
        if table is None:
            super().__init__(_from_folders(root, category), root)
        else:
            super().__init__(_from_table(root, root / table, category), root / table)


def _from_table(root: Path, table: Path, category: str) -> list[Record]:
    if not table.is_file():
        raise FileNotFoundError(
            f"{table}: no such table of pairs; write it, a CSV file with the columns "
            "person,garment, or give table=null to take the folders persons/ and garments/"
        )
    rows = csv.DictReader(read_lines(table))
    _check_header([column.strip() for column in rows.fieldnames or ()], table)
    pairs = []
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"{table}: line {line} has not as many columns as the header")
        values = {key.strip(): value.strip() for key, value in row.items()}
        if not (values["person"] and values["garment"]):
            raise ValueError(f"{table}: line {line} lacks its person or its garment")
        pairs.append(values)
    if not pairs:
        raise ValueError(f"{table}: lists nothing below its header; add a line a pair")
    names = _names(pairs)
    if strange := [name for name in names if PurePath(name).name != name]:
        raise ValueError(
            f"{table}: the name {strange[0]!r} cannot be a file's name, which its result gets; "
            "write it without '/'"
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{table}: {len(repeated)} names occur more than once, first {repeated[0]}; give each "
            "line another in a column `name`"
        )
    return [
        Record(
            name=name,
            category=values.get("category") or category,
            source=root / values["person"],
            reference=root / values["garment"],
            mask=_given(root, values, "mask"),
            densepose=_given(root, values, "densepose"),
            parse=_given(root, values, "parse"),
            keypoints=_given(root, values, "keypoints"),
            reference_mask=_given(root, values, "garment_mask"),
        )
        for name, values in zip(names, pairs, strict=True)
    ]


def _given(root: Path, values: dict[str, str], column: str) -> Path | None:
    return root / values[column] if values.get(column) else None


def _check_header(columns: list[str], table: Path) -> None:
    known = (*_COLUMNS, *_FILES)
    for column in columns:
        if column not in known:
            close = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ValueError(f"{table}: unknown column '{column}'; {hint}")
    for column in _COLUMNS[:2]:
        if column not in columns:
            raise ValueError(
                f"{table}: has no column '{column}'; begin the file with a line such as "
                "person,garment"
            )


def _names(pairs: list[dict[str, str]]) -> list[str]:
    """One name a pair, from the column `name` or from the files."""
    people = [PurePath(values["person"]).stem for values in pairs]
    garments = [PurePath(values["garment"]).stem for values in pairs]
    alone = max(Counter(people).values()) == 1
    made = [
        person if alone else f"{person}__{garment}"
        for person, garment in zip(people, garments, strict=True)
    ]
    return [values.get("name") or name for values, name in zip(pairs, made, strict=True)]


def _from_folders(root: Path, category: str) -> list[Record]:
    people, garments = _by_stem(root / "persons"), _by_stem(root / "garments")
    if alone := sorted(people.keys() - garments.keys()):
        raise ValueError(
            f"{root / 'garments'}: has no picture for {len(alone)} of the {len(people)} persons, "
            f"first {alone[0]}; a person and its garment must have one name, or use a table"
        )
    mask_of, body_of, parse_of, garment_mask_of = (
        _present(root / folder) for folder in ("masks", "densepose", "parse", "garment_masks")
    )
    joints_of = _present(root / "keypoints", ".json")
    return [
        Record(
            name=stem,
            category=category,
            source=people[stem],
            reference=garments[stem],
            mask=mask_of(stem),
            densepose=body_of(stem),
            parse=parse_of(stem),
            keypoints=joints_of(stem),
            reference_mask=garment_mask_of(stem),
        )
        for stem in sorted(people)
    ]


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names."""
    found = pictures_by_name(folder)
    if not found:
        raise FileNotFoundError(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}); put them there, or use a table"
        )
    return found


def _present(folder: Path, usual: str = ".png") -> Locate:
    """Locates the files of an optional folder; where it lacks one, `Layout` says which."""
    names = names_in(folder)
    if not names:
        return absent
    suffixes = SUFFIXES if usual in SUFFIXES else (usual,)
    found = {
        PurePath(name).stem: folder / name
        for name in sorted(names)
        if PurePath(name).suffix.lower() in suffixes
    }
    return lambda stem: found.get(stem, folder / f"{stem}{usual}")
