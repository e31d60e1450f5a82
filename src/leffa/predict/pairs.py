"""Which person gets which garment: from files, from folders, or from a table."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from leffa.data.batch import Record
from leffa.data.folder import FolderPairs
from leffa.data.layout import Layout
from leffa.io.folders import SUFFIXES, check_there, files_by_name, log_unused, normal, pictures_in

MAPS = ("mask", "densepose", "parse", "keypoints")  # of the person


def pairs_of_files(
    person: Path, garment: Path, maps: Mapping[str, Path | None], category: str
) -> Sequence[Record]:
    """The pairs of two files, of two folders whose files match by name, or of a file and a folder.

    A file beside a folder goes with each of the folder's images. The maps are files where the
    person is one, else folders in which they have the person's name.

    Raises:
        FileNotFoundError: a file or folder is not there, or lacks what another one has.
        ValueError: a file where a folder should be, or the other way round.
    """
    given = {option: path for option, path in maps.items() if path is not None}
    check_there(person, garment, *given.values())
    for option, path in given.items():
        if path.is_dir() != person.is_dir():
            kind = "folder" if person.is_dir() else "file"
            raise ValueError(f"{path}: --{option} must be a {kind}, as --person is")
    people, garments = _pictures(person), _pictures(garment)
    found = {field: _maps_of(people, path, field) for field, path in given.items()}
    if person.is_dir() and garment.is_dir():
        advice = "a person and its garment must have one name, or use --table"
        _check_names(people, garments, garment, "image", advice)
        chosen = [(name, name, name) for name in sorted(people)]
    elif garment.is_dir():
        chosen = [(f"{one}__{name}", one, name) for one in people for name in sorted(garments)]
    else:
        chosen = [(name, name, one) for name in sorted(people) for one in garments]
    records = [
        Record(
            name=name,
            category=category,
            source=people[of_person],
            reference=garments[of_garment],
            **{field: files[of_person] for field, files in found.items()},
        )
        for name, of_person, of_garment in chosen
    ]
    return Layout(records, person)


def pairs_of_table(table: Path, root: Path | None, category: str) -> Sequence[Record]:
    """The pairs of a CSV file, see `FolderPairs`; paths begin in `root`, else beside the table."""
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such file (--table)")
    return FolderPairs(root or table.parent, str(table.absolute()), category)


def _pictures(path: Path) -> dict[str, Path]:
    """The file, or the images of the folder, by name."""
    return {normal(path.stem): path} if path.is_file() else pictures_in(path)


def _maps_of(people: Collection[str], path: Path, field: str) -> dict[str, Path]:
    if path.is_file():
        return dict.fromkeys(people, path)
    found = files_by_name(path, (".json",) if field == "keypoints" else SUFFIXES)
    _check_names(people, found, path, field, "a person's files must have one name")
    return found


def _check_names(
    people: Collection[str], found: Collection[str], folder: Path, what: str, advice: str
) -> None:
    """Raise FileNotFoundError where a person's file is missing; log files without a person."""
    if missing := sorted(set(people) - set(found)):
        raise FileNotFoundError(
            f"{folder}: has no {what} for {len(missing)} of the {len(people)} persons, first "
            f"{missing[0]}; {advice}"
        )
    log_unused(folder, found, people, "person")
