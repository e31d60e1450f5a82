"""A figure: a posed body in a picture, as joints and the ribbons through them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic.arrays import Floats
from leffa.synthetic.body import (
    ANKLE,
    ARM_WIDTH,
    CALF,
    CHIN,
    CROWN,
    FOOT,
    FOREARM,
    HAND,
    HEAD_WIDTH,
    HIP_CAP,
    HIPS,
    LEG_WIDTH,
    NECK_WIDTH,
    SHOULDER_CAP,
    SHOULDER_DROP,
    SIGN,
    THIGH,
    TORSO,
    UPPER_ARM,
    WAIST,
    WRIST,
    BodyShape,
    LimbPose,
    Pose,
    Side,
)
from leffa.synthetic.ribbon import Profile, Ribbon, bend

Point = NDArray[np.float64]  # (2,) x, y
HEAD_ROUNDNESS = 0.8


@dataclass(frozen=True)
class Placement:
    """Where the pit of the neck is, in pixels, and how many pixels a head is high."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Figure:
    """A posed body in a picture.

    `joints` are pixels by BODY_25 name (and a few more). Ribbons are torso, neck, head, hair,
    skirt, and arm_, leg_ and strand_ (long hair in front of a shoulder) followed by right or left.
    """

    shape: BodyShape
    pose: Pose
    placement: Placement
    roundness: float
    joints: dict[str, Point]
    _ribbons: dict[str, Ribbon] = field(default_factory=dict, init=False, repr=False)

    def ribbon(self, name: str) -> Ribbon:
        """One ribbon of the body, made when first asked for."""
        if name not in self._ribbons:
            self._ribbons[name] = self._bend(name)
        return self._ribbons[name]

    def widths(self, name: str, profile: Profile) -> Floats:
        """A table of heads as (K,) pixels at a ribbon's knots; a turned trunk is narrower."""
        scale = self.placement.scale
        if name in ("torso", "skirt"):
            scale *= float(np.hypot(np.cos(self.pose.yaw), 0.72 * np.sin(self.pose.yaw)))
        return self.ribbon(name).widths(profile, scale)

    def body_profile(self, name: str) -> Profile:
        """The half widths of the bare body along one ribbon, in heads."""
        match name.partition("_")[0]:
            case "torso":
                return self.shape.torso_profile()
            case "neck":
                return NECK_WIDTH
            case "head":
                return HEAD_WIDTH
            case "skirt":
                return self._skirt_profile()
            case kind:
                limb = ARM_WIDTH if kind == "arm" else LEG_WIDTH
                return tuple((s, w * self.shape.limbs) for s, w in limb)

    def _skirt_profile(self) -> Profile:
        """Around waist, hips and both legs, however far apart they stand."""
        waist, hips = self.shape.waist, self.shape.hips
        knees, ankles = (
            abs(self.joints[f"left_{joint}"][0] - self.joints[f"right_{joint}"][0])
            / (2 * self.placement.scale)
            for joint in ("knee", "ankle")
        )
        below = max(0.76 * hips, knees + 0.24)
        return (
            (-0.3, 0.62 * waist), (0.0, 0.585 * waist), (0.15, 0.60 * waist), (0.5, 0.70 * hips),
            (0.85, 0.745 * hips), (1.2, 0.2 * below + 0.608 * hips), (2.7, below), (4.45,
            max(0.9 * below, ankles + 0.2)),
        )  # fmt: skip

    def _bend(self, name: str) -> Ribbon:
        """Lay a ribbon through its joints."""
        kind, _, side = name.partition("_")
        if side == "right":
            return self._bend_limb(kind, "right")
        if side == "left":
            return self._bend_limb(kind, "left")
        at, roundness, yaw = self.joints, self.roundness, self.pose.yaw
        up, down = self._up(), self._down()
        match name:
            case "torso":
                ends = at["neck"] - 0.06 * down, at["crotch"] + 0.15 * down
                points = [ends[0], at["waist"], at["mid_hip"], ends[1]]
                return bend(points, [-0.06, WAIST, HIPS, TORSO + 0.15], 60, 0.5, roundness, yaw)
            case "neck":
                points = [at["neck"] - 0.25 * up, at["chin"] + 0.3 * up]
                return bend(points, [-0.25, 0.54], 12, 0.1, roundness, yaw)
            case "head":
                points = [at["chin"], at["crown"], at["crown"] + 0.12 * up]
                roundness, turn = min(roundness, HEAD_ROUNDNESS), yaw + self.pose.head_turn
                return bend(points, [0, CROWN, CROWN + 0.12], 56, 0.1, roundness, turn)
            case "hair":
                top, bottom = at["crown"] + 0.28 * up, at["chin"] + 1.6 * down
                points = [top, at["crown"], at["chin"], bottom]
                return bend(points, [-0.28, 0, CROWN, CROWN + 1.6], 40, 0.2, roundness, yaw)
            case "skirt":
                points = [at["waist"] - 0.2 * down, at["mid_hip"]]
                points += [self._between("knee"), self._between("ankle")]
                return bend(points, [-0.2, 0.85, 2.7, 4.45], 30, 0.3, roundness, yaw)
        raise KeyError(f"a figure has no ribbon {name!r}")

    def _bend_limb(self, kind: str, side: Side) -> Ribbon:
        at, roundness, yaw = self.joints, self.roundness, self.pose.yaw
        match kind:
            case "arm":
                points = [
                    at[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "fingers")
                ]
                yaw += self.pose.arms[side].roll
                stations = [0, UPPER_ARM, WRIST, WRIST + HAND]
                return _limb(points, stations, SHOULDER_CAP, 0.16, roundness, yaw)
            case "leg":
                points = [at[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "toes")]
                yaw += self.pose.legs[side].roll
                return _limb(points, [0, THIGH, ANKLE, ANKLE + FOOT], HIP_CAP, 0.12, roundness, yaw)
            case "strand":
                up = self._up()
                aside = SIGN[side] * np.array([-up[1], up[0]])
                jaw = at["neck"] + 0.40 * aside
                points = [at["chin"] + 0.55 * up + 0.36 * aside, jaw, jaw + 1.15 * self._down()]
                return bend(points, [0, 0.75, 1.9], 30, 0.2, roundness, yaw)
        raise KeyError(f"a figure has no ribbon '{kind}_{side}'")

    def _up(self) -> Point:
        """One head along the head."""
        return self.joints["crown"] - self.joints["chin"]

    def _down(self) -> Point:
        """One head straight down."""
        return np.array([0.0, self.placement.scale])

    def _between(self, joint: str) -> Point:
        return (self.joints[f"right_{joint}"] + self.joints[f"left_{joint}"]) / 2


