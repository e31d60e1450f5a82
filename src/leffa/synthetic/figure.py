"""A figure: a posed body in an image, as joints and the ribbons through them."""

from dataclasses import dataclass, field

import numpy as np

from leffa.synthetic import body
from leffa.synthetic.body import SIGN, BodyShape, Point, Pose
from leffa.synthetic.raster import Floats
from leffa.synthetic.ribbon import Profile, Ribbon, bend

HEAD_ROUNDNESS = 0.8


@dataclass(frozen=True)
class Placement:
    """Where the pit of the neck is, in pixels, and how many pixels a head is high."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Figure:
    """A posed body in an image.

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

    def widths(self, name: str, profile: Profile | None = None) -> Floats:
        """A profile, or that of the bare body, as (K,) pixels at the ribbon's knots.

        A turned trunk is narrower.
        """
        scale = self.placement.scale
        if name in ("torso", "skirt"):
            scale *= float(np.hypot(np.cos(self.pose.yaw), 0.72 * np.sin(self.pose.yaw)))
        return self.ribbon(name).widths(profile or self.body_profile(name), scale)

    def body_profile(self, name: str) -> Profile:
        """The half widths of the bare body along one ribbon, in heads."""
        match name.partition("_")[0]:
            case "torso":
                return self.shape.torso_profile()
            case "neck":
                return body.NECK_WIDTH
            case "head":
                return body.HEAD_WIDTH
            case "skirt":
                return self._skirt_profile()
            case kind:
                limb = body.ARM_WIDTH if kind == "arm" else body.LEG_WIDTH
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
            (0.85, 0.745 * hips), (1.2, 0.2 * below + 0.608 * hips), (2.7, below),
            (4.45, max(0.9 * below, ankles + 0.2)),
        )  # fmt: skip

    def _bend(self, name: str) -> Ribbon:
        """Lay a ribbon through its joints."""
        kind, _, side = name.partition("_")
        if kind in ("arm", "leg"):
            return self._bend_limb(kind, side)
        at, roundness, yaw = self.joints, self.roundness, self.pose.yaw
        up = at["crown"] - at["chin"]  # one head along the head
        down = np.array([0.0, self.placement.scale])  # one head straight down
        match kind:
            case "torso":
                start, end = at["neck"] - 0.06 * down, at["crotch"] + 0.15 * down
                points = [start, at["waist"], at["mid_hip"], end]
                stations = [-0.06, body.WAIST, body.HIPS, body.TORSO + 0.15]
                knots, rounding = 60, 0.5
            case "neck":
                points = [at["neck"] - 0.25 * up, at["chin"] + 0.3 * up]
                stations, knots, rounding = [-0.25, 0.54], 12, 0.1
            case "head":
                points = [at["chin"], at["crown"], at["crown"] + 0.12 * up]
                stations, knots, rounding = [0, body.CROWN, body.CROWN + 0.12], 56, 0.1
                roundness, yaw = min(roundness, HEAD_ROUNDNESS), yaw + self.pose.head_turn
            case "hair":
                top, bottom = at["crown"] + 0.28 * up, at["chin"] + 1.6 * down
                points = [top, at["crown"], at["chin"], bottom]
                stations, knots, rounding = [-0.28, 0, body.CROWN, body.CROWN + 1.6], 40, 0.2
            case "skirt":
                knees = (at["right_knee"] + at["left_knee"]) / 2
                ankles = (at["right_ankle"] + at["left_ankle"]) / 2
                points = [at["waist"] - 0.2 * down, at["mid_hip"], knees, ankles]
                stations, knots, rounding = [-0.2, 0.85, 2.7, 4.45], 30, 0.3
            case "strand":
                aside = SIGN[side] * np.array([-up[1], up[0]])
                jaw = at["neck"] + 0.40 * aside
                points = [at["chin"] + 0.55 * up + 0.36 * aside, jaw, jaw + 1.15 * down]
                stations, knots, rounding = [0, 0.75, 1.9], 30, 0.2
            case _:
                raise KeyError(f"a figure has no ribbon {name!r}")
        return bend(points, stations, knots, rounding, roundness, yaw)

    def _bend_limb(self, kind: str, side: str) -> Ribbon:
        """The same for a limb, with a round cap before its first joint."""
        if kind == "arm":
            names, roll = ("shoulder", "elbow", "wrist", "fingers"), self.pose.arms[side].roll
            stations = [0, body.UPPER_ARM, body.WRIST, body.WRIST + body.HAND]
            cap, rounding = body.SHOULDER_CAP, 0.16
        else:
            names, roll = ("hip", "knee", "ankle", "toes"), self.pose.legs[side].roll
            stations = [0, body.THIGH, body.ANKLE, body.ANKLE + body.FOOT]
            cap, rounding = body.HIP_CAP, 0.12
        points = [self.joints[f"{side}_{name}"] for name in names]
        root = points[0] - (points[1] - points[0]) * cap / stations[1]
        yaw = self.pose.yaw + roll
        return bend([root, *points], [-cap, *stations], 44, rounding, self.roundness, yaw)


def build_figure(
    shape: BodyShape, pose: Pose, placement: Placement, roundness: float = 0.85
) -> Figure:
    """The figure of a shape and a pose.

    `roundness` in [0, 1): how cylindrical surfaces are; 0 lays them flat, as a garment lies on a
    table.
    """
    origin = np.array([placement.x, placement.y])
    joints = body.find_joints(shape, pose)
    placed = {name: origin + placement.scale * point for name, point in joints.items()}
    return Figure(shape, pose, placement, roundness, placed)
