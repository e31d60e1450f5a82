"""DressCode (Morelli et al., 2022) at 768x1024 in three categories.

The lists are the only split: both splits share the folders.
"""

from leffa.data.catalog.spec import (
    DatasetSpec,
    FileSpec,
    GroupSpec,
    ListSpec,
    SyntheticSpec,
    drawn_truth,
    six_digits,
)
from leffa.data.labels import CATEGORIES

_TRAIN = {"upper_body": 13_563, "lower_body": 7_151, "dresses": 27_678}  # Leffa, appendix A.1
_TEST = 1_800
_FILES = (
    FileSpec("images", "{}_0.jpg", "photo", need="always", field="source", main=True),
    FileSpec("images", "{}_1.jpg", "photo", "garment", need="always", field="reference", main=True),
    FileSpec("keypoints", "{}_2.json", "pose", field="keypoints", encoder="dress_code_pose"),
    FileSpec("label_maps", "{}_4.png", "parse_18", field="parse"),  # ATR ids
    FileSpec("skeletons", "{}_5.jpg", "drawing", need="loose"),
    FileSpec("dense", "{}_5.png", "labels", field="densepose"),
    FileSpec("dense", "{}_5_uv.npz", "surface", need="loose"),
    FileSpec("image-densepose", "{}_0.jpg", "colour", field="densepose"),  # Choi et al., 2024
    # Chong et al., 2024; published for the tests only.
    FileSpec("agnostic_masks", "{}_0.png", "mask", need="split", field="mask"),
    FileSpec("masks", "{}_1.png", "garment_mask", "garment", "loose", "reference_mask"),  # LaDI's
    FileSpec("flow", "{}_0.npz", "flow", field="flow", synthetic=True),
    *drawn_truth("parse_18"),
)
_PAIRED, _UNPAIRED = "test_pairs_paired.txt", "test_pairs_unpaired.txt"


def _lists(category: str) -> tuple[ListSpec, ...]:
    train, paired, unpaired = (
        (f"{category}/{name}",) for name in ("train_pairs.txt", _PAIRED, _UNPAIRED)
    )
    return (
        ListSpec(train, "train", official=_TRAIN[category], pairing="own", separator="\t"),
        ListSpec(paired, "test", official=_TEST, pairing="own", separator="\t"),
        ListSpec(unpaired, "test", official=_TEST, pairing="other", separator="\t"),
    )


DRESS_CODE = DatasetSpec(
    "DressCode",
    "https://github.com/aimagelab/dress-code",
    r"\d{6}",
    tuple(GroupSpec(name, name, _FILES, _lists(name), name) for name in CATEGORIES),
    size=(768, 1024),
    totals=("train_pairs.txt", _PAIRED, _UNPAIRED),
    label_set="atr",
    synthetic=SyntheticSpec(six_digits, 100_000),
)
