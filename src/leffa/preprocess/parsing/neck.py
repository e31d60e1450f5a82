"""The parser of the released demos: ATR labels, tidied, with the neck taken from LIP.

OOTDiffusion's `preprocess/humanparsing`, which IDM-VTON's and Leffa's demos took over. ATR's face
reaches down the neck and LIP's does not, so what only ATR calls face is the neck, label 18.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from leffa.data.labels import LABELS, LabelSet
from leffa.preprocess.parsing import PersonParser

_TOUCHING = np.ones((3, 3), np.bool_)
_LARGE_HOLE = 2000  # pixels, where the image is 512 high as in the demos


class ATRWithNeck:
    """Joins a parser of ATR labels and one of LIP labels."""

    label_set: LabelSet = "atr"

    def __init__(self, atr: PersonParser, lip: PersonParser) -> None:
        if (atr.label_set, lip.label_set) != ("atr", "lip"):
            raise ValueError(
                f"the parsers give {atr.label_set} and {lip.label_set} labels, not atr and lip"
            )
        self.atr, self.lip = atr, lip

    def parse(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W) ATR labels and the neck."""
        return add_neck(fill_garment(self.atr.parse(image)), self.lip.parse(image))


def fill_garment(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ATR labels (H, W) in which small holes of the upper garment, and of what garment and arms
    enclose, are garment.

    Holes of more than 2000 pixels at a height of 512, for example under an arm on the hip, stay.
    The demos measure a hole by its outline; here its pixels are counted.
    """
    atr = LABELS["atr"]
    arms = np.isin(labels, (atr["left_arm"], atr["right_arm"]))
    garment = labels == atr["upper"]
    holes = ndimage.binary_fill_holes(garment | arms) & ~garment & ~arms
    pieces, _ = ndimage.label(holes, _TOUCHING)
    large = np.bincount(pieces.ravel()) > _LARGE_HOLE * (labels.shape[0] / 512) ** 2
    filled: NDArray[np.uint8] = np.where(holes & ~large[pieces], np.uint8(atr["upper"]), labels)
    return filled


def add_neck(atr: NDArray[np.uint8], lip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ATR labels (H, W) in which what LIP does not call face is the neck."""
    neck = (atr == LABELS["atr"]["face"]) & (lip != LABELS["lip"]["face"])
    labels: NDArray[np.uint8] = np.where(neck, np.uint8(LABELS["atr"]["neck"]), atr)
    return labels
