"""VITON-HD (Choi et al., 2021) at 768x1024, as in `zalando-hd-resized.zip`."""

from leffa.data.catalog.spec import (
    DatasetSpec,
    FileSpec,
    ListSpec,
    SyntheticSpec,
    drawn_truth,
    groups_of_splits,
)

_FILES = (
    FileSpec("image", "{}.jpg", "photo", need="always", field="source", main=True),
    FileSpec("cloth", "{}.jpg", "photo", "garment", need="always", field="reference", main=True),
    FileSpec("cloth-mask", "{}.jpg", "garment_mask", "garment", "loose", "reference_mask"),
    FileSpec("agnostic-mask", "{}_mask.png", "mask", field="mask", encoder="mask_rgb"),
    FileSpec("agnostic-v3.2", "{}.jpg", "agnostic", need="loose"),
    FileSpec("image-densepose", "{}.jpg", "colour", field="densepose"),
    FileSpec("image-iuv", "{}.png", "iuv", field="densepose", synthetic=True),
    # The older test-only release writes `image-parse` and `openpose-json`. CIHP-20 ids.
    FileSpec(("image-parse-v3", "image-parse"), "{}.png", "parse_20", field="parse"),
    FileSpec(
        "image-parse-agnostic-v3.2", "{}.png", "parse_20", need="loose", encoder="parse_agnostic"
    ),
    FileSpec(("openpose_json", "openpose-json"), "{}_keypoints.json", "pose", field="keypoints"),
    FileSpec(("openpose_img", "openpose-img"), "{}_rendered.png", "drawing", need="loose"),
    FileSpec("flow", "{}.npz", "flow", field="flow", synthetic=True),
    *drawn_truth("parse_20"),
)
# 11,647 and 2,032: README of the release; Leffa, appendix A.1. The train list's second column is
# shuffled and no trainer reads it.
_LISTS = (
    ListSpec(("train_pairs.txt",), "train", ("person", "ignored"), official=11_647),
    ListSpec(("test_pairs.txt",), "test", official=2_032, pairing="other"),
)


def _keys(number: int) -> tuple[str, ...]:
    return (f"{number:05d}_00",)


VITON_HD = DatasetSpec(
    "VITON-HD",
    "https://github.com/shadow2496/VITON-HD",
    r"\d{5}_00",
    groups_of_splits(_FILES, _LISTS, "upper_body"),
    size=(768, 1024),
    disjoint=False,  # whether the official splits share numbers is not documented
    own_by_name=True,
    label_set="cihp",
    synthetic=SyntheticSpec(_keys, 50_000),
)
