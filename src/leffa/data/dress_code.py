"""DressCode at 768x1024, as training and evaluation read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from leffa.data.catalog import DRESS_CODE
from leffa.data.catalog.dress_code import CATEGORIES
from leffa.data.catalog.spec import Pairs, Split
from leffa.data.layout import check_choice
from leffa.data.reader import TryOnPairs

__all__ = ["CATEGORIES", "DressCode"]


class DressCode(TryOnPairs):
    """Try-on pairs of DressCode (Morelli et al., 2022) in three categories.

    `data.catalog.dress_code` says which files there are. The lists are the only split: both splits
    share the folders. A category's own list is read where there is one, else its lines of the
    root's. The paired and the unpaired list have the persons in another order. Parse labels are
    ATR ids.

    Args:
        root, split, pairs, allow_subset: as in `TryOnPairs`.
        categories: which categories, in which order; one or more of the three.
        densepose: the file that stands for DensePose: "labels" (`dense`), "colour"
            (`image-densepose`) or "none".
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        categories: Sequence[str] = CATEGORIES,
        densepose: Literal["labels", "colour", "none"] = "labels",
        allow_subset: bool = False,
    ) -> None:
        if isinstance(categories, str) or not categories:
            raise ValueError(f"categories={categories}: give a list, such as [upper_body]")
        for category in categories:
            check_choice("categories", category, CATEGORIES)
        super().__init__(DRESS_CODE, root, split, pairs, densepose, allow_subset, categories)
