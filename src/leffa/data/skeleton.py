"""A skeleton picture: what stands for DensePose where a data set ships keypoints only."""

import colorsys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

# Bones as pairs of BODY_25 joints, from the trunk outwards.
_BONES = (
    *((1, 2), (2, 3), (3, 4)),
    *((1, 5), (5, 6), (6, 7)),
    *((2, 9), (9, 10), (10, 11)),
    *((5, 12), (12, 13), (13, 14)),
    *((9, 12), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18)),
)
_COLOURS = tuple(
    tuple(round(255 * channel) for channel in colorsys.hsv_to_rgb(bone / len(_BONES), 1.0, 1.0))
    for bone in range(len(_BONES))
)
# A latent cell is 8 pixels and the models shrink this picture to latent size by nearest: at 256
# pixels of height a bone is one cell wide, so it cannot fall between the samples.
_BONES_PER_HEIGHT = 32


def draw_skeleton(keypoints: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Each bone in its own colour on black; bones with a missing joint are left out.

    Args:
        keypoints: (25, 3) BODY_25 in fractions of the picture, as `read_keypoints` gives them.
        size: (width, height) of the picture to draw.

    Returns:
        (H, W, 3) RGB.
    """
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    width = max(1, round(size[1] / _BONES_PER_HEIGHT))
    for (start, end), colour in zip(_BONES, _COLOURS, strict=True):
        if keypoints[start, 2] > 0 and keypoints[end, 2] > 0:
            points = [tuple((keypoints[joint, :2] * size).tolist()) for joint in (start, end)]
            draw.line(points, fill=colour, width=width)
            for x, y in points:
                draw.circle((x, y), width / 2, fill=colour)
    return np.array(picture)
