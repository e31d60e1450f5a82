"""Exact labels of synthetic persons, behind the interfaces of the networks.

`SyntheticLabels` recognises a picture of the synthetic data set by its pixels and gives its labels,
so a page or a test can run the whole preparation without any network.
"""

import hashlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import LabelSet
from leffa.preprocess.parsing import Parsing

Pixels = NDArray[np.uint8]


class LabelledPicture(Protocol):
    """A picture with its labels, such as `synthetic.render.PersonDrawing`."""

    @property
    def image(self) -> Pixels:
        """(H, W, 3) RGB."""
        ...

    @property
    def iuv(self) -> Pixels:
        """(H, W, 3) part, U and V."""
        ...

    @property
    def parsing(self) -> Pixels:
        """(H, W) CIHP labels."""
        ...

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """(25, 3) BODY_25 x, y in pixels, confidence."""
        ...


class SyntheticLabels:
    """A `PersonParser`, `PoseEstimator` and `DensePoseEstimator` of pictures that it was given.

    Args:
        drawings: the pictures that may be asked for, unchanged: a JPEG copy is another picture.
    """

    label_set: LabelSet = "cihp"

    def __init__(self, drawings: Iterable[LabelledPicture]) -> None:
        self._drawings = {_fingerprint(drawing.image): drawing for drawing in drawings}

    def parse(self, image: Image.Image) -> Parsing:
        """The exact labels."""
        return Parsing(self._drawing(image).parsing, self.label_set)

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """The exact joints."""
        return self._drawing(image).keypoints

    def find_surface(self, image: Image.Image) -> Pixels:
        """The exact surface."""
        return self._drawing(image).iuv

    def _drawing(self, image: Image.Image) -> LabelledPicture:
        try:
            return self._drawings[_fingerprint(np.asarray(image.convert("RGB")))]
        except KeyError:
            raise ValueError(
                "this is none of the synthetic pictures, so its labels are not known; use a "
                "network, or the picture as it was rendered"
            ) from None


def _fingerprint(pixels: Pixels) -> bytes:
    shape = np.array(pixels.shape, np.int64).tobytes()
    return hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest()
