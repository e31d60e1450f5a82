"""The body's shape and pose: what is drawn at random about a person before a single pixel.

Lengths are in heads (one head height). Left and right are the person's own, so the right arm is on
the picture's left.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from leffa.synthetic.ribbon import Profile

Side = Literal["right", "left"]
SIGN: dict[Side, int] = {"right": -1, "left": 1}

UPPER_ARM, FOREARM, HAND, SHOULDER_CAP = 1.30, 1.08, 0.62, 0.17
THIGH, CALF, FOOT, HIP_CAP = 1.85, 1.75, 0.42, 0.42
WRIST, ANKLE = UPPER_ARM + FOREARM, THIGH + CALF
WAIST, HIPS, TORSO = (
    1.60,
    2.45,
    2.75,
)  # along the spine from the pit of the neck: waist, hip joints, crotch
SHOULDER_DROP, CHIN, CROWN = 0.34, 0.24, 1.0

# Half widths of the standard body by place along its ribbons, both in heads; limbs end at 0.
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
    (-0.25, 0.0),
    (-0.22, 0.15),
    (-0.1, 0.26),
    (0.05, 0.21),
    (0.2, 0.185),
    (0.6, 0.19),
)
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
    """Angles in degrees, but turns in radians (positive: to the picture's right)."""

    arms: dict[Side, LimbPose]
    legs: dict[Side, LimbPose]
    lean: float = 0.0
    waist_shift: float = 0.0  # heads, sideways
    shoulder_tilt: float = 0.0
    head_tilt: float = 0.0
    head_turn: float = 0.0  # beyond the body's
    yaw: float = 0.0


def draw_shape(rng: Generator) -> BodyShape:
    """A random body."""
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
