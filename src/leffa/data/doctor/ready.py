"""What the pairs of a user's own folder have: the number of files of each kind, and their masks."""

from collections.abc import Sequence
from dataclasses import dataclass

from leffa.data.batch import Record
from leffa.data.labels import CATEGORIES

_MASKS = {
    "mask": "with its mask files",
    "recipe": "with a recipe that makes masks from parse and keypoints (data.transform.agnostic, "
    "dataset.transform.agnostic, leffa predict --recipe NAME)",
}
_NO_MASKS = (
    "nor have all the parse, keypoints and category that recipes make masks from; `leffa photo "
    "ROOT --recipe NAME` makes them"
)
_USUAL = ("train.csv", "test.csv")
_OF_FOLDERS = (
    "from folders: train.py data.train.table=null data.val.table=null; evaluate.py "
    "dataset.records.table=null; leffa predict --root ROOT"
)
_OF_TABLES = (
    "unless told otherwise train.py reads train.csv and test.csv, evaluate.py test.csv: give "
    "data.train.table=NAME data.val.table=NAME, dataset.records.table=NAME"
)


@dataclass(frozen=True)
class Ready:
    """The pairs of one table, or of the folders."""

    table: str | None  # its name; None for folders whose files match by name
    pairs: int
    files: dict[str, int]  # how many pairs have a file of each kind
    masks: str | None  # where try-on gets every pair's mask from, a key of `_MASKS`

    @property
    def lines(self) -> list[str]:
        """For the terminal: the files, and whether try-on has its masks."""
        counted = ", ".join(f"{name} {count}" for name, count in self.files.items())
        if self.masks is not None:
            tryon = f"try-on, {_MASKS[self.masks]}"
        else:
            lacking = self.pairs - self.files["mask"]
            tryon = f"not try-on: {lacking} of {self.pairs} pairs have no mask, {_NO_MASKS}"
        return [f"{self.table or 'folders'}: {self.pairs} pairs; {counted}", f"  {tryon}"]


def readiness(table: str | None, records: Sequence[Record]) -> Ready:
    """What these pairs have."""
    fields = ("mask", "densepose", "parse", "keypoints", "reference_mask")
    files = {field: sum(getattr(r, field) is not None for r in records) for field in fields}
    complete = {field for field, count in files.items() if count == len(records)}
    files["garment_mask"] = files.pop("reference_mask")
    known = all(record.category in CATEGORIES for record in records)
    masks = "recipe" if known and complete.issuperset(("parse", "keypoints")) else None
    return Ready(table, len(records), files, "mask" if "mask" in complete else masks)


def ready_lines(ready: Sequence[Ready]) -> list[str]:
    """The lines of all tables, and how the commands are told where to find them."""
    lines = [line for each in ready for line in each.lines]
    tables = {each.table for each in ready}
    if tables == {None}:
        return [*lines, _OF_FOLDERS]
    return lines if tables.issuperset(_USUAL) else [*lines, _OF_TABLES]
