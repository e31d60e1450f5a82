"""Notes beside folders of generated maps, so that later runs read them correctly.

    ROOT/parse/        ROOT/parse.json        {"label_set": "atr"}
    ROOT/densepose/    ROOT/densepose.json    {"encoding": "colour"}
    ROOT/masks/        ROOT/masks.json        {"recipe": "hr_viton", "category": "upper_body",
                                               "label_set": "atr"}

Maps from elsewhere have no note.
"""

import json
from pathlib import Path

from leffa.io.atomic import write_json
from leffa.io.folders import names_in

_KEYS = {"label_set", "encoding", "recipe", "category"}


def read_note(folder: Path) -> dict[str, str]:
    """The note of a folder, empty where it has none; raises ValueError of a damaged one."""
    path = _note_of(folder)
    if not path.is_file():
        return {}
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # of the text, or of its encoding
        note = None
    if not isinstance(note, dict):
        raise ValueError(
            f"{path}: has no entry for {folder}; delete it, and use the options instead"
        )
    return {key: str(value) for key, value in note.items()}


def agreed_note(folder: Path, **wanted: str | None) -> dict[str, str]:
    """The note of a folder that holds files, else an empty one.

    Args:
        wanted: what this run would use, None where anything will do.

    Raises:
        ValueError: the note says something else, or is damaged.
    """
    if all(name.startswith(".") for name in names_in(folder)):
        return {}
    note = read_note(folder)
    for key, value in wanted.items():
        if value is not None and note.get(key, value) != value:
            raise ValueError(
                f"{folder}: holds files of {key} {note[key]} ({_note_of(folder).name}), not "
                f"{value}; ask for {note[key]} again, or rename or delete the folder to make others"
            )
    return note


def write_note(folder: Path, **note: str) -> None:
    """Note what the folder holds; raises ValueError where a file of that name is no note."""
    if read_note(folder).keys() - note.keys() - _KEYS:
        raise ValueError(f"{_note_of(folder)}: was not written by leffa; rename it")
    write_json(_note_of(folder), note, indent=None)


def _note_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")
