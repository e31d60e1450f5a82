"""A user's own folder, surveyed through the class that reads it: any names, any suffixes."""

from pathlib import Path

from leffa.data.batch import Record
from leffa.data.doctor.declare import Files
from leffa.data.doctor.survey import Present, Survey
from leffa.data.folder import FolderPairs

TITLE = "a folder of your own"
TABLE = "pairs.csv"

# What the files hold is a matter of the transform's options, so only what all agree on is checked.
_FIELDS = {
    "source": Files("persons", "{}", "photo", "person", main=True),
    "reference": Files("garments", "{}", "photo", "garment", main=True),
    "mask": Files("masks", "{}", "mask", "person"),
    "densepose": Files("densepose", "{}", "drawing", "person"),
    "parse": Files("parse", "{}", "parse_any", "person"),
    "keypoints": Files("keypoints", "{}", "pose_any", "person"),
    "reference_mask": Files("garment_masks", "{}", "garment_mask", "garment"),
}


def is_own(root: Path) -> bool:
    """Whether `FolderPairs` would read the folder."""
    return (root / TABLE).is_file() or (
        (root / "persons").is_dir() and (root / "garments").is_dir()
    )


def survey_own(root: Path) -> Survey:
    """The files of every pair.

    Raises:
        FileNotFoundError, ValueError: as `FolderPairs`, whose message says what to do.
    """
    survey = Survey()
    seen: set[Path] = set()
    for record in FolderPairs(root, table=TABLE if (root / TABLE).is_file() else None):
        _add(survey, root, record, seen)
    survey.lists["pairs"] = []
    return survey


def _add(survey: Survey, root: Path, record: Record, seen: set[Path]) -> None:
    for field, files in _FIELDS.items():
        path = getattr(record, field)
        if isinstance(path, Path) and path not in seen:
            seen.add(path)
            where = path.parent
            inside = (
                where.relative_to(root).as_posix() if where.is_relative_to(root) else str(where)
            )
            survey.present.append(Present(path, inside, files, "pairs", record.name))
