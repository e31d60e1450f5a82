"""What the tests of synthetic samples share: drawings, and reading what was written."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import Category
from leffa.synthetic.raster import sample
from leffa.synthetic.render import TryOnDrawing, draw_tryon

HEIGHT, WIDTH = 128, 96  # of drawings
COUNT = 6


@cache
def tryon(index: int, category: Category = "upper_body") -> TryOnDrawing:
    return draw_tryon(3, index, HEIGHT, WIDTH, category)


def psnr(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Of 8-bit values."""
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))


def warp(picture: NDArray[np.uint8], flow: NDArray[np.floating]) -> NDArray[np.floating]:
    """Bilinear look-up by a corner-aligned flow."""
    size = np.array([picture.shape[1] - 1, picture.shape[0] - 1])
    return sample(picture.astype(np.float32), (flow + 1) / 2 * size)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def mode_and_size(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as image:
        return image.mode, image.size


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def rows(path: Path, separator: str | None = None) -> list[list[str]]:
    return [line.split(separator) for line in path.read_text().splitlines()]
