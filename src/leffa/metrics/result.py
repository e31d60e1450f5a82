"""The result of an evaluation, with all that its numbers depend on."""

import json
import math
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import leffa
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

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON: an infinite PSNR becomes "inf"."""
        result = asdict(self)
        result["values"] = _numbers(self.values)
        result["per_image"] = {metric: _numbers(each) for metric, each in self.per_image.items()}
        return result

    def save(self, path: Path) -> None:
        """Write the JSON file; an interrupted run leaves no half of it."""
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n")
        partial.replace(path)

    def to_markdown(self) -> str:
        """A table of one row; below it what is missing and what to know."""
        kind = "paired" if self.paired else "unpaired"
        row = (
            f"{self.protocol.name} v{self.protocol.version}, {kind}, {self.images['pred']:,} images"
        )
        table = results_table({row: self.values}, [*self.values, *self.missing])
        remarks = [f"{metric} is missing: {reason}" for metric, reason in self.missing.items()]
        remarks += self.notes
        return "\n".join([table, *(f"- {remark}" for remark in remarks)])


def library_versions() -> dict[str, str]:
    """Of this package and of those that decide the numbers."""
    return {"leffa": leffa.__version__} | {name: version(name) for name in _LIBRARIES}


def _numbers(values: dict[str, float]) -> dict[str, float | str]:
    return {key: value if math.isfinite(value) else str(value) for key, value in values.items()}
