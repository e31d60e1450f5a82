"""Keypoints as a network reads them: the pose tensor.

It is the condition of pose transfer where there is no DensePose (Lu et al., 2024, `pose_utils.py`):
a drawn skeleton and one heat map a joint.
"""

import colorsys

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from leffa.data.keypoints import COCO_18, to_coco_18

CHANNELS = 3 + COCO_18

# Bones as pairs of COCO-18 joints, in the order of their colours.
_BONES = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
_BONE_BRIGHTNESS = 0.6  # of the joint of the same hue
# Published for a height of 256: sigma 6, lines of width 2 and discs of radius 3, which the
# authors' library draws as wide as this, smooth edges included.
_SIGMA, _BONE_WIDTH, _JOINT_RADIUS = 6 / 256, 3.5 / 256, 3.7 / 256
_SMOOTHING = 4  # drawn so many times larger, then averaged: PIL's lines have hard edges


def pose_tensor(keypoints: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
    """The skeleton's red, green and blue, then the heat maps of the 18 COCO joints.

    Widths grow with the height; at the published 256 a bone covers 3.5 pixels, a joint's disc 7.4
    and a heat map has a standard deviation of 6. Joints and heat maps sit on whole pixels. The
    colours are the published ones.

    Args:
        keypoints: (25, 3) BODY_25 in fractions of the picture; a missing joint has confidence 0 and
            leaves its map and its bones empty.
        size: (width, height) of the maps.

    Returns:
        (21, H, W) in [0, 1].
    """
    joints = to_coco_18(keypoints)
    # A fraction times the size may fall just short of the whole pixel that it came from.
    pixels = np.floor(joints[:, :2] * size + 1e-3)
    seen = joints[:, 2] > 0
    skeleton = torch.from_numpy(_draw(pixels, seen, size)).permute(2, 0, 1) / 255
    return torch.cat([skeleton, torch.from_numpy(_heat(pixels, seen, size))])


def _heat(
    pixels: NDArray[np.float32], seen: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.float32]:
    """(18, H, W): a Gaussian is the product of one along x and one along y."""
    sigma = _SIGMA * size[1]
    x, y = (
        np.exp(-((np.arange(length) - at[:, None]) ** 2) / (2 * sigma**2)).astype(np.float32)
        for length, at in zip(size, pixels.T, strict=True)
    )
    heat: NDArray[np.float32] = y[:, :, None] * (x * seen[:, None])[:, None, :]
    return heat


def _draw(
    pixels: NDArray[np.float32], seen: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.uint8]:
    large = Image.new("RGB", (size[0] * _SMOOTHING, size[1] * _SMOOTHING))
    pen = ImageDraw.Draw(large)
    scale = size[1] * _SMOOTHING
    places = [(float(x), float(y)) for x, y in (pixels + 0.5) * _SMOOTHING]
    for hue, (start, end) in enumerate(_BONES):
        if seen[start] and seen[end]:
            width = max(1, round(_BONE_WIDTH * scale))
            pen.line([places[start], places[end]], _colour(hue, _BONE_BRIGHTNESS), width)
    for hue, place in enumerate(places):
        if seen[hue]:
            pen.circle(place, _JOINT_RADIUS * scale, _colour(hue, 1.0))
    return np.array(large.reduce(_SMOOTHING))


def _colour(hue: int, brightness: float) -> tuple[int, int, int]:
    """One of 18 hues around the colour circle."""
    red, green, blue = (
        round(255 * channel) for channel in colorsys.hsv_to_rgb(hue / COCO_18, 1.0, brightness)
    )
    return red, green, blue
