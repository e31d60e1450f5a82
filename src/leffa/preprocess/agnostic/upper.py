"""The recipes of VITON-HD and its relatives: upper garments, from CIHP-20 or LIP-20 labels.

They mask torso, neck and arms around the keypoints, wider than the body, and then keep head, lower
body and, in the later ones, hands.
"""

import numpy as np

from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic import body
from leffa.preprocess.agnostic.shapes import Brush, Joints, dilate

_FACE = ("sunglasses", "face")
_HAT_AND_HAIR = ("hat", "hair")
_UPPER_CLOTHES = ("upper", "dress", "coat")
_LOWER_BODY = (*body.SKIRT_AND_TROUSERS, *body.LEGS, *body.SHOES)
_HIPS = [9, 12]
# From shoulders to hips, in shoulder distances: the median of 2,000 persons of VITON.
_TORSO_LENGTH = 1.5


def viton_hd(person: PersonMaps) -> Mask:
    """VITON-HD's own recipe (Choi et al., 2021, `datasets.py`): one brush size for all persons."""
    body.check_category(person, "upper_body")
    joints = _completed(body.joints_of(person))
    brush = Brush(person.parse.shape, unit=20 * person.height / 1024)
    _paint_body(brush, joints, shoulder_line=10, shoulder_height=5)
    brush.box(joints[body.NECK], sideways=7, up=7, down=7)
    return brush.mask() & ~person.shows(*_FACE, *_LOWER_BODY)


def hr_viton(person: PersonMaps) -> Mask:
    """The recipe of VITON-HD's `agnostic-v3.2` files (HR-VITON, Lee et al., 2022, `cp_dataset.py`).

    Brushes grow with the distance of the shoulders, less of the neck is taken, and hands are kept.
    """
    body.check_category(person, "upper_body")
    joints = _completed(body.joints_of(person))
    brush = Brush(person.parse.shape, _hr_viton_unit(joints, person.height))
    _paint_body(brush, joints, shoulder_line=12, shoulder_height=6)
    brush.box(joints[body.NECK], sideways=5, up=9, down=0)
    hands = np.zeros(person.parse.shape, np.bool_)  # the arm labels beyond a strip along the arm
    for arm, label in body.ARMS:
        strip = Brush(person.parse.shape, brush.unit)
        strip.disc(joints[arm[0]], 5, 6)
        strip.limb(joints, arm, end=4)
        hands |= person.shows(label) & ~strip.mask()
    return brush.mask() & ~hands & ~person.shows(*_FACE, *_LOWER_BODY)


def ladi_vton(person: PersonMaps) -> Mask:
    """LaDI-VTON's recipe for VITON-HD (Morelli et al., 2023, `src/dataset/vitonhd.py`).

    Nothing is painted over the torso: the worn garment and a strip along both arms are dilated, and
    head, hands and lower garments are kept.
    """
    body.check_category(person, "upper_body")
    keypoints = body.joints_of(person)
    body.shoulder_distance(keypoints)
    arms = Brush(person.parse.shape, unit=person.height / 512)
    arms.known_line(keypoints, (4, 3, 2, 5, 6, 7), width=90)
    strip = arms.mask()
    hands = person.shows(*body.ARM_LABELS) & ~strip
    reach = 10 * person.height / 512  # five dilations by 5x5
    garment = dilate(person.shows(*_UPPER_CLOTHES) | strip, reach)
    kept = person.shows(*_HAT_AND_HAIR, *_FACE, *body.SKIRT_AND_TROUSERS, *body.SHOES)
    return garment & ~hands & ~kept


def viton(person: PersonMaps) -> Mask:
    """Ours, for VITON's coarse parsing: `hr_viton` that also covers the garment and keeps hair."""
    painted = hr_viton(person)
    unit = _hr_viton_unit(body.joints_of(person), person.height)
    garment = dilate(person.shows(*_UPPER_CLOTHES), unit)
    return (painted | garment) & ~person.shows(*_HAT_AND_HAIR, *_FACE, *_LOWER_BODY)


def _paint_body(brush: Brush, joints: Joints, shoulder_line: int, shoulder_height: int) -> None:
    """Both arms, and the polygon between shoulders and hips with thick sides and a thicker hem."""
    brush.line(joints, body.SHOULDERS, shoulder_line)
    for arm, _ in body.ARMS:
        brush.disc(joints[arm[0]], 5, shoulder_height)
        brush.limb(joints, arm, end=5)
    for hip in _HIPS:
        brush.disc(joints[hip], 3, 6)
    brush.line(joints, [2, 9], width=6)
    brush.line(joints, [5, 12], width=6)
    brush.line(joints, _HIPS, width=12)
    brush.polygon(joints, (2, 5, 12, 9))


def _hr_viton_unit(joints: Joints, height: int) -> float:
    """A whole number of pixels at the published height of 1024, in pixels of this one."""
    at_1024 = body.shoulder_distance(joints) * 1024 / height
    return (int(at_1024 / 16) + 1) * height / 1024


def _completed(keypoints: Joints) -> Joints:
    """The joints with the hips as far apart as the shoulders, and neck and hips in any case."""
    width = body.shoulder_distance(keypoints)
    joints = keypoints.copy()
    shoulders, hips = joints[body.SHOULDERS, :2], joints[_HIPS, :2]
    middle, half = hips.mean(axis=0), (hips[1] - hips[0]) / 2
    distance = 2 * float(np.linalg.norm(half))
    if (joints[_HIPS, 2] > 0).all() and distance > 0:
        half *= width / distance
    else:
        half = (shoulders[1] - shoulders[0]) / 2
        middle = shoulders.mean(axis=0) + np.array((0, _TORSO_LENGTH * width), np.float32)
    joints[_HIPS, :2] = (middle - half, middle + half)
    if joints[body.NECK, 2] == 0:
        joints[body.NECK, :2] = shoulders.mean(axis=0)
    return joints
