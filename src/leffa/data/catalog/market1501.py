"""Market-1501 (Zheng et al., 2015) at 64x128 for pose transfer, by the lists of PATN."""

from itertools import permutations

from leffa.data.catalog.spec import (
    SPLITS,
    DatasetSpec,
    FileSpec,
    GroupSpec,
    Split,
    SyntheticSpec,
    pose_lists,
)

_PAIRS = {"train": 263_632, "test": 12_000}  # PATN's published lists


def _group(split: Split) -> GroupSpec:
    folders = (split, f"bounding_box_{split}")  # the second as released
    files = (
        FileSpec(folders, "{}.jpg", "photo", "picture", "always", "source", main=True),
        FileSpec("densepose", "{}.png", "iuv", "picture", field="densepose"),
        FileSpec("flow", "{}.npz", "flow", "pair", field="flow", synthetic=True),
    )
    return GroupSpec(split, "", files, pose_lists(split, ("market",), _PAIRS[split]))


def _keys(number: int) -> tuple[str, ...]:
    # Person, camera and frame; person 0 would be a distractor.
    return tuple(f"{number + 1:04d}_c{pose}s1_{number + 1:06d}_00" for pose in (1, 2, 3))


MARKET1501 = DatasetSpec(
    "Market-1501 (pose transfer)",
    "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    r"-?\d+_c\ds\d_\d{6}_\d\d",
    tuple(_group(split) for split in SPLITS),
    size=(64, 128),
    beside=("keypoints",),
    frame=(64, 128),
    person="[^_]+",
    # A person has four digits.
    synthetic=SyntheticSpec(_keys, 4_999, (64, 128), tuple(permutations(range(3), 2)), 5_000),
)
