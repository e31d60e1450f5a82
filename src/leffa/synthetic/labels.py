"""Label sets of the datasets, as far as synthetic datasets use them."""

from enum import IntEnum

import numpy as np

from leffa.synthetic.raster import Pixels


class Parsing(IntEnum):
    """CIHP-20, the labels of VITON-HD's `image-parse-v3`. Left and right are the person's."""

    BACKGROUND = 0
    HAIR = 2
    UPPER_CLOTHES = 5
    DRESS = 6
    PANTS = 9
    NECK = 10
    SKIRT = 12
    FACE = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    LEFT_LEG = 16
    RIGHT_LEG = 17
    LEFT_SHOE = 18
    RIGHT_SHOE = 19


ATR_OF_CIHP: Pixels = np.zeros(20, dtype=np.uint8)
ATR_OF_CIHP[[2, 5, 6, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19]] = (
    *(2, 4, 7, 6, 11, 5, 11, 14, 15, 12, 13, 9, 10),
)
"""The same labels in the ATR-18 set of DressCode; ATR counts the neck as face."""

BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee",
    "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe",
    "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
