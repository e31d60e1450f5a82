"""`leffa prepare masks`: the masks of a data set, and their contact sheet."""

from collections.abc import Sequence
from pathlib import Path

from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.doctor.report import Count, Report, Row
from leffa.data.doctor.sheet import write_sheet
from leffa.data.labels import LabelSet
from leffa.preprocess.prepare.jobs import Progress
from leffa.preprocess.prepare.masks import MaskSet, make_masks


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
