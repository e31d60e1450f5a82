"""Cloth-agnostic masks from parsing and keypoints: the field's recipes under their names.

Each recipe paints over torso, neck and arms around the keypoints, more broadly than the body so
that the outline of the worn garment does not show through, and then keeps what must stay: head,
lower body and, in the later recipes, hands.

A recipe takes `parse` (H, W), label ids, and `keypoints` (25, 3), BODY_25 in pixels with (0, 0, 0)
for a missing joint, and gives a mask (H, W), True = generate. It works at any resolution: sizes
that are published in pixels are scaled by the height. Missing arms are left out, missing hips are
put below the shoulders, and a person without shoulders is a ValueError.

Labels are CIHP-20 or LIP-20 ids; the recipes use only those that the two share.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from leffa.data.transforms import AgnosticRecipe

Mask = NDArray[np.bool_]
Parse = NDArray[np.uint8]
Joints = NDArray[np.float32]

_HAT_AND_HAIR = (1, 2)
_FACE = (4, 13)  # and sunglasses
_UPPER_CLOTHES = (5, 6, 7)
_TROUSERS_AND_SKIRT = (9, 12)
_LEGS = (16, 17)
_SHOES = (18, 19)
_LOWER_BODY = (*_TROUSERS_AND_SKIRT, *_LEGS, *_SHOES)

_NECK = 1
_SHOULDERS = [2, 5]
_HIPS = [9, 12]
# Shoulder, elbow and wrist of an arm, and its parse label; the person's right arm first.
_ARMS = (((2, 3, 4), 15), ((5, 6, 7), 14))
# From shoulders to hips, in shoulder distances: the median of 2,000 persons of VITON.
_TORSO_LENGTH = 1.5


def viton_hd(parse: Parse, keypoints: Joints) -> Mask:
    """VITON-HD's own recipe (Choi et al., 2021, `datasets.py`): one brush size for everybody."""
    joints = _completed(keypoints)
    brush = _Brush(parse.shape, unit=20 * parse.shape[0] / 1024)
    brush.line(joints, _SHOULDERS, width=10)
    for shoulder, elbow, wrist in (arm for arm, _ in _ARMS):
        brush.disc(joints[shoulder], 5, 5)
        brush.limb(joints, (shoulder, elbow, wrist), end=5)
    brush.torso(joints)
    brush.box(joints[_NECK], sideways=7, up=7, down=7)
    return brush.mask() & ~np.isin(parse, _FACE + _LOWER_BODY)


def hr_viton(parse: Parse, keypoints: Joints) -> Mask:
    """The recipe of VITON-HD's `agnostic-v3.2` files (HR-VITON, Lee et al., 2022, `cp_dataset.py`).

    Brushes grow with the distance of the shoulders, less of the neck is taken, and hands are kept.
    """
    joints = _completed(keypoints)
    brush = _Brush(parse.shape, _hr_viton_unit(joints, parse.shape[0]))
    brush.line(joints, _SHOULDERS, width=12)
    for shoulder, elbow, wrist in (arm for arm, _ in _ARMS):
        brush.disc(joints[shoulder], 5, 6)
        brush.limb(joints, (shoulder, elbow, wrist), end=5)
    brush.torso(joints)
    brush.box(joints[_NECK], sideways=5, up=9, down=0)
    hands = _hands(parse, joints, brush.unit)
    return brush.mask() & ~hands & ~np.isin(parse, _FACE + _LOWER_BODY)


def ladi_vton(parse: Parse, keypoints: Joints) -> Mask:
    """LaDI-VTON's recipe for VITON-HD (Morelli et al., 2023, `src/dataset/vitonhd.py`).

    Nothing is painted over the torso: the worn garment and a strip along both arms are dilated, and
    head, hands and lower garments are kept.
    """
    height = parse.shape[0]
    _shoulder_distance(keypoints)
    arms = _Brush(parse.shape, unit=height / 512)
    # One line from wrist to wrist; a missing wrist or elbow shortens it.
    line = [joint for joint in (4, 3, 2, 5, 6, 7) if keypoints[joint, 2] > 0]
    arms.line(keypoints, line, width=90)
    strip = arms.mask()
    hands = np.isin(parse, [label for _, label in _ARMS]) & ~strip
    reach = round(10 * height / 512)  # five dilations by 5x5
    garment = _dilate(np.isin(parse, _UPPER_CLOTHES) | strip, reach)
    return garment & ~hands & ~np.isin(parse, _HAT_AND_HAIR + _FACE + _TROUSERS_AND_SKIRT + _SHOES)


def viton(parse: Parse, keypoints: Joints) -> Mask:
    """Ours, for VITON's coarse parsing: `hr_viton` that also covers the garment and keeps hair."""
    garment = np.isin(parse, _UPPER_CLOTHES)
    unit = _hr_viton_unit(keypoints, parse.shape[0])
    kept = np.isin(parse, _HAT_AND_HAIR + _FACE + _LOWER_BODY)
    return (hr_viton(parse, keypoints) | _dilate(garment, round(unit))) & ~kept


