"""A rough parsing from joints and silhouette, where no parser's weights are given.

Each pixel of the silhouette belongs to the nearest limb, as thick as limbs are. So head, arms,
trunk, legs and feet are told apart, but no hem, no sleeve and no neckline: the trunk down to the
waist is upper clothes, what is below trousers. It is enough for a first agnostic mask, and not for
anything else.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.labels import LABELS, LabelSet
from leffa.preprocess.pose.mediapipe import MediaPipe

Joints = NDArray[np.float32]

_SURE = 0.5
# Label, the two points it lies between, and half its thickness in shoulder widths. Numbers are
# BODY_25 joints.
_LIMBS = (
    ("upper", 2, "right_waist", 0.25), ("upper", 5, "left_waist", 0.25), ("upper", 2, 5, 0.12),
    ("upper", 1, "waist", 0.3),
    ("pants", "right_waist", 9, 0.25), ("pants", "left_waist", 12, 0.25),
    ("pants", "waist", 8, 0.3),
    ("pants", 9, 10, 0.28), ("pants", 10, 11, 0.18),
    ("pants", 12, 13, 0.28), ("pants", 13, 14, 0.18),
    ("right_arm", 2, 3, 0.1), ("right_arm", 3, 4, 0.08), ("right_arm", 4, "right_hand", 0.1),
    ("left_arm", 5, 6, 0.1), ("left_arm", 6, 7, 0.08), ("left_arm", 7, "left_hand", 0.1),
    ("right_shoe", 24, 22, 0.1), ("left_shoe", 21, 19, 0.1),
    ("hair", "crown", 0, 0.32), ("neck", "chin", 1, 0.15),
)  # fmt: skip
_WAIST = 0.9  # of the way from shoulder to hip: a worn hem left over is worse than a strip too much
_HAND = 0.4  # how far a hand goes on from the wrist, in forearms
# Of the way from the nose to between the shoulders: up to the forehead and the crown, down to the
# chin, and half the face's width.
_FOREHEAD, _CROWN, _CHIN, _FACE = -0.2, -0.5, 0.45, 0.3
_TRUNK, _THIGH = 1.4, 1.2  # in shoulder widths, where hips or knees are out of the picture


class CoarseParser:
    """Labels a photo roughly, in the CIHP set, by the joints and the silhouette of MediaPipe."""

    label_set: LabelSet = "cihp"

    def __init__(self, mediapipe: MediaPipe) -> None:
        self.mediapipe = mediapipe

    def parse(self, image: Image.Image) -> NDArray[np.uint8]:
        """See the module; raises ValueError where nobody, or no shoulder, is seen."""
        joints, silhouette = self.mediapipe.find_pose_and_silhouette(image)
        return coarse_labels(joints, silhouette > _SURE)


def coarse_labels(joints: Joints, silhouette: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(H, W) CIHP labels, 0 outside the silhouette (H, W); raises ValueError without a shoulder.

    Args:
        joints: (25, 3) BODY_25 in pixels.
    """
    if (joints[[2, 5], 2] == 0).any():
        raise ValueError(
            "the pose has no shoulders to tell the limbs by; use a photo that shows them"
        )
    points = _points(joints)
    unit = float(np.linalg.norm(joints[2, :2] - joints[5, :2]))
    ids = LABELS["cihp"]
    labels = np.zeros(silhouette.shape, np.uint8)
    nearest = np.full(silhouette.shape, np.inf, np.float32)
    for label, start, end, thickness in _LIMBS:
        if start in points and end in points:
            distance = _distance(silhouette.shape, points[start], points[end]) - thickness * unit
            closer = distance < nearest
            labels[closer] = ids[label]
            nearest[closer] = distance[closer]
    if "forehead" in points:
        length = float(np.linalg.norm(points[0] - points[1]))
        face = _distance(silhouette.shape, points["forehead"], points["jaw"]) < _FACE * length
        labels[face] = ids["face"]
    labels[~silhouette] = 0
    return labels


def _points(joints: Joints) -> dict[int | str, Joints]:
    """The joints that were found, and what follows from them."""
    points: dict[int | str, Joints] = {
        number: joint[:2] for number, joint in enumerate(joints) if joint[2] > 0
    }
    across: Joints = points[5] - points[2]
    down = np.array([-across[1], across[0]], np.float32)
    if across[0] < 0:  # seen from behind
        down = -down
    for hip, shoulder in ((9, 2), (12, 5)):
        points.setdefault(hip, points[shoulder] + np.float32(_TRUNK) * down)
    for knee, hip in ((10, 9), (13, 12)):
        points.setdefault(knee, points[hip] + np.float32(_THIGH) * down)
    for middle, one, other in ((1, 2, 5), (8, 9, 12)):
        points.setdefault(middle, np.mean([points[one], points[other]], axis=0, dtype=np.float32))
    for name, shoulder, hip in (("right_waist", 2, 9), ("left_waist", 5, 12), ("waist", 1, 8)):
        points[name] = points[shoulder] + _WAIST * (points[hip] - points[shoulder])
    for name, elbow, wrist in (("right_hand", 3, 4), ("left_hand", 6, 7)):
        if elbow in points and wrist in points:
            points[name] = points[wrist] + _HAND * (points[wrist] - points[elbow])
    if 0 in points:
        neck = points[1] - points[0]
        shares = {"forehead": _FOREHEAD, "crown": _CROWN, "chin": _CHIN, "jaw": _CHIN - _FACE}
        points |= {name: points[0] + share * neck for name, share in shares.items()}
    return points


def _distance(shape: tuple[int, ...], start: Joints, end: Joints) -> NDArray[np.float32]:
    """(H, W), from each pixel to the line from start to end."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    (x, y), (across, down) = start, end - start
    length = max(float(across**2 + down**2), 1e-6)
    along = (((columns - x) * across + (rows - y) * down) / length).clip(0, 1)
    distance: NDArray[np.float32] = np.hypot(
        columns - x - along * across, rows - y - along * down
    ).astype(np.float32)
    return distance
