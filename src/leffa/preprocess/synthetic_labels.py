"""Exact maps of synthetic persons, behind the interfaces of the networks."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import LabelSet
from leffa.synthetic.render import PersonDrawing

Pixels = NDArray[np.uint8]


class SyntheticLabels:
    """A `PersonParser`, `PoseEstimator` and `DensePoseEstimator` of known images.

    Args:
        drawings: the images that may be asked for, unchanged: a JPEG copy is another image.
    """

    label_set: LabelSet = "cihp"

    def __init__(self, drawings: Iterable[PersonDrawing]) -> None:
        self._drawings = {_fingerprint(drawing.image): drawing for drawing in drawings}

    def parse(self, image: Image.Image) -> Pixels:
        """(H, W) CIHP labels."""
        return self._drawing(image).parsing

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """(25, 3) BODY_25 joints."""
        return self._drawing(image).keypoints

    def find_surface(self, image: Image.Image) -> Pixels:
        """(H, W, 3) part, U and V."""
        return self._drawing(image).iuv

    def _drawing(self, image: Image.Image) -> PersonDrawing:
        try:
            return self._drawings[_fingerprint(np.asarray(image.convert("RGB")))]
        except KeyError:
            raise ValueError(
                "this is none of the synthetic images, so its labels are not known; use a "
                "network, or the image as it was rendered"
            ) from None


def _fingerprint(pixels: Pixels) -> bytes:
    shape = np.array(pixels.shape, np.int64).tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest()
