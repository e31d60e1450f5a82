"""DressCode as training and evaluation read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from leffa.data.catalog.dress_code import CATEGORIES
from leffa.data.catalog.spec import Pairs, Split
from leffa.data.reader import TryOnPairs

__all__ = ["CATEGORIES", "DressCode"]


class DressCode(TryOnPairs):
    """Try-on pairs of DressCode in three categories, described in `data.catalog.dress_code`."""

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        categories: Sequence[str] = CATEGORIES,
        densepose: Literal["labels", "colour", "none"] = "labels",
        allow_subset: bool = False,
        truth: bool = False,
    ) -> None:
        super().__init__(
            "dress_code", root, split, pairs, densepose, allow_subset, categories, truth=truth
        )
