"""The true flow of a drawn sample: from the file to the training size, and its mirror image.

The flow (H, W, 2) says where each pixel of the source looks in the reference, as (x, y) in [-1, 1],
corner-aligned: the centres of the outermost pixels are at -1 and 1. Only synthetic data has one.
"""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# Standard deviation, in pixels of the reference, of the four neighbours that one resized pixel may
# mix: 0.5 where the garment keeps its size, 1.5 where it is shrunk to a third.
_MOST_SPREAD = 1.5


def read_flow(path: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The arrays `flow` and `valid` of a `.npz`, as (2, H, W) and (1, H, W), 0 or 1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its size is not `size` (width, height).
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            flow, valid = arrays["flow"], arrays["valid"]
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; write the synthetic data set again"
        ) from error
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: holds no `flow` and `valid` ({error}); write the data set again"
        ) from error
    width, height = size
    if flow.shape != (height, width, 2) or valid.shape != (height, width):
        raise ValueError(
            f"{path}: flow {flow.shape} and valid {valid.shape} do not fit a source of "
            f"{width}x{height}; write the data set again"
        )
    flow = torch.from_numpy(flow.astype(np.float32)).permute(2, 0, 1)
    return flow, torch.from_numpy(valid.astype(np.float32))[None]


def resize_flow(
    flow: Tensor, valid: Tensor, size: tuple[int, int], reference_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The flow between the two pictures after both are resized to `size`.

    Positions and values follow the geometry of image resizing, which aligns pixel edges: the
    corner-aligned coordinate of a point shifts a little, by (n - 1)/n * m/(m - 1) from n to m
    pixels. Values are bilinear, but only where all four neighbours are valid and agree: across a
    seam, between sleeve and body say, their mean would lie on neither.

    Args:
        flow: (2, h, w).
        valid: (1, h, w), 0 or 1.
        size: (width, height) of both pictures afterwards.
        reference_size: (width, height) of the reference now.

    Returns:
        flow (2, H, W), zero where it is not valid, and valid (1, H, W).
    """
    if flow.shape[1:] != size[::-1]:
        flow = torch.where(valid > 0, flow, 0)
        mean, square, share = (_resize(maps, size) for maps in (flow, flow**2, valid))
        pixel = 2 / (_column(reference_size) - 1)
        agree = (square - mean**2 <= (_MOST_SPREAD * pixel) ** 2).all(0, keepdim=True)
        flow, valid = mean, ((share > 0.999) & agree).float()
    old, new = _column(reference_size), _column(size)
    flow = flow * (old - 1) / old * new / (new - 1)
    return torch.where(valid > 0, flow, 0), valid


def mirror_flow(flow: Tensor) -> Tensor:
    """The flow (2, H, W) between the mirrored pictures: mirrored in place, and x turned round."""
    mirrored = flow.flip(-1)
    return torch.stack([-mirrored[0], mirrored[1]])


def _resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps[None], size=size[::-1], mode="bilinear", align_corners=False)[0]


def _column(size: tuple[int, int]) -> Tensor:
    return torch.tensor(size, dtype=torch.float32).view(2, 1, 1)
