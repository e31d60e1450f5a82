"""Random poses: how people stand in fashion photographs."""

import numpy as np
from numpy.random import Generator

from leffa.synthetic.body import LimbPose, Pose, Side

# Upper arm and forearm in degrees, each with its spread; shares of their lengths; how often in
# front of the torso; weight.
_ARMS: dict[str, tuple[tuple[float, float, float, float], tuple[float, float], float, float]] = {
    "hanging": ((9, 4, 5, 6), (1.0, 1.0), 0.8, 5),
    "away": ((30, 8, 22, 10), (1.0, 1.0), 0.8, 2),
    "on_hip": ((44, 6, -44, 7), (0.95, 0.92), 1.0, 3),
    "across": ((17, 5, -103, 8), (0.92, 0.95), 1.0, 2),
    "on_belly": ((22, 4, -68, 8), (0.95, 0.9), 1.0, 2),
    "to_chin": ((14, 4, -158, 5), (0.8, 0.95), 1.0, 1),
    "raised": ((118, 14, 168, 12), (0.95, 1.0), 1.0, 1),
    "behind_head": ((128, 8, 238, 8), (0.9, 0.9), 0.0, 0.7),
    "behind_back": ((20, 4, -12, 6), (1.0, 0.9), 0.0, 1),
    "pocket": ((24, 4, -16, 5), (0.97, 0.95), 1.0, 2),
    "waving": ((58, 10, 140, 14), (1.0, 1.0), 1.0, 1),
}
# (thigh, calf) in degrees with their spread, shares of their lengths, weight.
_LEGS: dict[str, tuple[tuple[float, float, float, float], tuple[float, float], float]] = {
    "straight": ((3.5, 2, 2.5, 2), (1.0, 1.0), 5),
    "wide": ((11, 3, 9, 3), (1.0, 1.0), 2),
    "bent": ((10, 3, -7, 4), (0.95, 0.93), 2),
    "crossing": ((-4, 2, -5, 2), (1.0, 0.97), 1),
    "kicked": ((12, 3, 2, 4), (0.9, 0.8), 1),
}


def draw_pose(rng: Generator) -> Pose:
    """A random pose, seen from the front or up to about 30 degrees from the side."""
    arms: dict[Side, LimbPose] = {"right": _draw_arm(rng), "left": _draw_arm(rng)}
    if rng.random() < 0.3:  # both arms alike, as people often stand
        arms["left"] = arms["right"]
    legs: dict[Side, LimbPose] = {"right": _draw_leg(rng), "left": _draw_leg(rng)}
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


def _pick(rng: Generator, weights: list[float]) -> int:
    share = np.asarray(weights)
    return int(rng.choice(len(share), p=share / share.sum()))


def _draw_arm(rng: Generator) -> LimbPose:
    rows = list(_ARMS.values())
    (upper, upper_spread, lower, lower_spread), lengths, front, _ = rows[
        _pick(rng, [row[-1] for row in rows])
    ]
    return LimbPose(
        upper=rng.normal(upper, upper_spread),
        lower=rng.normal(lower, lower_spread),
        lengths=lengths,
        front=bool(rng.random() < front),
        roll=rng.normal(0, 0.15),
    )


def _draw_leg(rng: Generator) -> LimbPose:
    rows = list(_LEGS.values())
    (upper, upper_spread, lower, lower_spread), lengths, _ = rows[
        _pick(rng, [row[-1] for row in rows])
    ]
    return LimbPose(
        upper=rng.normal(upper, upper_spread),
        lower=rng.normal(lower, lower_spread),
        lengths=lengths,
        roll=rng.normal(0, 0.1),
    )
