"""WPose, the out-of-domain test set of pose transfer (UniHuman, Li et al., 2024)."""

from leffa.data.catalog.spec import DatasetSpec, FileSpec, GroupSpec, ListSpec, SyntheticSpec

_FILES = (
    FileSpec("images", "{}.png", "photo", "picture", "always", "source", main=True),
    FileSpec("densepose", "{}.png", "vui", "picture", field="densepose"),
    # `gt_parsing` in an early release.
    FileSpec(("parsing", "gt_parsing"), "{}.png", "parse_any", "picture", field="parse"),
    FileSpec("flow", "{}.npz", "flow", "pair", field="flow", synthetic=True),
)
_LIST = ListSpec(
    ("test_pairs.txt",), "test", ("picture", "picture"), 2_304, "commas", unique="row"
)  # 2,304: README of UniHuman


def _keys(number: int) -> tuple[str, ...]:
    return tuple(str(3 * number + picture) for picture in (1, 2, 3))


WPOSE = DatasetSpec(
    "WPose",
    "https://github.com/zyang-ur/UniHuman",
    r"\d+",
    (GroupSpec("test", "", _FILES, (_LIST,)),),
    same_size=False,
    beside=("keypoints",),
    synthetic=SyntheticSpec(
        _keys, 100_000, pairs=((0, 1), (1, 2), (2, 0)), first_test=0, trains=False
    ),
)
