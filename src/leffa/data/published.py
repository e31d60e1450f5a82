"""The published datasets as training and evaluation read them; configurations name these.

Each is described in `data.catalog`, and by its page in docs/reference/datasets. DeepFashion, of
which there are many lists, has a class of its own (`data.deepfashion`).
"""

from functools import partial

from leffa.data.reader import PosePairs, TryOnPairs

VitonHD = partial(TryOnPairs, "viton_hd", densepose="colour")
Viton = partial(TryOnPairs, "viton")
DressCode = partial(TryOnPairs, "dress_code", densepose="labels")
Market1501 = partial(PosePairs, "market1501")
WPose = partial(PosePairs, "wpose", split="test", densepose="iuv")
