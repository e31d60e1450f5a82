"""WPose, the out-of-domain test set of pose transfer, as evaluation reads it."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog import WPOSE
from leffa.data.reader import PosePairs


class WPose(PosePairs):
    """Stock photographs of one person in two poses (UniHuman, Li et al., 2024); for tests only.

    `data.catalog.wpose` says which files there are: photographs cropped around the person, longer
    side 1024, DensePose as (V, U, part id), label maps. The release has links and annotations; the
    photographs are fetched with its own script. Its pickled `test_data.pkl` repeats the pairs and
    is not read. Not stated by the release, and taken from its code: that the reference is the first
    column, and the order of the DensePose channels.

    Args:
        root: the folder that holds the pair list (`wpose`).
        split: "test".
        densepose: "iuv", the file of the release, or "none".
        target_first: the first column is the source instead.
        allow_subset: the list may be shorter than the official one: some links are dead.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["test"] = "test",
        densepose: Literal["iuv", "none"] = "iuv",
        target_first: bool = False,
        allow_subset: bool = False,
    ) -> None:
        super().__init__(WPOSE, root, split, densepose, allow_subset, target_first=target_first)
