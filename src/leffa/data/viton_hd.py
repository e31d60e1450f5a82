"""VITON-HD at 768x1024, as training and evaluation read it."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog import VITON_HD
from leffa.data.catalog.spec import Pairs, Split
from leffa.data.reader import TryOnPairs


class VitonHD(TryOnPairs):
    """Upper-body try-on pairs of VITON-HD (Choi et al., 2021), as in `zalando-hd-resized.zip`.

    `data.catalog.viton_hd` says which files there are. Parse labels are CIHP-20 ids. The test list
    is the unpaired one, and a person's own garment has the person's name. The second column of the
    train list is shuffled as well, so training ignores it and is always paired.

    Args:
        root, split, pairs, allow_subset: as in `TryOnPairs`.
        densepose: the file that stands for DensePose: "colour", "iuv" or "none".
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        densepose: Literal["colour", "iuv", "none"] = "colour",
        allow_subset: bool = False,
    ) -> None:
        super().__init__(VITON_HD, root, split, pairs, densepose, allow_subset)
