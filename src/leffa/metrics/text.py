"""Whether the letters on the generated garment are those of its photograph.

RapidOCR (the extra `ocr`; its networks are in its package) reads both.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.text import edit_distance

from leffa.io.pictures import open_picture
from leffa.metrics.paired import PerImageMetric, Role, check_images
from leffa.metrics.weights import MissingWeights

CONFIDENCE = 0.8
LETTERS = 3


class TextLine(NamedTuple):
    """What is read in one place."""

    text: str
    confidence: float  # 0 to 1


Reader = Callable[[NDArray[np.uint8]], Sequence[TextLine]]  # of an image (H, W, 3) in RGB


class TextSimilarity(PerImageMetric):
    """1 - edit distance / length of the longer of the texts that photograph and prediction show.

    Letters and digits are compared case-insensitively, from top to bottom. Garments with fewer than
    `letters` confidently read letters do not count. Works unpaired.

    Args:
        letters: minimum number of letters on a garment.
        confidence: minimum on the garment; the prediction uses the reader's own threshold.
        reader: reads the text of an image; None: RapidOCR.

    Raises:
        MissingWeights: RapidOCR is not installed.
    """

    needs: ClassVar[tuple[Role, ...]] = ("garments",)
    unpaired: ClassVar[bool] = True
    partial: ClassVar[bool] = True

    def __init__(
        self,
        letters: int = LETTERS,
        confidence: float = CONFIDENCE,
        reader: Reader | None = None,
    ) -> None:
        super().__init__()
        self.letters, self.confidence = letters, confidence
        self.reader = rapidocr_reader() if reader is None else reader
        self.known: dict[Path, str] = {}  # garment -> its text

    def update(self, pred: Tensor, garments: Sequence[Path]) -> None:  # type: ignore[override]
        """Read one batch (B, 3, H, W) in [0, 1], and the photographs of its garments."""
        check_images(pred, pred)
        pictures = (pred * 255).round().byte().movedim(1, -1).cpu().numpy()
        found = [self._similarity(*each) for each in zip(pictures, garments, strict=True)]
        self.values.append(torch.tensor(found))

    def _similarity(self, picture: NDArray[np.uint8], garment: Path) -> float:
        if garment not in self.known:
            lines = self.reader(np.asarray(open_picture(garment)))
            self.known[garment] = letters(x.text for x in lines if x.confidence >= self.confidence)
        wanted = self.known[garment]
        if len(wanted) < self.letters:
            return float("nan")
        return similarity(wanted, letters(line.text for line in self.reader(picture)))


def letters(lines: Any) -> str:
    """The letters and digits of some lines, without case."""
    return "".join(c for line in lines for c in line.casefold() if c.isalnum())


def similarity(one: str, other: str) -> float:
    """1 - edit distance (Levenshtein, 1966) / length of the longer; 1 for two empty texts."""
    return 1 - edit_distance(one, other).item() / max(len(one), len(other), 1)


@cache
def rapidocr_reader() -> Reader:
    """RapidOCR with the networks of its package, loaded once."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise MissingWeights(
            f"it needs RapidOCR, which is not installed ({error}): pip install -e '.[ocr]'"
        ) from error
    threads = {
        f"EngineConfig.onnxruntime.{kind}_op_num_threads": torch.get_num_threads()
        for kind in ("intra", "inter")
    }
    engine: Any = RapidOCR(params={"Global.log_level": "error", **threads})

    def read(picture: NDArray[np.uint8]) -> Sequence[TextLine]:
        found = engine(np.ascontiguousarray(picture[..., ::-1]))  # it takes BGR
        return [TextLine(*line) for line in zip(found.txts or (), found.scores or (), strict=True)]

    return read
