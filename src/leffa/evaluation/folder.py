"""Where an evaluation keeps its files."""

import csv
import io
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.io.atomic import write_json, write_text
from leffa.io.files import exclusive_lock
from leffa.io.folders import names_in, normal
from leffa.io.outputs import check_unclaimed

_EARLIER = {"ground_truth_flow": "true_flow", "true_image": "true_picture"}  # of columns
SETTINGS = "settings.json"  # says that the folder is an evaluation's
WRITTEN = (
    *("images", "true", "originals", "flow", "attention", "masks", "worn", "inpainted", "garments"),
    *("manifest.csv", "metrics.json", "metrics.md"),
    *(f"{sheet}{end}" for sheet in ("samples", "best", "median", "worst") for end in ("", ".png")),
)
# Seconds; the loader processes of a killed evaluation hold its lock until they notice.
PATIENCE = 10.0


class EvaluationFolder:
    """The places below the folder of one evaluation; `claim` makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.images = path / "images"  # generated, <name>.png
        self.true = path / "true"  # the true images at the generated size, <name>.png
        self.originals = path / "originals"  # the same as stored, for protocols that resize them
        self.flows = path / "flow"  # the flow metrics of each sample, see `flow_file`
        self.attention = path / "attention"  # the garment's share of it by layer, likewise
        self.masks = path / "masks"  # white where the person is, <name>.png; for masked metrics
        self.worn = path / "worn"  # white where the garment is in the true image, likewise
        self.inpainted = path / "inpainted"  # the masks of generation; these are for its fidelity,
        self.garments = path / "garments"  # as are the references as stored
        self.result = path / "metrics.json"

    @contextmanager
    def exclusive_lock(self) -> Iterator[None]:
        """While it is held, another evaluation in this folder gets a ValueError."""
        with exclusive_lock(self.path / "evaluation.lock", PATIENCE) as mine:
            if not mine:
                raise ValueError(
                    f"{self.path}: another evaluation is running in this folder; wait for it, or "
                    "give another paths.output_dir"
                )
            yield

    def flow_file(self, record: Record) -> Path:
        """Where a sample's flow metrics go: another place for other matches."""
        if record.matches is None:
            return self.flows / f"{record.name}.json"
        return self.flows / f"{record.name}.{zlib.crc32(record.matches.read_bytes()):08x}.json"

    def claim(self, settings: dict[str, Any]) -> None:
        """Write settings.json; ValueError where the folder is another evaluation's or not ours."""
        path = self.path / SETTINGS
        check_unclaimed(self.path, WRITTEN, SETTINGS)
        if path.is_file() and json.loads(path.read_bytes()) != json.loads(json.dumps(settings)):
            raise ValueError(
                f"{self.path}: holds images of another checkpoint or other settings; "
                "give another paths.output_dir, or delete the folder"
            )
        for place in (self.images, self.true):
            place.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

    def write_manifest(self, records: Sequence[Record]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = ["name", "category", "source", "reference"]
        columns += ["truth"] if any(record.truth for record in records) else []
        writer.writerow(columns)
        writer.writerows([getattr(record, column) for column in columns] for record in records)
        write_text(self.path / "manifest.csv", text.getvalue())

    def link(self, folder: Path, files: Mapping[str, Path]) -> None:
        """Link the dataset's own images, by the samples' names, into a folder, or copy them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            place = folder / f"{name}{file.suffix}"
            place.unlink(missing_ok=True)  # the data may have moved
            try:
                place.symlink_to(file.resolve())
            except OSError:
                shutil.copyfile(file, place)


def unfinished(records: Sequence[Record], *folders: Path) -> list[Record]:
    """The samples without a file in each of the folders."""
    done = [
        {normal(Path(name).stem) for name in names_in(folder) if name.endswith((".png", ".json"))}
        for folder in folders
    ]
    return [record for record in records if not all(record.name in names for names in done)]


def sample_folder(folder: Path, heading: str, sheet: str = "samples") -> Path:
    """The images of one column (of `leffa.pictures.HEADINGS`) of a sheet, such as "best"."""
    place = folder / sheet / heading.replace(" ", "_").replace("-", "_")
    earlier = place.with_name(_EARLIER.get(place.name, place.name))
    return earlier if earlier.is_dir() else place
