"""SCHP (Li et al., 2019, arXiv 1910.09777), from the ONNX files of the released demos.

The network sees the whole image, centred in a square: the longer side's first and last pixels
fall on the square's first and last (corner-aligned), the rest of the square is black. Nothing is
smoothed here: the image is the demos' canvas, about as large as the square (`preprocess.canvas`).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.fit import Placement
from leffa.data.labels import LabelSet
from leffa.preprocess.canvas import bgr_tensor, to_canvas
from leffa.preprocess.onnx import OnnxModel

# Labels and the side of the square that the released networks read (SCHP, `simple_extractor.py`).
_CLASSES: dict[LabelSet, int] = {"lip": 20, "atr": 18}
_SIDES: dict[LabelSet, int] = {"lip": 473, "atr": 512}
# The networks read blue, green, red; ImageNet's mean and standard deviation in that order.
MEAN = (0.406, 0.456, 0.485)
STD = (0.225, 0.224, 0.229)
_BAND = 256  # rows labelled at once: the scores of a whole large photo would take a gigabyte


class SCHPParser:
    """Labels a photo with an SCHP network.

    Args:
        network: from (1, 3, side, side), BGR and normalised, to the scores (1, C, h, w) of the
            fusion branch.
        label_set: "lip" or "atr": what the network was trained on.
        side: of the square that the network reads; None for the released networks'.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], label_set: LabelSet, side: int | None = None
    ) -> None:
        self.network, self.label_set = network, label_set
        self.side = side or _SIDES[label_set]

    @torch.no_grad()
    def parse(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W) the most likely label of each pixel."""
        canvas, placement = to_canvas(image)
        logits = self.network(to_square(canvas, self.side)).float().cpu()
        return labels_from_square(logits, self.side, placement).numpy()


def schp(path: str | Path, label_set: LabelSet) -> SCHPParser:
    """From `parsing_atr.onnx` or `parsing_lip.onnx`, on the CPU.

    The files give the parsing branch, the fusion branch and the edges, in this order; the fusion
    branch is the result (OOTDiffusion, `parsing_api.py`). A file with one output is taken as it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a model, of another label set, or onnxruntime is not installed.
    """
    if label_set not in _CLASSES:
        raise ValueError(f"label_set={label_set}: SCHP has networks for {' and '.join(_CLASSES)}")
    model = OnnxModel(path)

    def network(square: Tensor) -> Tensor:
        outputs = model(square.numpy())
        scores = outputs[1] if len(outputs) > 1 else outputs[0]
        if scores.shape[1] != _CLASSES[label_set]:
            raise ValueError(
                f"{path}: gives {scores.shape[1]} labels, but {label_set} has "
                f"{_CLASSES[label_set]}; give the file of this label set"
            )
        return torch.from_numpy(scores)

    return SCHPParser(network, label_set)


def to_square(image: Image.Image, side: int) -> Tensor:
    """(1, 3, side, side) as the network reads it: BGR, normalised."""
    step = max(*image.size, 2) - 1
    places = (torch.arange(side) - (side - 1) / 2) * step / (side - 1)
    square = _sample(bgr_tensor(image), places, places).round() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (square - mean) / std


def labels_from_square(logits: Tensor, side: int, placement: Placement) -> Tensor:
    """(H, W) bytes: the label of the highest score where the photo was; see `from_square`."""
    bands = [slice(start, start + _BAND) for start in range(0, placement.picture[1], _BAND)]
    # `max` tells where it is as well, three times as fast as `argmax`.
    best = (from_square(logits, side, placement, rows).max(dim=0).indices for rows in bands)
    return torch.cat([labels.to(torch.uint8) for labels in best])


def from_square(
    logits: Tensor, side: int, placement: Placement, rows: slice = slice(None)
) -> Tensor:
    """The network's scores where the photo was, (C, H, W) at the photo's size.

    Args:
        logits: (1, C, h, w), of any resolution.
        side: of the square that the network read.
        placement: of the photo on the image that became the square.
        rows: of the photo, all by default.
    """
    logits = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=True)
    step = max(*placement.canvas, 2) - 1
    x, y = (
        ((torch.arange(pixels) + 0.5) * (length / pixels) + start - canvas / 2) * (side - 1) / step
        for pixels, canvas, start, length in zip(
            placement.picture,
            placement.canvas,
            (placement.left, placement.top),
            (placement.width, placement.height),
            strict=True,
        )
    )
    return _sample(logits, x, y[rows])[0]


def _sample(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples of (1, C, H, W) at columns x and rows y, counted from the centre."""
    height, width = picture.shape[-2:]
    x, y = x / max((width - 1) / 2, 0.5), y / max((height - 1) / 2, 0.5)
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return functional.grid_sample(
        picture, grid[None].to(picture), padding_mode="zeros", align_corners=True
    )
