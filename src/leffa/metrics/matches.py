"""Whether the details of a garment's photograph are found on the generated person, and where.

Trusted matches (`data.matching`) between the photograph and the prediction: the garments that have
any, with prints, lettering or lace, are judged; plain cloth is not.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.matching import find_matches, require_opencv
from leffa.io.pictures import open_picture
from leffa.metrics.paired import PerImageMetric, Role, check_images
from leffa.metrics.weights import MissingWeights

COMMON = 4  # garment points, that are found on both persons, for a distance

Matches = NDArray[np.float32]  # (N, 4) x and y on the person, then on the garment, as fractions


class MatchCount(PerImageMetric):
    """Number of trusted matches between prediction and garment photograph. Works unpaired.

    A garment without texture has none on a real person either: compare models on the same garments.

    Raises:
        MissingWeights: OpenCV is not installed.
    """

    needs: ClassVar[tuple[Role, ...]] = ("garments",)
    unpaired: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        try:
            require_opencv()
        except ValueError as error:
            raise MissingWeights(str(error)) from error

    def update(self, pred: Tensor, garments: Sequence[Path]) -> None:  # type: ignore[override]
        """Match one batch (B, 3, H, W) in [0, 1] with the photographs of its garments."""
        check_images(pred, pred)
        counts = [len(matches_of(*each)) for each in zip(pred, garments, strict=True)]
        self.values.append(torch.tensor(counts).float())


class MatchFidelity(MatchCount):
    """Trusted matches compared with those of the real person; garments without any do not count.

    Args:
        measure: "share", the matches of the prediction relative to those of the real person, whose
            photograph loses detail as well; or "distance", the distance in pixels of the prediction
            between the same points of the garment on the two persons, if at least 4 are found on
            both.
    """

    needs: ClassVar[tuple[Role, ...]] = ("true", "garments")
    unpaired: ClassVar[bool] = False
    partial: ClassVar[bool] = True

    def __init__(self, measure: Literal["share", "distance"] = "share") -> None:
        super().__init__()
        if measure not in ("share", "distance"):
            raise ValueError(f"measure={measure!r}: choose share or distance")
        self.measure = measure

    def update(  # type: ignore[override]
        self, pred: Tensor, true: Tensor, garments: Sequence[Path]
    ) -> None:
        """Match both (B, 3, H, W) in [0, 1] with the photographs of their garments."""
        check_images(pred, true)
        judge = _share if self.measure == "share" else _distance
        size = (pred.shape[3], pred.shape[2])
        found = [
            judge(matches_of(p, garment), matches_of(t, garment), size)
            for p, t, garment in zip(pred, true, garments, strict=True)
        ]
        self.values.append(torch.tensor(found).float())


def matches_of(person: Tensor, garment: Path) -> Matches:
    """The trusted matches of an image (3, H, W) in [0, 1] with the photograph of a garment."""
    pixels = (person * 255).round().byte().movedim(0, -1).cpu().numpy()
    return _matches(pixels.tobytes(), (pixels.shape[1], pixels.shape[0]), garment)


@lru_cache(maxsize=64)  # the metrics of a batch ask for the same ones
def _matches(pixels: bytes, size: tuple[int, int], garment: Path) -> Matches:
    return find_matches(Image.frombytes("RGB", size, pixels), open_picture(garment))


def _share(pred: Matches, true: Matches, size: tuple[int, int]) -> float:
    return len(pred) / len(true) if len(true) else float("nan")


def _distance(pred: Matches, true: Matches, size: tuple[int, int]) -> float:
    # The keypoints of one photograph are found in the same places each time.
    real = {(u, v): (x, y) for x, y, u, v in true.tolist()}
    apart = [
        math.hypot((x - real[u, v][0]) * size[0], (y - real[u, v][1]) * size[1])
        for x, y, u, v in pred.tolist()
        if (u, v) in real
    ]
    return fmean(apart) if len(apart) >= COMMON else float("nan")
