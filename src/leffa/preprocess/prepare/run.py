"""`leffa prepare`: which steps each data set needs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.doctor.report import Count, Report
from leffa.data.doctor.sheet import write_sheet
from leffa.data.labels import LabelSet
from leffa.preprocess.prepare.jobs import Progress
from leffa.preprocess.prepare.lists import (
    deepfashion_pictures,
    list_deepfashion,
    list_dress_code,
    list_market1501,
    list_viton_hd,
)
from leffa.preprocess.prepare.masks import make_masks, sheet_rows
from leffa.preprocess.prepare.resize import SIZES, resize_pictures

_LISTS: dict[str, Callable[[Path], list[Path]]] = {
    "viton_hd": list_viton_hd,
    "dress_code": list_dress_code,
    "deepfashion": list_deepfashion,
    "market1501": list_market1501,
}


def prepare_dataset(
    dataset: str,
    root: Path,
    sizes: Sequence[tuple[int, int]] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the lists that are missing and, for DeepFashion, the pictures at the sizes in use.

    Args:
        dataset: "viton_hd", "dress_code", "deepfashion" or "market1501".
        root: its folder.
        sizes: (width, height) of DeepFashion's pictures; None for 176x256 and 352x512.
        workers: processes.
        progress: called with (files done, files in all).

    Returns:
        The lists and folders that were written.

    Raises:
        FileNotFoundError, ValueError: the message names what is missing and where to ask for it.
    """
    written = _LISTS[dataset](root)
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
        files = sum(len(entry.files) for entry in sets)
        page = Report("masks", title, root, synthetic, counts, {}, (), files, 0.0, sheet_rows(sets))
        write_sheet(page, sheet)
        written.append(sheet)
    return written
