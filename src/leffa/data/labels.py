"""Label sets of the parsing maps: which ids are the garment of a category."""

from typing import Literal

LabelSet = Literal["cihp", "lip", "atr"]

# VITON-HD is parsed with CIHP-20, VITON with LIP-20, DressCode with ATR-18. CIHP and LIP share
# their ids except 10, which is the neck in CIHP and jumpsuits in LIP.
GARMENT_LABELS: dict[LabelSet, dict[str, tuple[int, ...]]] = {
    "cihp": {"upper_body": (5, 6, 7), "lower_body": (9, 12), "dresses": (5, 6, 7, 12)},
    "lip": {"upper_body": (5, 6, 7), "lower_body": (9, 12), "dresses": (5, 6, 7, 10, 12)},
    "atr": {"upper_body": (4,), "lower_body": (5, 6), "dresses": (7,)},
}
