"""Market-1501 for pose transfer at 64x128: which pairs there are, and their files."""

from functools import cache
from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Annotation, Record
from leffa.data.counts import check_count
from leffa.data.layout import (
    Layout,
    Split,
    absent,
    check_choice,
    check_root,
    optional,
    read_csv_pairs,
    required,
    spelling,
    where_present,
)

_FRAME = (64, 128)


class Market1501(Layout):
    """Pairs of one person under two cameras (Zheng et al., 2015), by the lists of PATN.

        <root>/market-pairs-{train,test}.csv             header from,to
        <root>/{train,test}/PPPP_cXsY_FFFFFF_ZZ.jpg      or bounding_box_{train,test}/, as released
          optional:
            market-annotation-{train,test}.csv           joints
            densepose/<stem>.png                         IUV; the release has none
          synthetic copies: flow/<from stem>_2_<to stem>.npz

    The reference is `from`, the source `to`. PPPP is the person; -1 and 0000, which are nobody, are
    in no list. The script that made the lists has a mistake in its train part: use the published
    csv. Samples are named `<from stem>_2_<to stem>`; their category is "person".

    Args:
        root: the folder that holds the pair lists (PATN's `market_data`).
        split: "train" or "test".
        densepose: "iuv", or "none".
        allow_subset: the list may be shorter than the official one.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        densepose: Literal["iuv", "none"] = "none",
        allow_subset: bool = False,
    ) -> None:
        check_choice("split", split, ("train", "test"))
        check_choice("densepose", densepose, ("iuv", "none"))
        root = check_root(root)
        pair_list = root / f"market-pairs-{split}.csv"
        listed = read_csv_pairs(pair_list)
        check_count(root, [f"Market-1501 {split}"], len(listed), pair_list, allow_subset)
        _check_persons(listed, pair_list)
        folder = spelling(root, (split, f"bounding_box_{split}"))
        joints = root / f"market-annotation-{split}.csv"
        body_of, reference_body_of = (
            cache(locate(root / "densepose", "{}.png") if densepose == "iuv" else absent)
            for locate in (required, where_present)
        )
        # A picture is in many pairs: its paths are made once and shared.
        pictures = {name for pair in listed for name in pair}
        place = {name: folder / name for name in pictures}
        stem = {name: PurePath(name).stem for name in pictures}
        known = (
            {name: Annotation(joints, _FRAME, name) for name in place} if joints.is_file() else {}
        )
        names = [f"{stem[reference]}_2_{stem[source]}" for reference, source in listed]
        flow_of = optional(root / "flow", "{}.npz", names)
        records = [
            Record(
                name=name,
                category="person",
                source=place[source],
                reference=place[reference],
                densepose=body_of(stem[source]),
                keypoints=known.get(source),
                flow=flow_of(name),
                reference_densepose=reference_body_of(stem[reference]),
                reference_keypoints=known.get(reference),
            )
            for name, (reference, source) in zip(names, listed, strict=True)
        ]
        super().__init__(records, pair_list)


def _check_persons(listed: list[tuple[str, str]], pair_list: Path) -> None:
    """The two pictures of a pair must show one person."""
    for reference, source in listed:
        if reference.split("_")[0] != source.split("_")[0]:
            raise ValueError(
                f"{pair_list}: {reference} and {source} are two persons; use the published list"
            )
