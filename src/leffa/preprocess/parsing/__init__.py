"""Human parsing: from a photo to one label per pixel.

Back ends: SCHP from its ONNX files (`schp`), its two models joined as the released demos do
(`neck`), and the exact labels of synthetic persons (`preprocess.synthetic_labels`).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import LabelSet


class PersonParser(Protocol):
    """Labels body parts and clothes."""

    @property
    def label_set(self) -> LabelSet:
        """What the labels mean (`data.labels.LABELS`)."""

    def parse(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W) the labels of a photo; raises ValueError where it cannot be parsed."""
