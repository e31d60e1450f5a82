"""SCHP's view of a picture: the whole of it, centred in a square, and the way back.

The longer side's first and last pixels fall on the square's first and last (corner-aligned), the
rest of the square is black. As in the authors' extractor there is no smoothing before shrinking:
the networks were trained that way.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

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


def labels_from_square(logits: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """(H, W) bytes: the label of the highest score where the picture was; see `from_square`."""
    bands = [slice(start, start + _BAND) for start in range(0, size[1], _BAND)]
    # `max` tells where it is as well, three times as fast as `argmax`.
    best = (from_square(logits, side, size, rows).max(dim=0).indices for rows in bands)
    return torch.cat([labels.to(torch.uint8) for labels in best])


def from_square(
    logits: Tensor, side: int, size: tuple[int, int], rows: slice = slice(None)
) -> Tensor:
    """The network's scores where the picture was.

    Args:
        logits: (1, C, h, w), of any resolution.
        side: of the square that the network read.
        size: (width, height) of the picture.
        rows: of the picture, all by default.

    Returns:
        (C, H, W), H of these rows.
    """
    logits = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=True)
    step = max(*size, 2) - 1
    x, y = ((torch.arange(length) - (length - 1) / 2) * (side - 1) / step for length in size)
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
