"""Market-1501 for pose transfer at 64x128: which pairs there are, and their files."""

from pathlib import Path
from typing import Literal

from leffa.data.batch import Annotation
from leffa.data.catalog import MARKET1501
from leffa.data.catalog.spec import SPLITS, Split
from leffa.data.layout import Layout, absent, check_choice, check_root, spelling
from leffa.data.reader import Rows, check_count, pose_records, read_rows


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
        check_choice("split", split, SPLITS)
        check_choice("densepose", densepose, ("iuv", "none"))
        root = check_root(root)
        group = MARKET1501.group(split)
        listing = group.listing(split, form="csv")
        path = root / listing.names[0]
        rows = read_rows(path, listing)
        check_count(root, listing, len(rows), path, allow_subset)
        _check_persons(rows, path)
        folder = spelling(root, group.main("picture").spellings)
        joints = group.listing(split, form="annotation").find(root)
        records = pose_records(
            group,
            root,
            rows,
            densepose,
            lambda name: folder / name,
            (lambda name: Annotation(joints, MARKET1501.frame, name)) if joints else absent,
        )
        super().__init__(records, path)


def _check_persons(listed: Rows, pair_list: Path) -> None:
    """The two pictures of a pair must show one person."""
    for reference, source in listed:
        if reference.split("_")[0] != source.split("_")[0]:
            raise ValueError(
                f"{pair_list}: {reference} and {source} are two persons; use the published list"
            )