def _limb(
    points: list[Point],
    stations: Sequence[float],
    cap: float,
    rounding: float,
    roundness: float,
    yaw: float,
) -> Ribbon:
    """A limb, with a round cap of `cap` heads before its first joint."""
    root = points[0] - (points[1] - points[0]) * cap / (stations[1] - stations[0])
    return bend([root, *points], [-cap, *stations], 44, rounding, roundness, yaw)


def build_figure(
    shape: BodyShape, pose: Pose, placement: Placement, roundness: float = 0.85
) -> Figure:
    """Forward kinematics: from shape and pose to joints in pixels.

    `roundness` in [0, 1): how cylindrical surfaces are; 0 lays them flat, as a garment lies on a
    table.
    """
    joints = _trunk(shape, pose)
    for side in SIGN:
        joints |= _arm(joints[f"{side}_shoulder"], pose.arms[side], side)
        joints |= _leg(joints[f"{side}_hip"], pose.legs[side], side, shape.leg_length)
    origin = np.array([placement.x, placement.y])
    placed = {name: origin + placement.scale * point for name, point in joints.items()}
    return Figure(shape, pose, placement, roundness, placed)


def _toward(degrees: float, sign: int = 1) -> Point:
    """The unit vector `degrees` away from straight down, outward on the side of `sign`."""
    angle = np.deg2rad(degrees)
    return np.array([sign * np.sin(angle), np.cos(angle)])


def _trunk(shape: BodyShape, pose: Pose) -> dict[str, Point]:
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
        joints[f"{side}_shoulder"] = down * SHOULDER_DROP + sign * shoulders
        joints[f"{side}_hip"] = joints["mid_hip"] + sign * hips
    return joints


def _arm(shoulder: Point, arm: LimbPose, side: Side) -> dict[str, Point]:
    sign = SIGN[side]
    elbow = shoulder + _toward(arm.upper, sign) * UPPER_ARM * arm.lengths[0]
    wrist = elbow + _toward(arm.lower, sign) * FOREARM * arm.lengths[1]
    # The hand follows the forearm, a little back toward hanging down.
    fingers = wrist + _toward(arm.lower * 0.92, sign) * HAND
    return {f"{side}_elbow": elbow, f"{side}_wrist": wrist, f"{side}_fingers": fingers}


def _leg(hip: Point, leg: LimbPose, side: Side, length: float) -> dict[str, Point]:
    sign = SIGN[side]
    knee = hip + _toward(leg.upper, sign) * THIGH * length * leg.lengths[0]
    ankle = knee + _toward(leg.lower, sign) * CALF * length * leg.lengths[1]
    toes = ankle + _toward(24, sign) * FOOT
    return {f"{side}_knee": knee, f"{side}_ankle": ankle, f"{side}_toes": toes}
