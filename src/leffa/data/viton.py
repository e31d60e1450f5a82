"""The original VITON data set at 192x256, as training and evaluation read it."""

from pathlib import Path

from leffa.data.catalog import VITON
from leffa.data.catalog.spec import Pairs, Split
from leffa.data.reader import TryOnPairs


class Viton(TryOnPairs):
    """Upper-body try-on pairs of VITON (Han et al., 2018), in the layout that CP-VTON made common.

    `data.catalog.viton` says which files there are. Parse labels are LIP-20 ids, the pose is
    OpenPose 1.0 with 18 COCO joints. There is neither DensePose nor an agnostic mask: build the
    mask from parse and pose (`preprocess.agnostic`), and use the skeleton, or nothing, in place of
    DensePose. The test list is the unpaired one; a person's own garment has the person's number.
    Training is always paired.

    Args:
        root, split, pairs, allow_subset: as in `TryOnPairs`.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        allow_subset: bool = False,
    ) -> None:
        super().__init__(VITON, root, split, pairs, "none", allow_subset)
