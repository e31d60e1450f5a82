"""The ground-truth flow of a synthetic sample: from the file to the canvas, and its mirror image.

The flow (H, W, 2) says where each pixel of the source looks in the reference, as (x, y) in [-1, 1],
corner-aligned: the centres of the outermost pixels are at -1 and 1. Only synthetic data has one.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from leffa.data.fit import Placement

# Standard deviation, in pixels of the reference, of the four neighbours that one resized pixel may
# mix: 0.5 where the garment keeps its size, 1.5 where it is shrunk to a third.
_MOST_SPREAD = 1.5


def read_flow(path: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The arrays `flow` and `valid` of a `.npz`, as (2, H, W) and (1, H, W), 0 or 1.

    Raises:
        FileNotFoundError, ValueError: it is missing, damaged, or not of `size` (width, height).
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            flow, valid = arrays["flow"], arrays["valid"]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; write the synthetic dataset again"
        ) from error
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: holds no `flow` and `valid` ({error}); write the dataset again"
        ) from error
    width, height = size
    if flow.shape != (height, width, 2) or valid.shape != (height, width):
        raise ValueError(
            f"{path}: flow {flow.shape} and valid {valid.shape} do not fit a source of "
            f"{width}x{height}; write the dataset again"
        )
    flow = torch.from_numpy(flow.astype(np.float32)).permute(2, 0, 1)
    return flow, torch.from_numpy(valid.astype(np.float32))[None]


def place_flow(
    flow: Tensor, valid: Tensor, source: Placement, reference: Placement
) -> tuple[Tensor, Tensor]:
    """The flow between the two canvases that the images are placed on.

    Positions follow the source, values the reference; both use the geometry of image resizing,
    which aligns pixel edges. Values are bilinear, but only where all four neighbours are valid and
    agree: across a seam, between sleeve and body say, their mean would lie on neither.

    Args:
        flow, valid: (2, h, w) and (1, h, w), 0 or 1, between the two whole images.
        source, reference: of the person's image, and of the one that the flow looks at.

    Returns:
        flow (2, H, W), zero where it is not valid, and valid (1, H, W): a pixel that shows the
        source, and looks at a place on the canvas of the reference.
    """
    flow = torch.where(valid > 0, flow, 0)
    if not (source.fills and source.canvas == flow.shape[:0:-1]):
        mean, square, share = _sample(torch.cat([flow, flow**2, valid]), source).split([2, 2, 1])
        pixel = 2 / (_column(reference.picture) - 1)
        agree = (square - mean**2 <= (_MOST_SPREAD * pixel) ** 2).all(0, keepdim=True)
        covered = torch.from_numpy(source.covered())[None]
        flow, valid = mean, ((share > 0.999) & agree & covered).float()
    # From the corner-aligned coordinate to a fraction of the image, to a pixel of the canvas.
    old, new = _column(reference.picture), _column(reference.canvas)
    fraction = ((flow + 1) / 2 * (old - 1) + 0.5) / old
    start, extent = (
        _column((reference.left, reference.top)),
        _column((reference.width, reference.height)),
    )
    edge = start + fraction * extent
    if not reference.fills:  # it may reach over the canvas
        valid = valid * ((edge >= 0) & (edge <= new)).all(0, keepdim=True)
    flow = (edge - 0.5) / (new - 1) * 2 - 1
    return torch.where(valid > 0, flow, 0), valid


def mirror_flow(flow: Tensor) -> Tensor:
    """The flow (2, H, W) between the mirrored images: mirrored in place, and x turned round."""
    mirrored = flow.flip(-1)
    return torch.stack([-mirrored[0], mirrored[1]])


def _sample(maps: Tensor, placement: Placement) -> Tensor:
    """Maps (C, h, w) of an image at the pixels of the canvas, (C, H, W)."""
    at = [
        ((torch.arange(length) + 0.5 - start) / extent) * 2 - 1
        for length, start, extent in (
            (placement.canvas[1], placement.top, placement.height),
            (placement.canvas[0], placement.left, placement.width),
        )
    ]
    y, x = torch.meshgrid(*at, indexing="ij")
    grid = torch.stack([x, y], dim=-1)
    return F.grid_sample(maps[None], grid[None], padding_mode="border", align_corners=False)[0]


def _column(pair: tuple[float, float]) -> Tensor:
    return torch.tensor(pair, dtype=torch.float32).view(2, 1, 1)
