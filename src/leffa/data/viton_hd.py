"""VITON-HD as training and evaluation read it."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog.spec import Pairs, Split
from leffa.data.reader import TryOnPairs


class VitonHD(TryOnPairs):
    """Upper-body try-on pairs of VITON-HD, described in `data.catalog.viton_hd`."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        densepose: Literal["colour", "iuv", "none"] = "colour",
        allow_subset: bool = False,
        truth: bool = False,
    ) -> None:
        super().__init__("viton_hd", root, split, pairs, densepose, allow_subset, truth=truth)
