"""Market-1501 as training and evaluation read it."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog.spec import Split
from leffa.data.reader import PosePairs


class Market1501(PosePairs):
    """Pairs of one person under two cameras, described in `data.catalog.market1501`."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        densepose: Literal["iuv", "none"] = "none",
        allow_subset: bool = False,
    ) -> None:
        super().__init__("market1501", root, split, densepose, allow_subset)
