"""The body's shape and pose: what is random about a person before a single pixel.

Lengths are in heads (one head height). Left and right are the person's own, so the right arm is on
the image's left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leffa.synthetic.ribbon import Profile

Point = NDArray[np.float64]  # (2,) x, y
SIGN = {"right": -1, "left": 1}

UPPER_ARM, FOREARM, HAND, SHOULDER_CAP = 1.30, 1.08, 0.62, 0.17
THIGH, CALF, FOOT, HIP_CAP = 1.85, 1.75, 0.42, 0.42
WRIST, ANKLE = UPPER_ARM + FOREARM, THIGH + CALF
# Along the spine from the pit of the neck: waist, hip joints, crotch.
WAIST, HIPS, TORSO = 1.60, 2.45, 2.75
SHOULDER_DROP, CHIN, CROWN = 0.34, 0.24, 1.0

# The standard body; limbs end at 0.
TORSO_WIDTH: Profile = (
    (-0.06, 0.20), (0.0, 0.29), (0.06, 0.42), (0.13, 0.60), (0.22, 0.76), (0.32, 0.835),
    (0.50, 0.80), (0.70, 0.74), (1.05, 0.69), (1.55, 0.585), (1.75, 0.60), (2.10, 0.70),
    (2.45, 0.745), (2.75, 0.74), (2.9, 0.73),
)  # fmt: skip
ARM_WIDTH: Profile = (
    (-0.17, 0.0), (-0.16, 0.06), (-0.12, 0.12), (-0.05, 0.165), (0.06, 0.195), (0.30, 0.205),
    (0.60, 0.19), (1.10, 0.16), (1.30, 0.155), (1.60, 0.165), (2.0, 0.135), (2.38, 0.105),
    (2.52, 0.12), (2.68, 0.155), (2.82, 0.145), (2.93, 0.105), (2.98, 0.06), (3.0, 0.0),
)  # fmt: skip
LEG_WIDTH: Profile = (
    (-0.42, 0.0), (-0.38, 0.14), (-0.28, 0.25), (-0.1, 0.345), (0.2, 0.375), (0.8, 0.33),
    (1.55, 0.235), (1.85, 0.215), (2.3, 0.235), (2.9, 0.175), (3.5, 0.115), (3.62, 0.12),
    (3.78, 0.15), (3.92, 0.155), (4.0, 0.10), (4.02, 0.0),
)  # fmt: skip
NECK_WIDTH: Profile = (
    (-0.25, 0.0), (-0.22, 0.15), (-0.1, 0.26), (0.05, 0.21), (0.2, 0.185), (0.6, 0.19),
)  # fmt: skip
HEAD_WIDTH: Profile = (
    (0.0, 0.0), (0.015, 0.09), (0.06, 0.165), (0.15, 0.245), (0.3, 0.32), (0.5, 0.365),
    (0.68, 0.375), (0.82, 0.335), (0.92, 0.245), (0.98, 0.13), (1.0, 0.0), (1.2, 0.0),
)  # fmt: skip


@dataclass(frozen=True)
class BodyShape:
    """Multiples of the standard body's widths, and of the lengths of legs and torso."""

    shoulders: float = 1.0
    chest: float = 1.0
    waist: float = 1.0
    hips: float = 1.0
    limbs: float = 1.0
    leg_length: float = 1.0
    torso_length: float = 1.0

    def torso_profile(self) -> Profile:
        """The half widths of this torso."""
        places = (0.0, 0.30, 0.8, WAIST, HIPS)
        factors = (1.0, self.shoulders, self.chest, self.waist, self.hips)
        return tuple((s, w * float(np.interp(s, places, factors))) for s, w in TORSO_WIDTH)


@dataclass(frozen=True)
class LimbPose:
    """Degrees from straight down, positive outward; `lengths` below 1: the part points at us."""

    upper: float
    lower: float
    lengths: tuple[float, float] = (1.0, 1.0)
    front: bool = True  # in front of the torso
    roll: float = 0.0  # radians around its own axis


@dataclass(frozen=True)
class Pose:
    """Angles in degrees, but turns in radians (positive: to the image's right)."""

    arms: dict[str, LimbPose]
    legs: dict[str, LimbPose]
    lean: float = 0.0
    waist_shift: float = 0.0  # heads, sideways
    shoulder_tilt: float = 0.0
    head_tilt: float = 0.0
    head_turn: float = 0.0  # beyond the body's
    yaw: float = 0.0


