"""Where an evaluation keeps its files; every one of them is whole or not there."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.io.atomic import write_text
from leffa.io.files import exclusive_lock
from leffa.io.folders import normal
from leffa.io.outputs import check_unclaimed

SETTINGS = "settings.json"  # says that the folder is an evaluation's
WRITTEN = (
    *("images", "true", "originals", "flow", "masks", "manifest.csv", "metrics.json", "metrics.md"),
    *(f"{sheet}{end}" for sheet in ("samples", "best", "median", "worst") for end in ("", ".png")),
)
# Seconds; the loader processes of a killed evaluation hold its lock until they find that out.
PATIENCE = 10.0


@dataclass(frozen=True)
class EvaluationFolder:
    """The places below the folder of one evaluation.

    Args:
        path: the folder; `claim` makes it.
    """

    path: Path

    @property
    def images(self) -> Path:
        """Generated pictures, `<name>.png`."""
        return self.path / "images"

    @property
    def true(self) -> Path:
        """The true pictures at the generated size, `<name>.png`."""
        return self.path / "true"

    @property
    def originals(self) -> Path:
        """The true pictures as the data set stores them, `<name>` with their own suffix; for
        protocols that bring them to size in a way of their own."""
        return self.path / "originals"

    @property
    def flows(self) -> Path:
        """What was found about each sample's flow, `<name>.json`."""
        return self.path / "flow"

    @property
    def masks(self) -> Path:
        """White where the person is, `<name>.png`; for masked metrics only."""
        return self.path / "masks"

    @property
    def result(self) -> Path:
        """The numbers."""
        return self.path / "metrics.json"

    @property
    def manifest(self) -> Path:
        """A line per sample: name, category, source, reference."""
        return self.path / "manifest.csv"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts, no other evaluation works here; a killed one leaves no lock behind.

        Raises:
            ValueError: another one does.
        """
        with exclusive_lock(self.path / "evaluation.lock", PATIENCE) as mine:
            if not mine:
                raise ValueError(
                    f"{self.path}: another evaluation works in this folder; let it end, or give "
                    "another paths.output_dir"
                )
            yield

    def claim(self, settings: dict[str, Any]) -> None:
        """Say in settings.json whose pictures these are.

        Raises:
            ValueError: the folder holds pictures of other settings, or of somebody else.
        """
        path = self.path / SETTINGS
        if not path.is_file():
            check_unclaimed(self.path, WRITTEN, SETTINGS)
        text = json.dumps(settings, indent=2) + "\n"
        if path.is_file() and _read_json(path) != json.loads(text):
            raise ValueError(
                f"{self.path}: holds pictures of another checkpoint or other settings; "
                "give another paths.output_dir, or delete the folder"
            )
        for place in (self.images, self.true):
            place.mkdir(parents=True, exist_ok=True)
        write_text(path, text)

    def write_manifest(self, records: Iterable[Record]) -> None:
        """Keep each sample's category and files, for tables per category and for the curious."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "category", "source", "reference"])
        writer.writerows([r.name, r.category, r.source, r.reference] for r in records)
        write_text(self.manifest, text.getvalue())

    def link_originals(self, records: Iterable[Record]) -> None:
        """Show the data set's own files under the samples' names; copies where links cannot be."""
        self.originals.mkdir(parents=True, exist_ok=True)
        for record in records:
            place = self.originals / f"{record.name}{record.source.suffix}"
            place.unlink(missing_ok=True)  # the data may have moved
            try:
                place.symlink_to(record.source.resolve())
            except OSError:
                shutil.copyfile(record.source, place)

    def without_images(self, records: Sequence[Record]) -> list[Record]:
        """The samples that are still to be generated."""
        done = _stems(self.images) & _stems(self.true)
        return [record for record in records if record.name not in done]

    def without_flows(self, records: Sequence[Record]) -> list[Record]:
        """The samples with a ground-truth flow that was not yet compared with the predicted one."""
        done = _stems(self.flows)
        return [record for record in records if record.flow is not None and record.name not in done]

    def without_masks(self, records: Sequence[Record]) -> list[Record]:
        """The samples whose mask is still to be written."""
        done = _stems(self.masks)
        return [record for record in records if record.name not in done]


def sample_folder(folder: Path, heading: str, sheet: str = "samples") -> Path:
    """Where the evaluation in `folder` leaves the pictures of one column of a sheet.

    Args:
        heading: one of `leffa.pictures.HEADINGS`.
        sheet: "samples" (the first ones), "best", "median" or "worst".
    """
    place = folder / sheet / heading.replace(" ", "_").replace("-", "_")
    earlier = place.with_name("true_flow")  # how it was named before
    return earlier if place.name == "ground_truth_flow" and earlier.is_dir() else place


def _stems(folder: Path) -> set[str]:
    """The finished files of a folder without their suffixes; one scan, not a look per file."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {normal(Path(e.name).stem) for e in entries if e.name.endswith((".png", ".json"))}


def _read_json(path: Path) -> Any:
    """What the file holds; None if that is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
