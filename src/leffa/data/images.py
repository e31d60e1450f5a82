"""Sizes that must agree, and pictures as tensors; `leffa.io.pictures` reads the files."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.fit import same_shape


def check_same_size(
    image: Image.Image,
    path: Path,
    source: Image.Image,
    source_path: Path,
    any_resolution: bool = False,
) -> None:
    """Raise ValueError, naming both files, where two pictures of one person differ in size.

    With `any_resolution` they may, if their shapes are the same.
    """
    if image.size != source.size and not (any_resolution and same_shape(image.size, source.size)):
        raise ValueError(
            f"{path} is {image.width}x{image.height} but {source_path} is "
            f"{source.width}x{source.height}; use files of one release, all of one size"
        )


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """A picture (H, W, 3) of bytes as (3, H, W) in [-1, 1]."""
    scaled = np.divide(pixels, np.float32(127.5))
    scaled -= 1  # in place: at 1024x768 a second array costs as much as the arithmetic
    return torch.from_numpy(scaled).permute(2, 0, 1)
