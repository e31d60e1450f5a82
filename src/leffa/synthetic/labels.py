"""Label sets of the data sets, as far as synthetic data sets use them."""

from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leffa.data.part_colours import PART_COLOURS
from leffa.synthetic.arrays import Floats, Pixels

Category = Literal["upper_body", "lower_body", "dresses"]  # DressCode's, in its order
CATEGORIES: tuple[Category, ...] = ("upper_body", "lower_body", "dresses")


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
COCO_18_OF_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)

DENSEPOSE_RGB: Pixels = PART_COLOURS.astype(np.uint8)
"""(25, 3) colours of VITON-HD's `image-densepose`: OpenCV's PARULA at grey k * 255 / 24."""


def densepose(ribbon: str, s: Floats, u: Floats, joints: tuple[float, float, float]) -> Pixels:
    """DensePose part id, U and V of body-surface points (N,), as (N, 3).

    U and V grow smoothly over each part, 0 to 255. As in DeepFashion's IUV files, charts of paired
    limbs are mirror images of each other; those of hands and head run across the picture in U, that
    of the torso in V.

    Args:
        ribbon: which one the points lie on.
        s: places along it.
        u: places across; beyond -1 and 1 is the back.
        joints: where on the ribbon its first part begins, its second part, and hand or foot.
    """
    start, middle, end = joints
    kind, _, side = ribbon.partition("_")
    left = side == "left"
    back = np.abs(u) > 1
    across = np.where(back, np.sign(u) * (2 - np.abs(u)), u)
    along = (s - start) / (end - start)
    match kind:
        case "torso":
            return _charts(np.where(back, 1, 2), along, (across + 1) / 2)
        case "head" | "neck":
            return _charts(np.where(u > 0, 24, 23), (across + 1) / 2, along)
    lower, extremity = s >= middle, s >= end
    along = np.where(lower, (s - middle) / (end - middle), (s - start) / (middle - start))
    along = np.where(extremity, (s - end) / 0.6, along)
    outward = u if left else -u
    if kind == "arm":  # an inner and an outer chart
        part = np.where(lower, 19, 15) + np.where(outward > 0, 2, 0) + (0 if left else 1)
        part = np.where(extremity, 4 if left else 3, part)
        across = np.where(extremity, across, across if left else -across)
    else:  # a front and a back chart
        part = np.where(lower, 13, 9) - np.where(back, 2, 0) + (1 if left else 0)
        part = np.where(extremity, 5 if left else 6, part)
        across = across if left else -across
    return _charts(part, (across + 1) / 2, along)


def _charts(part: NDArray[np.int64], u: Floats, v: Floats) -> Pixels:
    uv = [np.round(coordinate.clip(0, 1) * 255) for coordinate in (u, v)]
    return np.stack([part, *uv], axis=-1).astype(np.uint8)
