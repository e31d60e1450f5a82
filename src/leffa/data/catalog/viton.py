"""The original VITON (Han et al., 2018) at 192x256, in the layout that CP-VTON made common."""

from leffa.data.catalog.spec import (
    DatasetSpec,
    FileSpec,
    ListSpec,
    SyntheticSpec,
    drawn_truth,
    groups_of_splits,
    six_digits,
)

_FILES = (
    FileSpec("image", "{}_0.jpg", "photo", need="always", field="source", main=True),
    FileSpec("cloth", "{}_1.jpg", "photo", "garment", need="always", field="reference", main=True),
    FileSpec("cloth-mask", "{}_1.jpg", "garment_mask", "garment", "always", "reference_mask"),
    # LIP-20 ids (checked on the files: 0, 2, 5-19 occur; 10 is jumpsuits, and the neck counts as
    # background, unlike VITON-HD's).
    FileSpec("image-parse", "{}_0.png", "parse_20", need="always", field="parse", encoder="lip"),
    # OpenPose 1.0 with 18 COCO joints.
    FileSpec(
        "pose",
        "{}_0_keypoints.json",
        "pose",
        need="always",
        field="keypoints",
        encoder="openpose_18",
    ),
    FileSpec("flow", "{}_0.npz", "flow", field="flow", synthetic=True),
    *drawn_truth("parse_20", "lip"),
)
_LISTS = (  # README of VITON
    ListSpec(("train_pairs.txt",), "train", official=14_221, pairing="own"),
    ListSpec(("test_pairs.txt",), "test", official=2_032, pairing="other"),
)


VITON = DatasetSpec(
    "VITON",
    "https://github.com/xthan/VITON",
    r"\d{6}",
    groups_of_splits(_FILES, _LISTS, "upper_body"),
    size=(192, 256),
    own_by_name=True,
    synthetic=SyntheticSpec(six_digits, 100_000),
)
