"""VITON as training and evaluation read it."""

from pathlib import Path

from leffa.data.catalog.spec import Pairs, Split
from leffa.data.reader import TryOnPairs


class Viton(TryOnPairs):
    """Upper-body try-on pairs of VITON, described in `data.catalog.viton`, without DensePose."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        allow_subset: bool = False,
        truth: bool = False,
    ) -> None:
        super().__init__("viton", root, split, pairs, "none", allow_subset, truth=truth)
