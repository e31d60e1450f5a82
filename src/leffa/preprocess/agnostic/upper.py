"""The recipes of VITON-HD and its relatives: upper garments, from CIHP-20 or LIP-20 labels.

They paint over torso, neck and arms around the keypoints, more broadly than the body, and then keep
head, lower body and, in the later ones, hands.
"""

import numpy as np

from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic.body import (
    ARM_LABELS,
    ARMS,
    FACE,
    LEGS,
    NECK,
    SHOES,
    SHOULDERS,
    check_category,
    joints_of,
    shoulder_distance,
)
from leffa.preprocess.agnostic.shapes import Brush, Joints, dilate

_HAT_AND_HAIR = ("hat", "hair")
_UPPER_CLOTHES = ("upper", "dress", "coat")
_TROUSERS_AND_SKIRT = ("pants", "skirt")
_LOWER_BODY = (*_TROUSERS_AND_SKIRT, *LEGS, *SHOES)

_HIPS = [9, 12]
# From shoulders to hips, in shoulder distances: the median of 2,000 persons of VITON.
_TORSO_LENGTH = 1.5


def viton_hd(person: PersonMaps) -> Mask:
    """VITON-HD's own recipe (Choi et al., 2021, `datasets.py`): one brush size for everybody."""
    check_category(person, "upper_body")
    joints = _completed(joints_of(person))
    brush = Brush(person.parse.shape, unit=20 * person.height / 1024)
    brush.line(joints, SHOULDERS, width=10)
    for arm, _ in ARMS:
        brush.disc(joints[arm[0]], 5, 5)
        brush.limb(joints, arm, end=5)
    _paint_torso(brush, joints)
    brush.box(joints[NECK], sideways=7, up=7, down=7)
    return brush.mask() & ~person.shows(*FACE, *_LOWER_BODY)


def hr_viton(person: PersonMaps) -> Mask:
    """The recipe of VITON-HD's `agnostic-v3.2` files (HR-VITON, Lee et al., 2022, `cp_dataset.py`).

    Brushes grow with the distance of the shoulders, less of the neck is taken, and hands are kept.
    """
    check_category(person, "upper_body")
    joints = _completed(joints_of(person))
    brush = Brush(person.parse.shape, _hr_viton_unit(joints, person.height))
    brush.line(joints, SHOULDERS, width=12)
    for arm, _ in ARMS:
        brush.disc(joints[arm[0]], 5, 6)
        brush.limb(joints, arm, end=5)
    _paint_torso(brush, joints)
    brush.box(joints[NECK], sideways=5, up=9, down=0)
    hands = _hands(person, joints, brush.unit)
    return brush.mask() & ~hands & ~person.shows(*FACE, *_LOWER_BODY)


def ladi_vton(person: PersonMaps) -> Mask:
    """LaDI-VTON's recipe for VITON-HD (Morelli et al., 2023, `src/dataset/vitonhd.py`).

    Nothing is painted over the torso: the worn garment and a strip along both arms are dilated, and
    head, hands and lower garments are kept.
    """
    check_category(person, "upper_body")
    keypoints = joints_of(person)
    shoulder_distance(keypoints)
    arms = Brush(person.parse.shape, unit=person.height / 512)
    # One line from wrist to wrist; a missing wrist or elbow shortens it.
    line = [joint for joint in (4, 3, 2, 5, 6, 7) if keypoints[joint, 2] > 0]
    arms.line(keypoints, line, width=90)
    strip = arms.mask()
    hands = person.shows(*ARM_LABELS) & ~strip
    reach = 10 * person.height / 512  # five dilations by 5x5
    garment = dilate(person.shows(*_UPPER_CLOTHES) | strip, reach)
    kept = person.shows(*_HAT_AND_HAIR, *FACE, *_TROUSERS_AND_SKIRT, *SHOES)
    return garment & ~hands & ~kept


def viton(person: PersonMaps) -> Mask:
    """Ours, for VITON's coarse parsing: `hr_viton` that also covers the garment and keeps hair."""
    painted = hr_viton(person)
    unit = _hr_viton_unit(joints_of(person), person.height)
    garment = dilate(person.shows(*_UPPER_CLOTHES), unit)
    return (painted | garment) & ~person.shows(*_HAT_AND_HAIR, *FACE, *_LOWER_BODY)


def _paint_torso(brush: Brush, joints: Joints) -> None:
    """The polygon between shoulders and hips with thick sides and a thicker hem."""
    for hip in _HIPS:
        brush.disc(joints[hip], 3, 6)
    brush.line(joints, [2, 9], width=6)
    brush.line(joints, [5, 12], width=6)
    brush.line(joints, _HIPS, width=12)
    brush.polygon(joints, (2, 5, 12, 9))


def _hr_viton_unit(joints: Joints, height: int) -> float:
    """A whole number of pixels at the published height of 1024, in pixels of this one."""
    at_1024 = shoulder_distance(joints) * 1024 / height
    return (int(at_1024 / 16) + 1) * height / 1024


def _completed(keypoints: Joints) -> Joints:
    """The joints with the hips as far apart as the shoulders, and neck and hips in any case."""
    width = shoulder_distance(keypoints)
    joints = keypoints.copy()
    shoulders, hips = joints[SHOULDERS, :2], joints[_HIPS, :2]
    middle, half = hips.mean(axis=0), (hips[1] - hips[0]) / 2
    distance = 2 * float(np.linalg.norm(half))
    if (joints[_HIPS, 2] > 0).all() and distance > 0:
        half *= width / distance
    else:
        half = (shoulders[1] - shoulders[0]) / 2
        middle = shoulders.mean(axis=0) + np.array((0, _TORSO_LENGTH * width), np.float32)
    joints[_HIPS, :2] = (middle - half, middle + half)
    if joints[NECK, 2] == 0:
        joints[NECK, :2] = shoulders.mean(axis=0)
    return joints


def _hands(person: PersonMaps, joints: Joints, unit: float) -> Mask:
    """The arm labels beyond a strip along the arm: where HR-VITON sees hands."""
    hands = np.zeros(person.parse.shape, np.bool_)
    for arm, label in ARMS:
        strip = Brush(person.parse.shape, unit)
        strip.disc(joints[arm[0]], 5, 6)
        strip.limb(joints, arm, end=4)
        hands |= person.shows(label) & ~strip.mask()
    return hands
