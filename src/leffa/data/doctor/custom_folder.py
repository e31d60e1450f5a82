"""A user's own folder, surveyed through the class that reads it: any names, any suffixes."""

from dataclasses import replace
from pathlib import Path

from leffa.data.catalog import FOLDER
from leffa.data.doctor.survey import Present, Survey
from leffa.data.folder import FolderPairs, tables
from leffa.io.folders import SUFFIXES, scan

_FILES = tuple(replace(files, pattern="{}") for files in FOLDER.groups[0].files)
_FOLDERS = "pairs"  # the group of samples that no table lists


def survey_custom_folder(root: Path) -> Survey:
    """The files of every pair of every table; without a table, of the folders.

    Raises:
        FileNotFoundError, ValueError: as `FolderPairs`, whose message says what to do.
    """
    survey = Survey()
    seen: set[Path] = set()
    owners: dict[Path, tuple[str, str]] = {}
    names: list[str | None] = [*tables(root)] or [None]
    for table in names:
        group = table or _FOLDERS
        survey.lists[group] = []
        survey.own[table] = FolderPairs(root, table=table)
        for record in survey.own[table]:
            # Two tables may name one photograph: what they give it belongs together.
            subjects = {
                "person": owners.setdefault(record.source, (group, record.name)),
                "garment": owners.setdefault(record.reference, (group, record.name)),
            }
            for files in _FILES:
                path = getattr(record, files.field or "")
                if path is None or path in seen:
                    continue
                seen.add(path)
                inside = path.parent.is_relative_to(root)
                where = path.parent.relative_to(root) if inside else path.parent
                survey.present.append(Present(path, where.as_posix(), files, *subjects[files.role]))
    for files in _FILES if names == [None] else ():
        (where,) = files.spellings
        found = scan(root / where, (".json",) if files.content == "pose" else SUFFIXES)
        for path in found.files.values():
            if path not in seen:
                survey.add("extra-file", where, path.name)
        for path in found.left_out:
            survey.add("left-out", where, path.name)
    return survey