def find_joints(shape: BodyShape, pose: Pose) -> dict[str, Point]:
    """Forward kinematics: the joints, in heads from the pit of the neck."""
    down, across = _toward(pose.lean), _toward(pose.lean + 90)
    turned = float(np.cos(pose.yaw))
    up = -_toward(0.4 * pose.lean - pose.head_tilt)
    chin = CHIN * up + np.array([0.10 * np.sin(pose.yaw + pose.head_turn), 0.0])
    joints = {
        "neck": np.zeros(2),
        "waist": down * WAIST * shape.torso_length + across * pose.waist_shift,
        "mid_hip": down * HIPS * shape.torso_length,
        "crotch": down * TORSO * shape.torso_length,
        "chin": chin,
        "crown": chin + CROWN * up,
    }
    shoulders = _toward(pose.lean + 90 + pose.shoulder_tilt) * 0.74 * shape.shoulders * turned
    hips = across * 0.375 * shape.hips * turned
    for side, sign in SIGN.items():
        arm, leg = pose.arms[side], pose.legs[side]
        shoulder = down * SHOULDER_DROP + sign * shoulders
        elbow = shoulder + _toward(arm.upper, sign) * UPPER_ARM * arm.lengths[0]
        wrist = elbow + _toward(arm.lower, sign) * FOREARM * arm.lengths[1]
        # The hand follows the forearm, a little back toward hanging down.
        fingers = wrist + _toward(arm.lower * 0.92, sign) * HAND
        hip = joints["mid_hip"] + sign * hips
        knee = hip + _toward(leg.upper, sign) * THIGH * shape.leg_length * leg.lengths[0]
        ankle = knee + _toward(leg.lower, sign) * CALF * shape.leg_length * leg.lengths[1]
        toes = ankle + _toward(24, sign) * FOOT
        limbs = {"shoulder": shoulder, "elbow": elbow, "wrist": wrist, "fingers": fingers}
        limbs |= {"hip": hip, "knee": knee, "ankle": ankle, "toes": toes}
        joints |= {f"{side}_{name}": point for name, point in limbs.items()}
    return joints


def _toward(degrees: float, sign: int = 1) -> Point:
    """The unit vector `degrees` away from straight down, outward on the side of `sign`."""
    angle = np.deg2rad(degrees)
    return np.array([sign * np.sin(angle), np.cos(angle)])


def draw_shape(rng: Generator) -> BodyShape:
    bulk = rng.uniform(0.92, 1.12)
    return BodyShape(
        shoulders=rng.uniform(0.93, 1.08),
        chest=bulk * rng.uniform(0.96, 1.05),
        waist=bulk * rng.uniform(0.88, 1.06),
        hips=bulk * rng.uniform(0.95, 1.06),
        limbs=bulk * rng.uniform(0.92, 1.03),
        leg_length=rng.uniform(0.96, 1.06),
        torso_length=rng.uniform(0.96, 1.04),
    )


# Upper and lower part, each as (degrees, spread); shares of their lengths; weight; and of arms, how
# often they are in front of the torso.
_Habit = tuple[tuple[float, float], tuple[float, float], tuple[float, float], float, float | None]
_ARMS: dict[str, _Habit] = {
    "hanging": ((9, 4), (5, 6), (1.0, 1.0), 5, 0.8),
    "away": ((30, 8), (22, 10), (1.0, 1.0), 2, 0.8),
    "on_hip": ((44, 6), (-44, 7), (0.95, 0.92), 3, 1.0),
    "across": ((17, 5), (-103, 8), (0.92, 0.95), 2, 1.0),
    "on_belly": ((22, 4), (-68, 8), (0.95, 0.9), 2, 1.0),
    "to_chin": ((14, 4), (-158, 5), (0.8, 0.95), 1, 1.0),
    "raised": ((118, 14), (168, 12), (0.95, 1.0), 1, 1.0),
    "behind_head": ((128, 8), (238, 8), (0.9, 0.9), 0.7, 0.0),
    "behind_back": ((20, 4), (-12, 6), (1.0, 0.9), 1, 0.0),
    "pocket": ((24, 4), (-16, 5), (0.97, 0.95), 2, 1.0),
    "waving": ((58, 10), (140, 14), (1.0, 1.0), 1, 1.0),
}
_LEGS: dict[str, _Habit] = {
    "straight": ((3.5, 2), (2.5, 2), (1.0, 1.0), 5, None),
    "wide": ((11, 3), (9, 3), (1.0, 1.0), 2, None),
    "bent": ((10, 3), (-7, 4), (0.95, 0.93), 2, None),
    "crossing": ((-4, 2), (-5, 2), (1.0, 0.97), 1, None),
    "kicked": ((12, 3), (2, 4), (0.9, 0.8), 1, None),
}


def draw_pose(rng: Generator) -> Pose:
    """A random pose, seen from the front or up to about 30 degrees from the side."""
    arms = {side: _draw_limb(rng, _ARMS, roll=0.15) for side in SIGN}
    if rng.random() < 0.3:  # both arms alike, as people often stand
        arms["left"] = arms["right"]
    legs = {side: _draw_limb(rng, _LEGS, roll=0.1) for side in SIGN}
    if legs["right"].upper < 0 and legs["left"].upper < 0:  # one leg crosses, not both
        legs["left"] = LimbPose(3.0, 3.0)
    return Pose(
        arms=arms,
        legs=legs,
        lean=rng.normal(0, 3),
        waist_shift=rng.normal(0, 0.045),
        shoulder_tilt=rng.normal(0, 3),
        head_tilt=rng.normal(0, 6),
        head_turn=rng.normal(0, 0.15),
        yaw=float(np.clip(rng.normal(0, 0.22), -0.5, 0.5)),
    )


def _draw_limb(rng: Generator, habits: Mapping[str, _Habit], roll: float) -> LimbPose:
    weights = np.array([habit[3] for habit in habits.values()])
    chosen = rng.choice(len(habits), p=weights / weights.sum())
    upper, lower, lengths, _, front = list(habits.values())[chosen]
    return LimbPose(
        upper=rng.normal(*upper),
        lower=rng.normal(*lower),
        lengths=lengths,
        front=front is None or bool(rng.random() < front),
        roll=rng.normal(0, roll),
    )
