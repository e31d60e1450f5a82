"""What the labels of parsing maps and of DensePose maps mean."""

from typing import Literal

import numpy as np

LabelSet = Literal["cihp", "lip", "atr"]

# VITON-HD is parsed with CIHP-20, VITON with LIP-20, DressCode with ATR-18.
_CIHP = {
    **{"hat": 1, "hair": 2, "glove": 3, "sunglasses": 4, "upper": 5, "dress": 6, "coat": 7},
    **{"socks": 8, "pants": 9, "neck": 10, "scarf": 11, "skirt": 12, "face": 13},
    **{"left_arm": 14, "right_arm": 15, "left_leg": 16, "right_leg": 17},
    **{"left_shoe": 18, "right_shoe": 19},
}
# CIHP and LIP share their ids except 10.
_LIP = {name: number for name, number in _CIHP.items() if name != "neck"} | {"jumpsuit": 10}
_ATR = {
    **{"hat": 1, "hair": 2, "sunglasses": 3, "upper": 4, "skirt": 5, "pants": 6, "dress": 7},
    **{"belt": 8, "left_shoe": 9, "right_shoe": 10, "face": 11, "left_leg": 12, "right_leg": 13},
    **{"left_arm": 14, "right_arm": 15, "bag": 16, "scarf": 17},
    # Not of ATR: OOTDiffusion's parser, which later demos took over, adds it.
    "neck": 18,
}
LABELS: dict[LabelSet, dict[str, int]] = {"cihp": _CIHP, "lip": _LIP, "atr": _ATR}
"""Ids by name; a name that a set lacks is not in it. Left and right are the person's."""

GARMENT_LABELS: dict[LabelSet, dict[str, tuple[int, ...]]] = {
    "cihp": {"upper_body": (5, 6, 7), "lower_body": (9, 12), "dresses": (5, 6, 7, 12)},
    "lip": {"upper_body": (5, 6, 7), "lower_body": (9, 12), "dresses": (5, 6, 7, 10, 12)},
    "atr": {"upper_body": (4,), "lower_body": (5, 6), "dresses": (7,)},
}
"""The ids of the garment of each category."""

PARTS = 24
"""Of DensePose: 0 background, 1 back, 2 front of the torso, 3-4 hands, 5-6 feet (the sources differ
on which is 5), 7-22 limbs in left/right pairs, 23-24 the two halves of the head."""

# fmt: off
PART_COLOURS = np.array([
    (0, 0, 0),
    (37, 60, 163), (20, 80, 194), (4, 97, 223), (8, 110, 221), (14, 122, 216), (20, 132, 212),
    (15, 144, 208), (11, 156, 203), (6, 166, 198), (22, 173, 185), (38, 179, 172),
    (55, 185, 159), (86, 187, 144), (114, 189, 130), (145, 191, 116), (170, 189, 105),
    (192, 188, 96), (216, 186, 86), (228, 192, 74), (240, 199, 60), (252, 206, 46),
    (251, 220, 36), (250, 235, 25), (249, 251, 14),
], np.int16)
# fmt: on
"""In VITON-HD's `image-densepose`: OpenCV's PARULA map at grey level floor(255 part / 24)."""
DARKEST_BODY = 72
"""Half of the dimmest part's brightest channel: JPEG noise on black stays far below."""
