"""What the labels of parsing maps mean, and which are the garment of a category."""

from typing import Literal, get_args

Category = Literal["upper_body", "lower_body", "dresses"]  # of garments: DressCode's, in its order
CATEGORIES: tuple[Category, ...] = get_args(Category)
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
