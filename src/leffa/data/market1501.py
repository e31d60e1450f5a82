"""Market-1501 for pose transfer at 64x128, as training and evaluation read it."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog import MARKET1501
from leffa.data.catalog.spec import Split
from leffa.data.reader import PosePairs, Rows


class Market1501(PosePairs):
    """Pairs of one person under two cameras (Zheng et al., 2015), by the lists of PATN.

    `data.catalog.market1501` says which files there are. The reference is `from`, the source `to`.
    Pictures are called PPPP_cXsY_FFFFFF_ZZ.jpg; PPPP is the person; -1 and 0000, which are nobody,
    are in no list. The script that made the lists has a mistake in its train part: use the
    published csv. The release has no DensePose; joints are read where their list is.

    Args:
        root: the folder that holds the pair lists (PATN's `market_data`).
        split, allow_subset: as in `PosePairs`.
        densepose: "iuv", or "none".
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        densepose: Literal["iuv", "none"] = "none",
        allow_subset: bool = False,
    ) -> None:
        super().__init__(MARKET1501, root, split, densepose, allow_subset, _check_persons)


def _check_persons(listed: Rows, pair_list: Path) -> None:
    """The two pictures of a pair must show one person."""
    for reference, source in listed:
        if reference.split("_")[0] != source.split("_")[0]:
            raise ValueError(
                f"{pair_list}: {reference} and {source} are two persons; use the published list"
            )
