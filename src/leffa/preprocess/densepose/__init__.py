"""DensePose from a photo: which point of the body's surface a pixel shows.

Back ends: the published weights of the R50-FPN chart model (`densepose_r50_fpn`), and the exact
maps of synthetic persons (`synthetic_labels`).
`files` writes a map in each encoding of `data.densepose`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.preprocess.densepose.r50_fpn import densepose_r50_fpn

__all__ = ["DensePoseEstimator", "densepose_r50_fpn"]


class DensePoseEstimator(Protocol):
    """Maps a person's pixels to the body's surface."""

    def find_surface(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W, 3) part id (0 background, 1 to 24), U and V from 0 to 255, of the photo's size.
        Raises ValueError where nobody was found."""
