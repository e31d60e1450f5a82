"""`leffa prepare`: which steps each data set needs."""

from collections.abc import Sequence
from pathlib import Path

from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.doctor.report import Count, Report, Row
from leffa.data.doctor.sheet import write_sheet
from leffa.data.labels import LabelSet
from leffa.preprocess.prepare.jobs import Progress
from leffa.preprocess.prepare.lists import LISTS, deepfashion_pictures
from leffa.preprocess.prepare.masks import MaskSet, make_masks
from leffa.preprocess.prepare.resize import SIZES, resize_pictures


def prepare_dataset(
    dataset: str,
    root: Path,
    sizes: Sequence[tuple[int, int]] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the lists that are missing and, for DeepFashion, the pictures at the sizes in use.

    Args:
        dataset: a key of `lists.LISTS`.
        sizes: (width, height) of DeepFashion's pictures; None for 176x256 and 352x512.

    Returns:
        The lists and folders that were written.

    Raises:
        FileNotFoundError, ValueError: the message names what is missing and where to ask for it.
    """
    written = LISTS[dataset](root)
    if dataset == "deepfashion":
        pictures = deepfashion_pictures(root)
        written += resize_pictures(pictures, root, sizes or SIZES, workers, progress)
    return written


def prepare_masks(
    root: Path,
    recipe: str,
    sheet: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    label_set: LabelSet | None = None,
    encoding: str | None = None,
) -> list[Path]:
    """Make agnostic masks (`masks.make_masks`) and, where asked for, their contact sheet.

    Returns:
        The folders of masks, the tables that name masks, and the sheet.
    """
    sets = make_masks(root, recipe, workers, progress, label_set, encoding)
    written = [path for entry in sets for path in (entry.folder, *entry.tables)]
    if sheet is not None:
        counts = [Count(str(entry.folder), len(entry.files)) for entry in sets]
        title = f"Agnostic masks, recipe {recipe}"
        synthetic = (root / SYNTHETIC).is_file()
        files = sum(count.found for count in counts)
        page = Report(
            "masks", title, root, synthetic, counts, {}, (), files, 0.0, _sheet_rows(sets)
        )
        write_sheet(page, sheet)
        written.append(sheet)
    return written


def _sheet_rows(sets: Sequence[MaskSet], most: int = 48) -> list[Row]:
    """Persons with their masks, evenly spread, for a contact sheet."""
    rows = []
    for entry in sets:
        step = max(1, -(-len(entry.files) * len(sets) // most))
        for name in sorted(entry.files)[::step]:
            record = entry.files[name]
            shown = {"source": record.source, "mask": entry.folder / name}
            for column in ("parse", "densepose", "keypoints"):
                if isinstance(path := getattr(record, column), Path):
                    shown[column] = path
            rows.append(Row(record.name, shown, ()))
    return rows
