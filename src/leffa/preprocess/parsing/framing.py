"""SCHP's view of a picture: the whole of it, centred in a square, and the way back.

The longer side's first and last pixels fall on the square's first and last (corner-aligned), the
rest of the square is black. Nothing is smoothed here: the picture is the demos' canvas, about as
large as the square (`preprocess.canvas`).
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.fit import Placement

# The networks read blue, green, red; ImageNet's mean and standard deviation in that order.
MEAN = (0.406, 0.456, 0.485)
STD = (0.225, 0.224, 0.229)
_BAND = 256  # rows labelled at once: the scores of a whole large photo would take a gigabyte


def to_square(image: Image.Image, side: int) -> Tensor:
    """(1, 3, side, side) as the network reads it: BGR, normalised."""
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    step = max(*image.size, 2) - 1
    places = (torch.arange(side) - (side - 1) / 2) * step / (side - 1)
    square = _sample(picture, places, places).round() / 255
    return normalise(square)


def labels_from_square(logits: Tensor, side: int, placement: Placement) -> Tensor:
    """(H, W) bytes: the label of the highest score where the photo was; see `from_square`."""
    bands = [slice(start, start + _BAND) for start in range(0, placement.picture[1], _BAND)]
    # `max` tells where it is as well, three times as fast as `argmax`.
    best = (from_square(logits, side, placement, rows).max(dim=0).indices for rows in bands)
    return torch.cat([labels.to(torch.uint8) for labels in best])


def from_square(
    logits: Tensor, side: int, placement: Placement, rows: slice = slice(None)
) -> Tensor:
    """The network's scores where the photo was, at the photo's size.

    Args:
        logits: (1, C, h, w), of any resolution.
        side: of the square that the network read.
        placement: of the photo on the picture that became the square.
        rows: of the photo, all by default.

    Returns:
        (C, H, W), H of these rows.
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


def normalise(square: Tensor) -> Tensor:
    """(B, 3, H, W) BGR in [0, 1] as the network reads it."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (square - mean) / std


def _sample(picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples of (1, C, H, W) at columns x and rows y, counted from the centre."""
    height, width = picture.shape[-2:]
    x, y = x / max((width - 1) / 2, 0.5), y / max((height - 1) / 2, 0.5)
    grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
    return functional.grid_sample(
        picture, grid[None].to(picture), padding_mode="zeros", align_corners=True
    )
