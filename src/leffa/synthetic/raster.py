"""Array types, and two tools for pixels: coverage by a shape, and bilinear look-up."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]  # colours, part ids or labels, 0..255
Mask = NDArray[np.bool_]


def sample(picture: Floats, xy: Floats) -> Floats:
    """Bilinear look-up of (H, W, C) at pixels xy (..., 2); outside, the border goes on."""
    height, width = picture.shape[:2]
    x = xy[..., 0].clip(0, width - 1)
    y = xy[..., 1].clip(0, height - 1)
    j = np.minimum(x.astype(np.intp), width - 2)
    i = np.minimum(y.astype(np.intp), height - 2)
    a, b = (x - j)[..., None], (y - i)[..., None]
    flat = picture.reshape(height * width, -1)
    at = i * width + j
    top = flat[at] * (1 - a) + flat[at + 1] * a
    bottom = flat[at + width] * (1 - a) + flat[at + width + 1] * a
    return (top * (1 - b) + bottom * b).astype(np.float32)


def coverage(level: Floats) -> Floats:
    """Share of each pixel on the negative side of a level set, from its value and its slope."""
    down, right = np.gradient(level)
    slope = np.maximum(np.hypot(down, right), 1e-3)
    return (0.5 - level / slope).clip(0, 1).astype(np.float32)
