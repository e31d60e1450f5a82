"""Which person gets which garment: from files, from folders, or from a table."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from leffa.data.batch import Record
from leffa.data.folder import FolderPairs
from leffa.data.layout import Layout
from leffa.io.folders import SUFFIXES, files_by_name, normal, pictures_in, tell_unused

MAPS = ("mask", "densepose", "parse", "keypoints")  # of the person
_OF_FIELD = {"keypoints": (".json",)}


def pairs_of_files(
    person: Path, garment: Path, maps: Mapping[str, Path | None], category: str
) -> Sequence[Record]:
    """The pairs of two files, of two folders whose files match by name, or of a file and a folder.

    A file beside a folder goes with each of the folder's pictures. The maps are files where the
    person is one, else folders in which they have the person's name.

    Raises:
        FileNotFoundError: a file or folder is not there, or lacks what another one has.
        ValueError: a file where a folder should be, or the other way round.
    """
    for option, path in {"person": person, "garment": garment, **maps}.items():
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder (--{option})")
        if option in MAPS and path is not None and path.is_dir() != person.is_dir():
            kind = "folder" if person.is_dir() else "file"
            raise ValueError(f"{path}: --{option} must be a {kind}, as --person is")
    people, garments = _pictures(person), _pictures(garment)
    found = {field: _maps(path, field, people.keys()) for field, path in maps.items()}
    if person.is_dir() and garment.is_dir():
        if alone := sorted(people.keys() - garments.keys()):
            raise FileNotFoundError(
                f"{garment}: has no picture for {len(alone)} of the {len(people)} persons, first "
                f"{alone[0]}; a person and its garment must have one name, or use --table"
            )
        tell_unused(garment, garments, people, "person")
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
            **{field: of.get(of_person) for field, of in found.items()},
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
    """The file, or the pictures of the folder, by name."""
    return {normal(path.stem): path} if path.is_file() else pictures_in(path)


def _maps(path: Path | None, field: str, people: Set[str]) -> dict[str, Path]:
    """The maps of one field by person; empty where none were given."""
    if path is None or path.is_file():
        return {} if path is None else dict.fromkeys(people, path)
    found = files_by_name(path, _OF_FIELD.get(field, SUFFIXES))
    if alone := sorted(people - found.keys()):
        raise FileNotFoundError(
            f"{path}: has no {field} for {len(alone)} of the {len(people)} persons, first "
            f"{alone[0]}; a person's files must have one name"
        )
    tell_unused(path, found, people, "person")
    return found
