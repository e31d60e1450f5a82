"""DeepFashion In-shop for pose transfer: the pairs of Zhu et al. (2019), in the lists of PATN.

`fasion` is how most peers' files spell it. Flat names: see `data.inshop`.
"""

from dataclasses import replace

from leffa.data.catalog.spec import (
    SPLITS,
    TREE,
    DatasetSpec,
    FileSpec,
    GroupSpec,
    ListSpec,
    Split,
    SyntheticSpec,
    drawn_truth,
    pose_lists,
)
from leffa.data.inshop import flat_name

_WORDS = ("fasion-resize", "fashion-resize", "fasion", "fashion")
_PAIRS = {"train": 101_966, "test": 8_570}  # Zhu et al., 2019; Leffa, appendix A.1
_PICTURES = {"train": 48_674, "test": 4_038}  # lines of PATN's train.lst and test.lst
_VIEWS = ("1_front", "2_side", "7_additional")
UNPAIRED = "unpaired-pairs-test.csv"  # of synthetic copies
TREES = (f"img/{TREE}", f"img_highres/{TREE}", TREE)


def _group(split: Split) -> GroupSpec:
    files = (
        FileSpec(
            (f"{split}_highres", split, *TREES),  # Lu et al., 2024; PATN's crops; the release
            "{}.jpg",
            "photo",
            "picture",
            "always",
            "source",
            main=True,
        ),
        FileSpec("densepose", "{}.png", "iuv", "picture", field="densepose"),
        FileSpec("flow", "{}.npz", "flow", "pair", field="flow", synthetic=True),
    )
    pairs, joints = pose_lists(split, _WORDS, _PAIRS[split])
    names = ListSpec(
        (f"{split}.lst",), split, ("picture",), _PICTURES[split], "names", needed=False
    )
    nted = replace(  # and PIDM's; how many references it has for training is not published
        pairs,
        names=(f"{split}_pairs.txt",),
        official=_PAIRS[split] if split == "test" else None,
        form="release",
        needed=False,
        instead=pairs.names[0],
    )
    lists = pairs, joints, names, nted
    if split == "train":
        return GroupSpec(split, "", files, lists)
    # No release has such pairs: the truth of one person in another's pose is only rendered.
    unpaired = replace(pairs, names=(UNPAIRED,), official=None, pairing="other", needed=False)
    return GroupSpec(split, "", (*files, *drawn_truth()), (*lists, unpaired))


def _keys(number: int) -> tuple[str, ...]:
    # Synthetic people have no gender; both folders occur, as in the release.
    gender = "MEN" if number % 4 == 0 else "WOMEN"
    paths = (f"{gender}/Drawn_Outfits/id_{number:08d}/01_{view}.jpg" for view in _VIEWS)
    return tuple(flat_name(path).removesuffix(".jpg") for path in paths)


DEEPFASHION = DatasetSpec(
    "DeepFashion In-shop (pose transfer)",
    "https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
    r"fashion(WOMEN|MEN).+id\d{8}\d\d_\w+",
    tuple(_group(split) for split in SPLITS),
    size=(750, 1101),
    same_size=False,
    beside=("MEN", "WOMEN", "img", "img_highres", "keypoints", "pose", "256x176", "512x352"),
    frame=(176, 256),
    synthetic=SyntheticSpec(_keys, 50_000_000, (176, 256), ((0, 1), (1, 2), (2, 0))),
)
