"""The arrays that are passed around; shapes stand where they are used."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]  # colours, part ids or labels, 0..255
Mask = NDArray[np.bool_]
