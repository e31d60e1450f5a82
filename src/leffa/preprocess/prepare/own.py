"""The masks of a user's own folder, and the tables that name them."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.folder import FolderPairs, tables
from leffa.io.tables import read_table, read_text

MASKS = "masks"
_WRITTEN = "_masks.csv"  # the end of the name of a table that is written here

Names = dict[tuple[Path, str], str]  # the mask's of each photo and category


def own_masks(root: Path) -> tuple[dict[str, Record], dict[Path, str]]:
    """Whose masks are to be made, by the mask's name, and the tables that will name them.

    A mask has the name of its photo, followed by the category where a person has garments of
    several. Of a table, lines that have a mask keep it; of all others `pairs_masks.csv`, beside
    `pairs.csv`, will name the one that is made. Without a table masks are found by their names.

    Raises:
        ValueError: two masks would have one name, or every line names a mask already.
    """
    listed = {
        table: FolderPairs(root, table) for table in tables(root) if not table.endswith(_WRITTEN)
    }
    if not listed:
        return {f"{record.source.stem}.png": record for record in FolderPairs(root, None)}, {}
    lacking = [one for records in listed.values() for one in records if one.mask is None]
    if not lacking:
        raise ValueError(
            f"{root / next(iter(listed))}: every line names its mask; remove the column `mask` to "
            "have others made"
        )
    names = _mask_names(lacking)
    written = {
        root / f"{PurePath(table).stem}{_WRITTEN}": _with_masks(root / table, records, names)
        for table, records in listed.items()
        if any(record.mask is None for record in records)
    }
    return {names[one.source, one.category]: one for one in lacking}, written


def check_tables(written: dict[Path, str]) -> None:
    """Raise ValueError where a table of this name has lines that would be lost."""
    for path, content in written.items():
        if path.is_file() and (
            lost := set(read_text(path).splitlines()) - set(content.splitlines())
        ):
            raise ValueError(
                f"{path}: has lines that would be lost, such as {min(lost)!r}; rename the file"
            )


def _mask_names(records: Iterable[Record]) -> Names:
    categories: dict[Path, set[str]] = defaultdict(set)
    for record in records:
        categories[record.source].add(record.category)
    names: Names = {}
    photos: dict[str, Path] = {}
    for source, several in categories.items():
        for category in several:
            name = f"{source.stem}_{category}.png" if len(several) > 1 else f"{source.stem}.png"
            if (other := photos.setdefault(name, source)) != source:
                raise ValueError(
                    f"{other} and {source} would both have the mask {name}; rename one of them"
                )
            names[source, category] = name
    return names


def _with_masks(table: Path, records: Sequence[Record], names: Names) -> str:
    """The user's lines, which the records are of, with a mask in each."""
    rows = [row for _, row in read_table(table, ("person", "garment"))]
    for row, record in zip(rows, records, strict=True):
        if record.mask is None:
            row["mask"] = f"{MASKS}/{names[record.source, record.category]}"
    content = io.StringIO()
    writer = csv.DictWriter(content, dict.fromkeys([*rows[0], "mask"]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()
