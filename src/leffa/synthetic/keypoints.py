"""Keypoints of a synthetic person in BODY_25 order."""

import numpy as np

from leffa.synthetic.arrays import Floats
from leffa.synthetic.body import SIGN
from leffa.synthetic.figure import Figure
from leffa.synthetic.labels import BODY_25
from leffa.synthetic.painter import Painter

SEEN, HIDDEN = (
    0.9,
    0.5,
)  # confidence of a joint that is in sight, and of one behind another part of the body

# Points given by their place (s, u) on a surface; the others are the figure's own joints.
_ON_HEAD = {
    "nose": (0.34, 0.0),
    "right_eye": (0.485, -0.36),
    "left_eye": (0.485, 0.36),
    "right_ear": (0.46, -0.93),
    "left_ear": (0.46, 0.93),
}
_ON_FOOT = {"heel": (3.66, 0.0), "big_toe": (3.95, -0.4), "small_toe": (3.92, 0.4)}


def find_keypoints(figure: Figure, size: tuple[int, int], painter: Painter) -> Floats:
    """(25, 3) x, y in pixels, confidence; 0, 0, 0 where out of the picture or turned away."""
    surface = {name: ("head", s, u) for name, (s, u) in _ON_HEAD.items()}
    for side, sign in SIGN.items():
        surface |= {
            f"{side}_{name}": (f"leg_{side}", s, sign * u) for name, (s, u) in _ON_FOOT.items()
        }
    points = np.zeros((len(BODY_25), 3), np.float32)
    for row, name in enumerate(BODY_25):
        ribbon, facing = _part(name), True
        if name in surface:
            ribbon, s, u = surface[name]
            width = figure.widths(ribbon, figure.body_profile(ribbon))
            at, faces = figure.ribbon(ribbon).place(np.array([s]), np.array([u]), width)
            (x, y), facing = at[0], bool(faces[0])
        else:
            x, y = figure.joints[name]
        column, line = round(float(x)), round(float(y))
        if facing and 0 <= column < size[1] and 0 <= line < size[0]:
            seen = painter.body_owner[line, column] == painter.index_of(f"skin/{ribbon}")
            points[row] = x, y, SEEN if seen else HIDDEN
    return points


def _part(joint: str) -> str:
    """The ribbon on which a joint lies."""
    side, _, name = joint.partition("_")
    if name in ("shoulder", "elbow", "wrist"):
        return f"arm_{side}"
    if name in ("knee", "ankle"):
        return f"leg_{side}"
    return "neck" if joint == "neck" else "torso"
