"""A user's own folder, surveyed through the class that reads it: any names, any suffixes."""

from dataclasses import replace
from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.catalog import CATALOG
from leffa.data.doctor.survey import Present, Survey
from leffa.data.folder import FolderPairs
from leffa.io.folders import SUFFIXES, names_in, scan
from leffa.io.tables import header_cells

_TABLES = (".csv", ".tsv")
_TABLE = "pairs.csv"  # is a table whatever its header says: a misspelt column is told then
_FOLDERS = "pairs"  # the group of samples that no table lists

Subject = tuple[str, str]  # group and key

# Any names and suffixes.
_FILES = tuple(replace(files, pattern="{}") for files in CATALOG["folder"].groups[0].files)


def is_custom_folder(root: Path) -> bool:
    """Whether `FolderPairs` would read the folder."""
    return bool(tables(root)) or ((root / "persons").is_dir() and (root / "garments").is_dir())


def tables(root: Path) -> list[str]:
    """The CSV files of pairs in the folder, such as `train.csv` and `test.csv`."""
    found = [
        name
        for name in names_in(root)
        if PurePath(name).suffix.lower() in _TABLES and (root / name).is_file()
    ]
    return sorted(name for name in found if name == _TABLE or _is_table(root / name))


def survey_custom_folder(root: Path) -> Survey:
    """The files of every pair of every table; without a table, of the folders.

    Raises:
        FileNotFoundError, ValueError: as `FolderPairs`, whose message says what to do.
    """
    survey = Survey()
    seen: set[Path] = set()
    owners: dict[Path, Subject] = {}
    groups: dict[str, str | None] = {table: table for table in tables(root)}
    for group, table in (groups or {_FOLDERS: None}).items():
        survey.own[table] = FolderPairs(root, table=table)
        for record in survey.own[table]:
            # Two tables may name one photograph: what they give it belongs together.
            subject = group, record.name
            subjects = {
                "person": owners.setdefault(record.source, subject),
                "garment": owners.setdefault(record.reference, subject),
            }
            _add(survey, root, subjects, record, seen)
        survey.lists[group] = []
    if not groups:
        _say_unread(survey, root, seen)
    return survey


def _say_unread(survey: Survey, root: Path, read: set[Path]) -> None:
    """What lies in the folders and belongs to no person, or is of a kind that is not read."""
    for files in _FILES:
        (where,) = files.spellings
        found = scan(root / where, (".json",) if files.content == "pose" else SUFFIXES)
        for path in found.files.values():
            if path not in read:
                survey.add("extra-file", where, path.name)
        for path in found.left_out:
            survey.add("left-out", where, path.name)


def _is_table(path: Path) -> bool:
    return {"person", "garment"} <= header_cells(path)


def _add(
    survey: Survey, root: Path, subjects: dict[str, Subject], record: Record, seen: set[Path]
) -> None:
    for files in _FILES:
        path = getattr(record, files.field or "")
        if isinstance(path, Path) and path not in seen:
            seen.add(path)
            where = path.parent
            inside = (
                where.relative_to(root).as_posix() if where.is_relative_to(root) else str(where)
            )
            survey.present.append(Present(path, inside, files, *subjects[files.role]))
