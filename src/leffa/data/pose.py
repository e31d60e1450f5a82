"""Keypoints as a network reads them: a skeleton in place of DensePose, or the pose tensor."""

import colorsys

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from leffa.data.keypoints import COCO_18, Joints, to_coco_18

CHANNELS = 3 + COCO_18

# `draw_skeleton`: bones as pairs of BODY_25 joints, from the trunk outwards.
_SKELETON = (
    *((1, 2), (2, 3), (3, 4)),
    *((1, 5), (5, 6), (6, 7)),
    *((2, 9), (9, 10), (10, 11)),
    *((5, 12), (12, 13), (13, 14)),
    *((9, 12), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18)),
)
# A latent cell is 8 pixels and the models shrink this image to latent size by nearest: at 256
# pixels of height a bone is one cell wide, so it cannot fall between the samples.
_BONES_PER_HEIGHT = 32

# `pose_tensor`: bones as pairs of COCO-18 joints, in the order of their colours.
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


def draw_skeleton(keypoints: Joints, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of `size` (width, height): each bone between two joints that were found, which
    are given in fractions of the image, in its own colour on black."""
    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    width = max(1, round(size[1] / _BONES_PER_HEIGHT))
    for hue, (start, end) in enumerate(_SKELETON):
        if keypoints[start, 2] > 0 and keypoints[end, 2] > 0:
            colour = _colour(hue / len(_SKELETON))
            points = [tuple((keypoints[joint, :2] * size).tolist()) for joint in (start, end)]
            draw.line(points, fill=colour, width=width)
            for x, y in points:
                draw.circle((x, y), width / 2, fill=colour)
    return np.array(picture)


def pose_tensor(keypoints: Joints, size: tuple[int, int]) -> Tensor:
    """A skeleton's red, green and blue, then the heat maps of the 18 COCO joints: the condition of
    pose transfer where there is no DensePose (Lu et al., 2024, `pose_utils.py`).

    Args:
        keypoints: (25, 3) BODY_25 in fractions of the image.
        size: (width, height) of the maps.

    Returns:
        (21, H, W) in [0, 1]; widths grow with the height, and joints sit on whole pixels.
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
    width = max(1, round(_BONE_WIDTH * scale))
    places = [(float(x), float(y)) for x, y in (pixels + 0.5) * _SMOOTHING]
    for hue, (start, end) in enumerate(_BONES):
        if seen[start] and seen[end]:
            pen.line([places[start], places[end]], _colour(hue / COCO_18, _BONE_BRIGHTNESS), width)
    for hue, place in enumerate(places):
        if seen[hue]:
            pen.circle(place, _JOINT_RADIUS * scale, _colour(hue / COCO_18))
    return np.array(large.reduce(_SMOOTHING))


def _colour(hue: float, brightness: float = 1.0) -> tuple[int, int, int]:
    red, green, blue = (round(255 * each) for each in colorsys.hsv_to_rgb(hue, 1.0, brightness))
    return red, green, blue
