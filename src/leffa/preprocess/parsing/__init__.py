"""Human parsing: from a photo to one label a pixel.

Back ends: SCHP from ONNX or PyTorch weights (`schp_onnx`, `schp_torch` in `schp_parser`), the two
SCHP models joined as the released demos do (`neck.ATRWithNeck`), a rough one from pose and
silhouette that needs no weights (`coarse.CoarseParser`), and the exact labels of synthetic persons
(`preprocess.synthetic_labels`).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import LabelSet


@dataclass(frozen=True)
class Parsing:
    """The labels of one picture.

    Args:
        labels: (H, W) ids of `label_set`.
        label_set: what the ids mean (`data.labels.LABELS`).
    """

    labels: NDArray[np.uint8]
    label_set: LabelSet


class PersonParser(Protocol):
    """Labels body parts and clothes."""

    @property
    def label_set(self) -> LabelSet:
        """Of every parsing that it gives."""
        ...

    def parse(self, image: Image.Image) -> Parsing:
        """The labels of a photo, of the photo's size.

        Raises:
            ValueError: the back end cannot tell, for example because it sees no person.
        """
        ...
