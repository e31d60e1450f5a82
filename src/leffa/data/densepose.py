"""DensePose files: three encodings of one body-surface map, and the mirror image of each.

Part ids are DensePose's: 0 background, 1 back, 2 front of the torso, 3-4 hands, 5-6 feet, 7-22
limbs in left/right pairs, 23-24 the two halves of the head.
"""

from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leffa.data.images import open_labels, open_picture, to_tensor

Pixels = NDArray[np.uint8]

PARTS = 24
# A mirrored picture shows a left part where the right one was.
MIRROR = np.array([0, 1, 2, *(pair for k in range(3, 25, 2) for pair in (k + 1, k))], np.uint8)
# The limbs' charts are mirror images of each other, so a limb keeps its U and V. The torso charts
# run across the body in V, those of the hands and the halves of the head in U; these turn round.
# Measured on DeepFashion's IUV files: linear fits of U and V over each part, left against mirrored
# right. No sample shows feet.
_MIRRORED_U = np.isin(np.arange(PARTS + 1), (3, 4, 23, 24))
_MIRRORED_V = np.isin(np.arange(PARTS + 1), (1, 2))


class DensePoseEncoding(Protocol):
    """How a file stores the map.

    Pixels are uint8, (H, W, 3) or (H, W), as read and as resized by `resampling`.
    """

    resampling: Image.Resampling

    def read(self, path: Path) -> Image.Image:
        """The file as an image; raises ValueError for a file of another kind."""
        ...

    def swap_sides(self, pixels: Pixels) -> Pixels:
        """The values, not yet the places, of the mirrored picture: left parts for right ones."""
        ...

    def encode(self, pixels: Pixels) -> Tensor:
        """(3, H, W) in [-1, 1], background -1."""
        ...

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        """(H, W), True on the body."""
        ...


class ColourDensePose:
    """VITON-HD's `image-densepose`: a colour per part on black, usually JPEG.

    The colour of part k is OpenCV's PARULA map at grey level floor(255 k / 24). It reaches the
    model as an ordinary picture.
    """

    resampling = Image.Resampling.LANCZOS

    # fmt: off
    COLOURS = np.array([
        (0, 0, 0),
        (37, 60, 163), (20, 80, 194), (4, 97, 223), (8, 110, 221), (14, 122, 216), (20, 132, 212),
        (15, 144, 208), (11, 156, 203), (6, 166, 198), (22, 173, 185), (38, 179, 172),
        (55, 185, 159), (86, 187, 144), (114, 189, 130), (145, 191, 116), (170, 189, 105),
        (192, 188, 96), (216, 186, 86), (228, 192, 74), (240, 199, 60), (252, 206, 46),
        (251, 220, 36), (250, 235, 25), (249, 251, 14),
    ], np.int16)
    # fmt: on
    # Half of the dimmest part's brightest channel: JPEG noise on black stays far below.
    _DARKEST = 72

    def read(self, path: Path) -> Image.Image:
        return open_picture(path)

    def swap_sides(self, pixels: Pixels) -> Pixels:
        """Adds the difference of the two parts' colours: noise and soft edges stay as they are."""
        shift = (self.COLOURS[MIRROR] - self.COLOURS)[self.labels(pixels)]
        return np.clip(pixels + shift, 0, 255).astype(np.uint8)

    def encode(self, pixels: Pixels) -> Tensor:
        return to_tensor(pixels)

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        brightest: Pixels = pixels.max(axis=-1)
        return brightest >= self._DARKEST

    def labels(self, pixels: Pixels) -> Pixels:
        """(H, W) part ids by the nearest colour: JPEG noise rules out an exact match."""
        red, green, blue = np.moveaxis(pixels >> 2, -1, 0)
        parts: Pixels = _nearest_part()[red, green, blue]
        return parts


class IUVDensePose:
    """An RGB picture whose channels are I (part id), U and V (0-255).

    Encoded as (U, V, I / 24), the order and range of the pose model (Leffa, `transform.py`).
    """

    resampling = Image.Resampling.NEAREST

    def read(self, path: Path) -> Image.Image:
        image = open_picture(path)
        highest = int(np.asarray(image)[..., 0].max())
        if highest > PARTS:
            raise ValueError(
                f"{path}: its first channel reaches {highest}, not a part id (0-24); "
                "save it as RGB = (I, U, V)"
            )
        return image

    def swap_sides(self, pixels: Pixels) -> Pixels:
        part, u, v = np.moveaxis(pixels, -1, 0)
        u = np.where(_MIRRORED_U[part], 255 - u, u)
        v = np.where(_MIRRORED_V[part], 255 - v, v)
        return np.stack([MIRROR[part], u, v], axis=-1)

    def encode(self, pixels: Pixels) -> Tensor:
        part, u, v = torch.from_numpy(pixels).permute(2, 0, 1)
        return torch.stack([u / 127.5, v / 127.5, part / (PARTS / 2)]) - 1

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        return pixels[..., 0] > 0


class LabelDensePose:
    """DressCode's `dense/*_5.png`: one part id a pixel. Encoded as I / 24 in all three channels."""

    resampling = Image.Resampling.NEAREST

    def read(self, path: Path) -> Image.Image:
        image = open_labels(path)
        highest = int(np.asarray(image).max())
        if highest > PARTS:
            raise ValueError(
                f"{path}: reaches {highest}, not a part id (0-24); "
                "use the data set's `dense` label map"
            )
        return image

    def swap_sides(self, pixels: Pixels) -> Pixels:
        return MIRROR[pixels]

    def encode(self, pixels: Pixels) -> Tensor:
        return (torch.from_numpy(pixels) / (PARTS / 2) - 1).expand(3, -1, -1)

    def body(self, pixels: Pixels) -> NDArray[np.bool_]:
        return pixels > 0


@cache
def _nearest_part() -> Pixels:
    """(64, 64, 64), the part nearest to each colour of 6 bits a channel: faster than a search."""
    axis = np.arange(64) * 4 + 2
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    best = np.full(grid.shape[:3], np.iinfo(np.int64).max)
    nearest = np.zeros(grid.shape[:3], np.uint8)
    for part, colour in enumerate(ColourDensePose.COLOURS):
        distance = ((grid - colour) ** 2).sum(axis=-1)
        nearest[distance < best] = part
        np.minimum(best, distance, out=best)
    return nearest
