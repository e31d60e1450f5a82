"""What a user's own folder is ready for: which command can make samples of its pairs, from what."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from leffa.data.batch import Record
from leffa.data.labels import CATEGORIES

TRAINED_ALL_THE_SAME = ("format-differs", "few-colours")  # kinds of findings
_PREDICTED_ALL_THE_SAME = ("format-differs", "exif-rotated")
_COMMANDS = ("train", "evaluate", "predict")
_MAKES_MASKS = (
    "nor have all the parse and keypoints that recipes make masks from; `leffa photo ROOT --recipe "
    "NAME` makes them"
)
_MASKS = {
    "mask": "with its mask files",
    "recipe": "with a recipe that makes masks from parse and keypoints (data.transform.agnostic, "
    "dataset.transform.agnostic, leffa predict --recipe NAME)",
}
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
    """What the pairs of one table, or of the folders, are ready for."""

    table: str | None  # its name; None for folders whose files match by name
    pairs: int
    files: dict[str, int]  # how many pairs have a file of each kind
    masks: str | None  # where try-on gets every pair's mask from, a key of `_MASKS`
    strange: list[str]  # categories that no recipe knows
    poses: list[str]  # what is wrong with keypoint files, which not every model reads
    refused: dict[str, list[str]]  # by command: kinds of problem for which it refuses pictures

    @property
    def commands(self) -> dict[str, list[str]]:
        """The commands that take the pairs, by task."""
        able = [command for command in _COMMANDS if command not in self.refused]
        return {"tryon": able if self.masks else [], "pose": able}

    @property
    def lines(self) -> list[str]:
        """For the terminal: the files, then a line for each task and kind of model."""
        counted = ", ".join(f"{name} {count}" for name, count in self.files.items())
        if self.masks is not None:
            tryon = f"try-on, {_MASKS[self.masks]}: {self._able}"
        elif self.strange:
            known = ", ".join(CATEGORIES)
            why = f"and recipes know {known}, not the category {self.strange[0]}"
            tryon = f"try-on: not ready: {self._lack('mask')}, {why}"
        else:
            tryon = f"try-on: not ready: {self._lack('mask')}, {_MAKES_MASKS}"
        return [
            f"{self.table or 'folders'}: {self.pairs} pairs; {counted}",
            f"  {tryon}",
            f"  pose transfer, where a pair shows one person twice: {self._able}",
            *(
                f"  with a model that reads {field}: not ready: {self._lack(field)}"
                for field in ("densepose", "keypoints")
                if self.files[field] < self.pairs or (field == "keypoints" and self.poses)
            ),
        ]

    def _lack(self, field: str) -> str:
        if field == "keypoints" and self.poses:
            return f"mend these files first ({', '.join(self.poses)})"
        return f"{self.pairs - self.files[field]} of {self.pairs} pairs have no {field}"

    @property
    def _able(self) -> str:
        kinds = sorted({kind for kinds in self.refused.values() for kind in kinds})
        refused = f"not {', '.join(self.refused)} ({', '.join(kinds)})" if kinds else ""
        return "; ".join(part for part in (", ".join(self.commands["pose"]), refused) if part)


def readiness(table: str | None, records: Sequence[Record], problems: Collection[str]) -> Ready:
    """What these pairs are ready for, given the kinds of what is to be mended in the folder."""
    fields = ("mask", "densepose", "parse", "keypoints", "reference_mask")
    files = {field: sum(getattr(r, field) is not None for r in records) for field in fields}
    complete = {field for field, count in files.items() if count == len(records)}
    if poses := sorted(kind for kind in problems if kind.startswith("pose-")):
        complete.discard("keypoints")
    strange = {record.category for record in records} - set(CATEGORIES)
    masks = "recipe" if complete.issuperset(("parse", "keypoints")) and not strange else None
    refused = {}
    for command in _COMMANDS:
        taken = _PREDICTED_ALL_THE_SAME if command == "predict" else TRAINED_ALL_THE_SAME
        if mends := sorted(set(problems).difference(taken, poses)):
            refused[command] = mends
    files["garment_mask"] = files.pop("reference_mask")
    masks = "mask" if "mask" in complete else masks
    return Ready(table, len(records), files, masks, sorted(strange), poses, refused)


def ready_lines(ready: Sequence[Ready]) -> list[str]:
    """The lines of all tables, and how the commands are told where to find them."""
    lines = [line for each in ready for line in each.lines]
    tables = {each.table for each in ready}
    if tables == {None}:
        return [*lines, _OF_FOLDERS]
    return lines if tables.issuperset(_USUAL) else [*lines, _OF_TABLES]
