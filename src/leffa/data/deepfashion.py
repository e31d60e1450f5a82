"""DeepFashion In-shop for pose transfer: which pairs there are, and their files."""

import logging
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Record
from leffa.data.catalog import DEEPFASHION
from leffa.data.catalog.deepfashion import UNPAIRED
from leffa.data.catalog.spec import SPLITS, TREE, Pairs, Split
from leffa.data.inshop import category_of, release_path
from leffa.data.keypoints import Annotation
from leffa.data.layout import (
    UNPAIRED_TRAINING,
    Layout,
    check_choice,
    check_root,
    check_truth,
    read_lines,
)
from leffa.data.reader import Rows, pose_records, read_pairs
from leffa.io.folders import names_in

log = logging.getLogger(__name__)

_BORDER = 40  # of white beside the person, in the 256x256 images of the unresized joints


class DeepFashion(Layout):
    """Pairs of one person in two poses (Zhu et al., 2019): reference `from`, source `to`.

    `data.catalog.deepfashion` says which lists and files there are; joints are also read from
    NTED's `pose/**/*.txt`. The category is gender and garment type, `WOMEN-Tees_Tanks`.

    Args:
        root: the folder that holds the pair lists (often named `fashion`).
        lists: "csv" of PATN, or "txt" for the `{train,test}_pairs.txt` of NTED and PIDM.
        pictures: the folder below the root that holds flat names, as .jpg or .png; None:
            the first of `<split>_highres`, `<split>` and the release's tree.
        undetected: a target without a DensePose file is an "error"; or its pairs are left out
            ("drop") and counted in the log, since DensePose does not find everybody.
        allow_subset: the list may be shorter than the official one.
        pairs: "unpaired", which only synthetic copies have: each person with the reference of
            another, and the true image of that.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        densepose: Literal["iuv", "none"] = "iuv",
        lists: Literal["csv", "txt"] = "csv",
        pictures: str | None = None,
        undetected: Literal["error", "drop"] = "error",
        allow_subset: bool = False,
        pairs: Pairs = "paired",
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("pairs", pairs, ("paired", "unpaired"))
        check_choice("densepose", densepose, ("iuv", "none"))
        check_choice("lists", lists, ("csv", "txt"))
        check_choice("undetected", undetected, ("error", "drop"))
        root = check_root(root)
        group = DEEPFASHION.group(split)
        listing = group.listing(split, form="csv" if lists == "csv" else "release")
        if pairs == "unpaired":
            if split == "train":
                raise ValueError(UNPAIRED_TRAINING)
            listing = group.listing(split, pairing="other")
            if not (root / UNPAIRED).is_file():
                check_truth(root, [], group)
        path, rows = read_pairs(root, listing, allow_subset)
        _check_split(root / group.listing(split, form="names").names[0], rows, path)
        picture_of, joints_of = find_pictures(root, split, pictures), find_joints(root, split)
        records = pose_records(
            group, root, rows, densepose, picture_of, joints_of, category_of, pairs
        )
        if pairs == "unpaired":
            check_truth(root, records, group)
        if densepose == "iuv":
            records = _detected(records, root / "densepose", undetected == "drop")
        super().__init__(records, path)


def find_pictures(root: Path, split: Split, folder: str | None) -> Callable[[str], Path]:
    """From a flat name to its image, in `folder` below the root, or in the first place of the
    spec that exists: of flat names, or the tree of the release."""
    if folder is None:
        places = [root / name for name in DEEPFASHION.group(split).main("picture").spellings]
        flat = [place for place in places if place.name != TREE and place.is_dir()]
        trees = [place.parent for place in reversed(places) if place.name == TREE]
        tree = next((base for base in trees if _is_release(base)), None)
        if not flat and tree is not None:
            return lambda name: tree / release_path(name)
        place = flat[0] if flat else root / f"{split}_highres"
    else:
        place = root / folder
    present = names_in(place)

    def locate(name: str) -> Path:
        # Resized images are better kept without loss.
        if name not in present and (png := f"{PurePath(name).stem}.png") in present:
            return place / png
        return place / name

    return locate


def find_joints(root: Path, split: Split) -> Callable[[str], Annotation | None]:
    """From a flat name to its joints: a list of PATN's, else NTED's `pose/`, else none."""
    frame = DEEPFASHION.frame
    if (path := DEEPFASHION.group(split).listing(split, form="annotation").find(root)) is not None:
        left = 0 if "resize" in path.name else _BORDER
        return lambda name: Annotation(path, frame, f"{PurePath(name).stem}.jpg", left)
    if _is_release(root / "pose"):
        return lambda name: Annotation(
            root / "pose" / release_path(name).with_suffix(".txt"), frame, left=_BORDER
        )
    return lambda name: None


def _check_split(path: Path, listed: Rows, pair_list: Path) -> None:
    """Pairs of another split would put test persons into the training."""
    if not path.is_file():
        return
    own = frozenset(read_lines(path))
    if strange := sorted({name for pair in listed for name in pair} - own):
        raise ValueError(
            f"{pair_list}: names {len(strange)} images that {path.name} does not, first "
            f"{strange[0]}; use the two lists of one release"
        )


def _detected(records: list[Record], folder: Path, drop: bool) -> list[Record]:
    """The pairs whose target has a DensePose file; all must, unless the others are dropped."""
    present = names_in(folder)
    files = [record.densepose.name if record.densepose else "" for record in records]
    kept = [record for record, file in zip(records, files, strict=True) if file in present]
    lost = len(records) - len(kept)
    if not kept:
        raise ValueError(f"{folder}: has no DensePose of any target; make it, or densepose=none")
    if lost and not drop:
        missing = sorted(set(files) - present)
        raise FileNotFoundError(
            f"{folder}: has no DensePose of {len(missing)} of the {len(set(files))} targets, first "
            f"{missing[0]}; make it, or leave {lost} of the {len(records)} pairs out "
            "(undetected=drop)"
        )
    if lost:
        log.info("%d of %d pairs left out: no DensePose", lost, len(records))
    return kept


def _is_release(folder: Path) -> bool:
    return (folder / "WOMEN").is_dir() or (folder / "MEN").is_dir()
