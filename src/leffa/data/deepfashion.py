"""DeepFashion In-shop for pose transfer: which pairs there are, and their files."""

import logging
from functools import cache
from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Record
from leffa.data.counts import check_count
from leffa.data.inshop import WORDS, category_of, find_joints, find_pictures, flat_name
from leffa.data.layout import (
    Layout,
    Split,
    absent,
    check_choice,
    check_root,
    optional,
    read_csv_pairs,
    read_lines,
    required,
    spelling,
    where_present,
)
from leffa.io.folders import names_in

log = logging.getLogger(__name__)

Pairs = list[tuple[str, str]]  # reference, source: flat names


class DeepFashion(Layout):
    """Pairs of one person in two poses (Zhu et al., 2019): reference `from`, source `to`.

        <root>/fasion-resize-pairs-{train,test}.csv      header from,to (PATN, DPTN and later)
          pictures, the first that exists:
            {train,test}_highres/<flat name>.jpg         Lu et al., 2024
            {train,test}/<flat name>.jpg                 PATN's crops
            {MEN,WOMEN}/Tees_Tanks/id_00000029/06_2_side.jpg, below the root, img/ or img_highres/
          optional:
            {train,test}.lst                             the pictures of the split
            fasion-resize-annotation-{train,test}.csv    joints; or NTED's pose/**/*.txt
            densepose/<flat stem>.png                    IUV; the release has none
          synthetic copies: flow/<from stem>_2_<to stem>.npz

    `fashion-`, and GFLA's lists without `resize-`, are read too. Flat names: see `data.inshop`. The
    category is gender and garment type, `WOMEN-Tees_Tanks`. Samples are named
    `<from stem>_2_<to stem>`, as the field names its results.

    Args:
        root: the folder that holds the pair lists (often named `fashion`).
        split: "train" or "test".
        densepose: "iuv", or "none".
        lists: "csv" as above, or "txt" for the `{train,test}_pairs.txt` of NTED and PIDM. Their
            lines are paths of the release, the target first and then one or more references, of
            which each makes a pair.
        pictures: the folder below the root that holds flat names, as .jpg or .png; None as above.
        undetected: a target without a DensePose file is an "error"; or its pairs are left out
            ("drop") and counted in the log, since DensePose does not find everybody.
        allow_subset: the list may be shorter than the official one.
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
    ) -> None:
        check_choice("split", split, ("train", "test"))
        check_choice("densepose", densepose, ("iuv", "none"))
        check_choice("lists", lists, ("csv", "txt"))
        check_choice("undetected", undetected, ("error", "drop"))
        root = check_root(root)
        pair_list, listed = _read_txt(root, split) if lists == "txt" else _read_csv(root, split)
        if (lists, split) != ("txt", "train"):  # how many references they list is not published
            check_count(root, [f"DeepFashion {split}"], len(listed), pair_list, allow_subset)
        _check_split(root / f"{split}.lst", listed, pair_list)
        records = _records(root, split, listed, densepose, pictures)
        if densepose == "iuv":
            records = _detected(records, root / "densepose", undetected == "drop")
        super().__init__(records, pair_list)


def _records(
    root: Path, split: Split, listed: Pairs, densepose: str, pictures: str | None
) -> list[Record]:
    # A picture is in several pairs: its paths are made once and shared.
    picture_of, joints_of = (
        cache(find_pictures(root, split, pictures)),
        cache(find_joints(root, split)),
    )
    body_of, reference_body_of = (
        cache(locate(root / "densepose", "{}.png") if densepose == "iuv" else absent)
        for locate in (required, where_present)
    )
    stem_of, kind_of = cache(lambda name: PurePath(name).stem), cache(category_of)
    names = [f"{stem_of(reference)}_2_{stem_of(source)}" for reference, source in listed]
    flow_of = optional(root / "flow", "{}.npz", names)
    return [
        Record(
            name=name,
            category=kind_of(source),
            source=picture_of(source),
            reference=picture_of(reference),
            densepose=body_of(stem_of(source)),
            keypoints=joints_of(source),
            flow=flow_of(name),
            reference_densepose=reference_body_of(stem_of(reference)),
            reference_keypoints=joints_of(reference),
        )
        for name, (reference, source) in zip(names, listed, strict=True)
    ]


def _read_csv(root: Path, split: Split) -> tuple[Path, Pairs]:
    names = [f"{word}-{kind}-{split}.csv" for kind in ("resize-pairs", "pairs") for word in WORDS]
    path = spelling(root, names)
    return path, read_csv_pairs(path)


def _read_txt(root: Path, split: Split) -> tuple[Path, Pairs]:
    path = root / f"{split}_pairs.txt"
    pairs = []
    for line in read_lines(path):
        target, *references = [name.strip() for name in line.split(",")]
        if not references:
            raise ValueError(
                f"{path}: expected 'target,reference' on each line, found '{line}'; copy the list "
                "again from NTED's release"
            )
        try:
            pairs += [(flat_name(reference), flat_name(target)) for reference in references]
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return path, pairs


def _check_split(path: Path, listed: Pairs, pair_list: Path) -> None:
    """Pairs of another split would put test persons into the training."""
    if not path.is_file():
        return
    own = frozenset(read_lines(path))
    if strange := sorted({name for pair in listed for name in pair} - own):
        raise ValueError(
            f"{pair_list}: names {len(strange)} pictures that {path.name} does not, first "
            f"{strange[0]}; use the two lists of one release"
        )


def _detected(records: list[Record], folder: Path, drop: bool) -> list[Record]:
    """The pairs whose target has a DensePose file; all must, unless the others are dropped."""
    present = names_in(folder)
    files = [record.densepose.name if record.densepose else "" for record in records]
    kept = [record for record, file in zip(records, files, strict=True) if file in present]
    left_out = len(records) - len(kept)
    if not kept:
        raise ValueError(f"{folder}: has no DensePose of any target; make it, or densepose=none")
    if left_out and not drop:
        missing = sorted(set(files) - present)
        raise FileNotFoundError(
            f"{folder}: has no DensePose of {len(missing)} of the {len(set(files))} targets, first "
            f"{missing[0]}; make it, or leave {left_out} of the {len(records)} pairs out "
            "(undetected=drop)"
        )
    if left_out:
        log.info("%d of %d pairs left out: no DensePose", left_out, len(records))
    return kept
