"""From the folder of pictures to numbers, the set as a whole and category by category."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.data.dress_code import CATEGORIES
from leffa.evaluation.folder import EvaluationFolder
from leffa.metrics.protocols import Protocol
from leffa.metrics.result import Scores
from leffa.metrics.score import score_folders

SET_METRICS = ("fid", "kid")


@dataclass(frozen=True)
class Scoring:
    """How pictures are scored; see `score_folders`.

    Args:
        paired: whether the source wears the reference, so that image metrics have a truth.
        real: folder of the real set behind FID and KID, where it is not the true images.
        masks: folder of the masks behind masked metrics.
        device, workers, progress: change the speed and the look only.
    """

    protocol: Protocol
    paired: bool
    real: Path | None = None
    masks: Path | None = None
    weights: Path | None = None
    device: str = "cpu"
    workers: int = 0
    progress: bool = False

    def score(
        self, images: Path, true: Path, names: Sequence[str], real: Path | None = None
    ) -> Scores:
        """Score one folder of pictures as `leffa score` does; both sides have the same names."""
        return score_folders(
            images,
            true,
            self.protocol,
            paired=self.paired,
            names={name: name for name in names} if self.paired else None,
            real=real,
            masks=self.masks if self.paired else None,
            weights=self.weights,
            device=self.device,
            workers=self.workers,
            progress=self.progress,
        )


def score_all(folder: EvaluationFolder, records: Sequence[Record], scoring: Scoring) -> Scores:
    """Score all pictures of an evaluation."""
    names = [record.name for record in records]
    return scoring.score(folder.images, folder.true, names, scoring.real)


def score_categories(
    folder: EvaluationFolder, records: Sequence[Record], scoring: Scoring
) -> dict[str, dict[str, Any]]:
    """Category -> {"images": how many, "values": metric -> value}, for DressCode's categories.

    Each category is scored as a data set of its own, as the papers do: its FID compares its images
    with its own persons. Empty where there is only one category.
    """
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(record.category, []).append(record.name)
    if len(names) < 2 or not names.keys() <= set(CATEGORIES):
        return {}
    return {
        category: _score_part(folder, names[category], scoring)
        for category in CATEGORIES
        if category in names
    }


def _score_part(folder: EvaluationFolder, names: Sequence[str], scoring: Scoring) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        places = []
        for side in (folder.images, folder.true):
            part = Path(temporary, side.name)
            part.mkdir()
            for name in names:
                (part / f"{name}.png").symlink_to((side / f"{name}.png").resolve())
            places.append(part)
        scores = scoring.score(places[0], places[1], names)
    return {"images": len(names), "values": finite(scores.values)}


def named_metrics(values: dict[str, float]) -> dict[str, float]:
    """`set/<metric>` for what compares the sets, `paired/<metric>` for the others."""
    return {
        f"{'set' if key.split('_')[0] in SET_METRICS else 'paired'}/{key}": value
        for key, value in values.items()
    }


def finite(values: dict[str, float]) -> dict[str, float | str]:
    """Ready for JSON: an infinite PSNR becomes "inf"."""
    return {key: value if math.isfinite(value) else str(value) for key, value in values.items()}
