"""The result of scoring, with everything its numbers depend on."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import leffa
from leffa.io.atomic import write_text
from leffa.io.outputs import marked
from leffa.metrics.protocols import Protocol
from leffa.metrics.report import results_table

NOT_JUDGED = {
    "text_similarity": "with no confidently read letters on the garment",
    "match_fidelity": "with no trusted matches of the garment on the real person",
    "match_distance": "with too few garment points found on both persons",
}
_LIBRARIES = ("torch", "torchvision", "torchmetrics", "lpips", "numpy", "pillow")


@dataclass(frozen=True)
class Scores:
    """Scores, and the settings they depend on."""

    protocol: Protocol
    paired: bool
    values: dict[str, float]  #: by metric
    images: dict[str, int]  #: how many of "pred" and of "real", the set behind FID and KID
    formats: dict[str, dict[str, int]]  #: folder -> file format -> number of files
    missing: dict[str, str]  #: metric -> why it is not among the values
    notes: list[str]  #: notes for the reader of the numbers
    weights: dict[str, str]  #: metric -> its network's file and SHA256
    versions: dict[str, str]  #: of libraries
    per_image: dict[str, dict[str, float]]  #: metric -> prediction's name -> value
    intervals: dict[str, tuple[float, float]]  #: metric -> 95 % bootstrap interval
    excluded: dict[str, list[str]]  #: metric -> names of the samples that it excludes
    coverage: dict[str, int]  #: metric of the garment's fidelity -> number of images it covers
    groups: dict[str, dict[str, float]]  #: part of the predictions -> metric -> value
    names_sha256: str  #: of the list of pairs: the same for the same images

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        result = asdict(self)
        result["values"] = finite(self.values)
        result["per_image"] = {metric: finite(each) for metric, each in self.per_image.items()}
        result["groups"] = {group: finite(each) for group, each in self.groups.items()}
        return result

    def save(self, path: Path) -> None:
        write_text(path, json.dumps(marked(self.as_dict()), indent=2, allow_nan=False) + "\n")

    def to_markdown(self) -> str:
        """A table of one row, its intervals, and what to know."""
        kind = "paired" if self.paired else "unpaired"
        name = f"{self.protocol.name} v{self.protocol.version}"
        rows = {f"{name}, {kind}, {self.images['pred']:,} images": self.values}
        if self.intervals:
            rows["95 % from"] = {metric: low for metric, (low, _) in self.intervals.items()}
            rows["95 % to"] = {metric: high for metric, (_, high) in self.intervals.items()}
        if self.coverage:
            rows["images judged"] = dict(self.coverage)
        table = results_table(rows, [*self.values, *self.missing])
        remarks = [f"{metric} is missing: {reason}" for metric, reason in self.missing.items()]
        remarks += [excluded_remark(metric, names) for metric, names in self.excluded.items()]
        return "\n".join([table, *(f"- {remark}" for remark in [*remarks, *self.notes])])


def excluded_remark(metric: str, names: Sequence[str], shown: int = 5) -> str:
    """How many samples a metric excludes, and the first names."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    samples = "sample" if len(names) == 1 else "samples"
    why = NOT_JUDGED.get(metric, "with an empty region")
    return f"{metric}: {len(names)} {samples} excluded, {why}: {', '.join(names[:shown])}{more}"


def library_versions() -> dict[str, str]:
    """Of this package and of those that decide the numbers."""
    return {"leffa": leffa.__version__} | {name: version(name) for name in _LIBRARIES}


def finite(values: dict[str, float]) -> dict[str, float | str]:
    """Ready for JSON: an infinite PSNR becomes "inf"."""
    return {key: value if math.isfinite(value) else str(value) for key, value in values.items()}