AGNOSTIC: dict[str, AgnosticRecipe] = {
    "viton_hd": viton_hd,
    "hr_viton": hr_viton,
    "ladi_vton": ladi_vton,
    "viton": viton,
}


class _Brush:
    """Paints a mask; all sizes are in `unit` pixels, discs and boxes by their half sizes."""

    def __init__(self, shape: tuple[int, ...], unit: float) -> None:
        self.unit = unit
        self._image = Image.new("1", (shape[1], shape[0]))
        self._draw = ImageDraw.Draw(self._image)

    def mask(self) -> Mask:
        return np.array(self._image)

    def line(self, joints: Joints, path: list[int], width: float) -> None:
        points = [tuple(joints[joint, :2].tolist()) for joint in path]
        self._draw.line(points, fill=1, width=round(width * self.unit), joint="curve")

    def disc(self, centre: Joints, sideways: float, upright: float) -> None:
        x, y = centre[:2].tolist()
        dx, dy = sideways * self.unit, upright * self.unit
        self._draw.ellipse((x - dx, y - dy, x + dx, y + dy), fill=1)

    def box(self, centre: Joints, sideways: float, up: float, down: float) -> None:
        x, y = centre[:2].tolist()
        dx = sideways * self.unit
        self._draw.rectangle((x - dx, y - up * self.unit, x + dx, y + down * self.unit), fill=1)

    def limb(self, joints: Joints, arm: tuple[int, int, int], end: float) -> None:
        """From the shoulder as far as joints are known; `end` is the radius of the wrist's disc."""
        for start, stop in pairwise(arm):
            if joints[start, 2] > 0 and joints[stop, 2] > 0:
                self.line(joints, [start, stop], width=10)
                radius = end if stop == arm[-1] else 5
                self.disc(joints[stop], radius, radius)

    def torso(self, joints: Joints) -> None:
        """The polygon between shoulders and hips with thick sides and a thicker hem."""
        for hip in _HIPS:
            self.disc(joints[hip], 3, 6)
        self.line(joints, [2, 9], width=6)
        self.line(joints, [5, 12], width=6)
        self.line(joints, _HIPS, width=12)
        outline = [tuple(joints[joint, :2].tolist()) for joint in (2, 5, 12, 9)]
        self._draw.polygon(outline, fill=1)


def _shoulder_distance(joints: Joints) -> float:
    if (joints[_SHOULDERS, 2] == 0).any():
        raise ValueError(
            "the pose has no shoulders to build a mask from; give a mask file or drop the picture"
        )
    right, left = joints[_SHOULDERS, :2]
    return float(np.linalg.norm(left - right))


def _hr_viton_unit(joints: Joints, height: int) -> float:
    """A whole number of pixels at the published height of 1024, in pixels of this one."""
    at_1024 = _shoulder_distance(joints) * 1024 / height
    return (int(at_1024 / 16) + 1) * height / 1024


def _completed(keypoints: Joints) -> Joints:
    """The joints with the hips as far apart as the shoulders, and neck and hips in any case."""
    width = _shoulder_distance(keypoints)
    joints = keypoints.copy()
    shoulders, hips = joints[_SHOULDERS, :2], joints[_HIPS, :2]
    middle, half = hips.mean(axis=0), (hips[1] - hips[0]) / 2
    distance = 2 * float(np.linalg.norm(half))
    if (joints[_HIPS, 2] > 0).all() and distance > 0:
        half *= width / distance
    else:
        half = (shoulders[1] - shoulders[0]) / 2
        middle = shoulders.mean(axis=0) + np.array((0, _TORSO_LENGTH * width), np.float32)
    joints[_HIPS, :2] = (middle - half, middle + half)
    if joints[_NECK, 2] == 0:
        joints[_NECK, :2] = shoulders.mean(axis=0)
    return joints


def _hands(parse: Parse, joints: Joints, unit: float) -> Mask:
    """The arm labels beyond a strip along the arm: where HR-VITON sees hands."""
    hands = np.zeros(parse.shape, np.bool_)
    for arm, label in _ARMS:
        strip = _Brush(parse.shape, unit)
        strip.disc(joints[arm[0]], 5, 6)
        strip.limb(joints, arm, end=4)
        hands |= (parse == label) & ~strip.mask()
    return hands


def _dilate(mask: Mask, reach: int) -> Mask:
    """Dilated by a square that reaches this many pixels to each side."""
    size = 2 * reach + 1
    # Sums over windows from a summed-area table: the cost does not grow with the reach.
    table = np.pad(mask, (reach + 1, reach)).astype(np.int32).cumsum(0).cumsum(1)
    inside = table[size:, size:] - table[:-size, size:] - table[size:, :-size]
    dilated: Mask = inside + table[:-size, :-size] > 0
    return dilated
