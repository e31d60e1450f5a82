"""WPose, for tests only, as evaluation reads it."""

from pathlib import Path
from typing import Literal

from leffa.data.reader import PosePairs


class WPose(PosePairs):
    """Stock photographs of one person in two poses, described in `data.catalog.wpose`."""

    def __init__(
        self,
        root: str | Path,
        split: Literal["test"] = "test",
        densepose: Literal["iuv", "none"] = "iuv",
        target_first: bool = False,
        allow_subset: bool = False,
    ) -> None:
        super().__init__("wpose", root, split, densepose, allow_subset, target_first)
