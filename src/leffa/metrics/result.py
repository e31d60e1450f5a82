"""The result of an evaluation, with all that its numbers depend on."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import leffa
from leffa.io.atomic import write_text
from leffa.io.outputs import marked
from leffa.metrics.protocols import Protocol
from leffa.metrics.report import results_table

_LIBRARIES = ("torch", "torchvision", "torchmetrics", "lpips", "numpy", "pillow")


@dataclass(frozen=True)
class Scores:
    """Values and their circumstances.

    Attributes:
        protocol: how they were computed.
        paired: whether predictions were compared with their true images.
        values: metric -> value.
        images: how many images of "pred" and of "real", the set behind FID and KID.
        formats: of both, file format -> number of files.
        missing: metric -> why it is not among the values.
        notes: what a reader of the numbers should know.
        weights: network -> its file and SHA256.
        versions: library -> version.
        per_image: metric -> prediction's name -> value.
        intervals: metric -> 95 % bootstrap interval over the test images.
        left_out: metric -> names of the samples that it cannot judge, which its value leaves out.
        groups: part of the predictions -> metric -> value, where parts were asked for.
        names_sha256: of the list of pairs (or of predictions, if unpaired): two results with the
            same one are about the same images.
    """

    protocol: Protocol
    paired: bool
    values: dict[str, float]
    images: dict[str, int]
    formats: dict[str, dict[str, int]]
    missing: dict[str, str]
    notes: list[str]
    weights: dict[str, str]
    versions: dict[str, str]
    per_image: dict[str, dict[str, float]]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    names_sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: an infinite PSNR becomes "inf"."""
        result = asdict(self)
        result["values"] = finite(self.values)
        result["per_image"] = {metric: finite(each) for metric, each in self.per_image.items()}
        result["groups"] = {group: finite(each) for group, each in self.groups.items()}
        return result

    def save(self, path: Path) -> None:
        """Write the JSON file; an interrupted run leaves no half of it."""
        write_text(path, json.dumps(marked(self.as_dict()), indent=2, allow_nan=False) + "\n")

    def to_markdown(self) -> str:
        """A table of one row; below it what is missing and what to know."""
        kind = "paired" if self.paired else "unpaired"
        row = (
            f"{self.protocol.name} v{self.protocol.version}, {kind}, {self.images['pred']:,} images"
        )
        rows = {row: self.values}
        if self.intervals:
            low, high = zip(*self.intervals.values(), strict=True)
            rows["95 % from"] = dict(zip(self.intervals, low, strict=True))
            rows["95 % to"] = dict(zip(self.intervals, high, strict=True))
        table = results_table(rows, [*self.values, *self.missing])
        remarks = [f"{metric} is missing: {reason}" for metric, reason in self.missing.items()]
        remarks += [left_out_remark(metric, names) for metric, names in self.left_out.items()]
        remarks += self.notes
        return "\n".join([table, *(f"- {remark}" for remark in remarks)])


def left_out_remark(metric: str, names: Sequence[str], shown: int = 5) -> str:
    """That a metric cannot judge some samples, in words: how many, and the first names."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (
        f"{metric}: {len(names)} {'sample' if len(names) == 1 else 'samples'} left out, with "
        f"nothing in the region it looks at: {', '.join(names[:shown])}{more}"
    )


def library_versions() -> dict[str, str]:
    """Of this package and of those that decide the numbers."""
    return {"leffa": leffa.__version__} | {name: version(name) for name in _LIBRARIES}


def finite(values: dict[str, float]) -> dict[str, float | str]:
    """Ready for JSON: an infinite PSNR becomes "inf"."""
    return {key: value if math.isfinite(value) else str(value) for key, value in values.items()}
