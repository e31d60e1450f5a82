"""A user's own persons and garments: a CSV of pairs, or folders whose files match by name."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.catalog import FOLDER
from leffa.data.catalog.folder import COLUMNS
from leffa.data.catalog.spec import MATCHES
from leffa.data.layout import Layout, Locate, check_root
from leffa.data.matches import pair_name, with_matches
from leffa.io.folders import (
    SUFFIXES,
    Spelling,
    files_by_name,
    is_hidden,
    log_unused,
    names_in,
    normal,
    pictures_in,
)
from leffa.io.tables import header_cells, read_table

_NEEDED = ("person", "garment")
_OPTIONAL = {field: column for field, column in COLUMNS.items() if column not in _NEEDED}
_TABLE = "pairs.csv"  # is a table whatever its header says: a misspelt column is told then


class FolderPairs(Layout):
    """Pairs of a person and a garment, or of two images of one person, in your own folder.

    With a table, a CSV file (`leffa.io.tables`) whose paths are below the root or absolute:

        person,garment[,name][,category][,mask][,densepose][,parse][,keypoints][,garment_mask]
        photos/anna.jpg,shop/dress_12.png

    Without one, folders (`leffa.io.folders`) in which all files of a sample have the same name; the
    last five are optional:

        <root>/persons/anna.jpg    garments/anna.png    masks/anna.png    densepose/anna.png
               parse/anna.png      keypoints/anna.json  garment_masks/anna.png

    A sample is named by its column `name`, otherwise by its person, or `<person>__<garment>` if a
    person occurs more than once.

    Args:
        table: the CSV file, below the root; None for folders.
        category: of samples without a column for it: "upper_body", "lower_body" or "dresses" where
            the loss region or the mask depends on it, else any word.
    """

    def __init__(
        self, root: str | Path, table: str | None = _TABLE, category: str = "upper_body"
    ) -> None:
        root = check_root(root)
        if table is None:
            records, pair_list = _from_folders(root, category), root
        else:
            records, pair_list = _from_table(root, root / table, category), root / table
        super().__init__(with_matches(records, root / MATCHES, pair_name), pair_list)


def tables(root: Path) -> list[str]:
    """The CSV files of pairs in a folder, such as `train.csv` and `test.csv`."""
    found = [
        name
        for name in names_in(root)
        if PurePath(name).suffix.lower() in (".csv", ".tsv") and (root / name).is_file()
    ]
    return sorted(
        name for name in found if name == _TABLE or header_cells(root / name).issuperset(_NEEDED)
    )


def pairs_by_table(root: Path) -> dict[str | None, FolderPairs]:
    """The pairs of every table of a folder; without a table those of its folders, under None."""
    names: list[str | None] = [*tables(root)] or [None]
    return {name: FolderPairs(root, name) for name in names}


def is_custom_folder(root: Path) -> bool:
    """Whether `FolderPairs` would read the folder."""
    return bool(tables(root)) or ((root / "persons").is_dir() and (root / "garments").is_dir())


def _from_table(root: Path, table: Path, category: str) -> list[Record]:
    if not table.is_file():
        raise FileNotFoundError(
            f"{table}: no such table of pairs; write it, a CSV file with the columns "
            "person,garment, or give table=null to take the folders persons/ and garments/"
        )
    pairs = []
    for line, values in read_table(table, _NEEDED, ("name", "category", *_OPTIONAL.values())):
        if not (values["person"] and values["garment"]):
            raise ValueError(f"{table}: line {line} lacks its person or its garment")
        pairs.append(values)
    if not pairs:
        raise ValueError(f"{table}: lists nothing below its header; add one line per pair")
    spelled = Spelling()
    return [
        Record(
            name=name,
            category=values.get("category") or category,
            source=spelled(root / values["person"]),
            reference=spelled(root / values["garment"]),
            **{
                field: spelled(root / values[column])
                for field, column in _OPTIONAL.items()
                if values.get(column)
            },
        )
        for name, values in zip(_names(pairs, table), pairs, strict=True)
    ]


def _names(pairs: list[dict[str, str]], table: Path) -> list[str]:
    """One name per pair, from the column `name` or from the files."""
    people = [PurePath(values["person"]).stem for values in pairs]
    unique = len(set(people)) == len(people)
    names = [
        normal(
            values.get("name")
            or (person if unique else f"{person}__{PurePath(values['garment']).stem}")
        )
        for person, values in zip(people, pairs, strict=True)
    ]
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
    return names


def _from_folders(root: Path, category: str) -> list[Record]:
    people, garments = pictures_in(root / "persons"), pictures_in(root / "garments")
    if missing := sorted(people.keys() - garments.keys()):
        raise ValueError(
            f"{root / 'garments'}: has no image for {len(missing)} of the {len(people)} persons, "
            f"first {missing[0]}; a person and its garment must have one name, or use a table"
        )
    log_unused(root / "garments", garments, people, "person")
    find = {
        str(files.field): _present(root / files.spellings[0], files.pattern, people)
        for files in FOLDER.groups[0].files
        if not files.main
    }
    return [
        Record(
            name=name,
            category=category,
            source=people[name],
            reference=garments[name],
            **{field: locate(name) for field, locate in find.items()},
        )
        for name in people
    ]


def _present(folder: Path, pattern: str, people: Collection[str]) -> Locate:
    """Finds the files of an optional folder; where it lacks one, `Layout` says which."""
    if all(is_hidden(name) for name in names_in(folder)):
        return lambda name: None
    found = files_by_name(folder, (".json",) if pattern.endswith(".json") else SUFFIXES)
    log_unused(folder, found, people, "person")
    return lambda name: found.get(name, folder / pattern.format(name))
