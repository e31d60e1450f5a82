"""Body keypoints: one reader for the formats that the data sets ship, always giving BODY_25.

BODY_25 order: 0 nose, 1 neck, 2-4 right shoulder, elbow, wrist, 5-7 left arm, 8 mid-hip, 9-11 right
hip, knee, ankle, 12-14 left leg, 15 right eye, 16 left eye, 17 right ear, 18 left ear, 19-21 left
foot, 22-24 right foot. COCO-18 is the same without the mid-hip and the feet. Left and right are the
person's.
"""

import json
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

log = logging.getLogger(__name__)

BODY_25 = 25
COCO_18 = 18
# Where each joint goes when the picture is mirrored.
BODY_25_MIRROR = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9),
    *(10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
)
# The BODY_25 number of each COCO-18 joint.
_COCO_18_OF_BODY_25 = (*range(8), *range(9, 19))

# DressCode's keypoints are in this frame, whatever the picture's size.
_DRESS_CODE_FRAME = (384, 512)
FRACTIONS = (1, 1)  # the frame of joints from 0 to 1

LEAST_ON_BODY = 0.6  # of a person's joints, for the parsing to be of that person
_CELLS = (36, 48)  # the grid on which joints and parsing are compared
_EDGE = 0.02  # of the picture, that joints may lie outside
_MOST_OUTSIDE = 0.2  # of the joints
NOBODY = "no person was found; give a mask file or take this picture off the list"


def to_body_25(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """COCO-18 joints (18, 3) as BODY_25 (25, 3); mid-hip and feet, which it lacks, are zero."""
    body = np.zeros((BODY_25, joints.shape[1]), joints.dtype)
    body[list(_COCO_18_OF_BODY_25)] = joints
    return body


def to_coco_18(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """BODY_25 joints (25, 3) as COCO-18 (18, 3), without mid-hip and feet."""
    return joints[list(_COCO_18_OF_BODY_25)]


class People(NamedTuple):
    """Everybody in a keypoint file.

    Args:
        joints: (N, 25, 3) of N > 0 persons with a joint at least: x, y, confidence; (0, 0, 0) for a
            missing joint.
        frame: (width, height) that x and y are counted in; None: pixels of the picture.
    """

    joints: NDArray[np.float32]
    frame: tuple[int, int] | None

    def in_picture(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The joints with x and y as fractions of a picture of (width, height)."""
        return (self.joints / np.array((*(self.frame or size), 1), np.float32)).astype(np.float32)


def read_keypoints(
    path: Path, size: tuple[int, int], body: Callable[[], NDArray[np.bool_]] | None = None
) -> NDArray[np.float32]:
    """The keypoints of one person of a file, as BODY_25: see `foremost`.

    Args:
        path: see `read_people` for the formats.
        size: (width, height) of the picture that the keypoints were found in.
        body: gives (H, W), True where a parsing shows a person; asked only about several persons.

    Returns:
        (25, 3): x and y as fractions of the picture's width and height, confidence; a missing joint
        is (0, 0, 0).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of no known format, no person was found, or the joints lie outside
            the picture.
    """
    people = read_people(path)
    if people.frame == FRACTIONS:
        _say_fractions(path.parent)
    joints = people.in_picture(size)
    several = len(joints) > 1
    near = near_body(body()) if several and body is not None else None
    person = joints[foremost(joints, size, near)]
    if lies_outside(person):
        x, y = (person[:, :2].max(axis=0) * (people.frame or size)).round()
        width, height = people.frame or size
        raise ValueError(
            f"{path}: its joints reach x {x:.0f}, y {y:.0f}, and the picture is {width}x{height}, "
            "so they were found in one of another size; find them in this picture, or scale them"
        )
    return person


def read_people(path: Path) -> People:
    """Everybody in a keypoint file.

    Reads OpenPose 1.3 (`pose_keypoints_2d`, VITON-HD), OpenPose 1.0 (`pose_keypoints`, VITON) and
    DressCode's (`keypoints`), in pixels or in fractions of the picture from 0 to 1; COCO-18 is
    converted, without mid-hip and feet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these formats, or no person was found.
    """
    try:
        content = json.loads(path.read_bytes())  # in any Unicode encoding
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; extract the data set's archive again"
        ) from error
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path}: is not JSON ({error}); replace it with a good copy") from error
    written, frame, columns = _persons(content, path)
    joints = np.stack([_rows(values, columns, path) for values in written])  # (N, 25, 3)
    places = joints[..., :2]
    found = joints[(joints[..., 2] > 0) & places.any(axis=-1), :2]
    if found.size and np.abs(found).max() <= 1 and (found % 1).any():
        if (found < 0).any():
            raise ValueError(
                f"{path}: its joints run from -1 to 1; write pixels (OpenPose: --keypoint_scale 0)"
            )
        frame, least = FRACTIONS, 0
    else:
        least = 1  # DressCode writes missing joints as 0 or 1
    present: NDArray[np.bool_] = np.min(places, axis=-1) > least
    joints = np.where(present[..., None], joints, 0)[present.any(axis=-1)]
    if not len(joints):
        raise ValueError(f"{path}: {NOBODY}")
    return People(joints, frame)


def foremost(
    people: NDArray[np.float32], size: tuple[int, int], near: NDArray[np.bool_] | None = None
) -> int:
    """Which of several persons a picture is of: the largest of those who lie on the parsing.

    Where nobody does, or there is no parsing, the largest of all.

    Args:
        people: (N, 25, 3), x and y as fractions of the picture.
        size: (width, height) of the picture.
        near: of the parsing, by `near_body`.
    """
    ranks = []
    for joints in people:
        on_body = near is not None and share_on(joints, near) >= LEAST_ON_BODY
        ranks.append((on_body, float(np.linalg.norm(np.ptp(_places(joints), axis=0) * size))))
    return ranks.index(max(ranks))


def near_body(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(48, 36), True in the cells of a coarse grid that a body (H, W) touches, and beside them."""
    image = Image.fromarray(body).convert("L").resize(_CELLS, Image.Resampling.BOX)
    near: NDArray[np.bool_] = np.asarray(image.filter(ImageFilter.MaxFilter(3))) > 0
    return near


def share_on(joints: NDArray[np.float32], near: NDArray[np.bool_]) -> float:
    """The share of a person's joints (25, 3), in fractions of the picture, that are `near_body`."""
    x, y = np.clip((_places(joints) * _CELLS).astype(int), 0, np.array(_CELLS) - 1).T
    return float(near[y, x].mean())


def lies_outside(joints: NDArray[np.float32]) -> bool:
    """Whether a good part of a person's joints (25, 3) is outside the picture; fractions of it."""
    places = _places(joints)
    outside = ((places > 1 + _EDGE) | (places < -_EDGE)).any(axis=1)
    return bool(outside.mean() > _MOST_OUTSIDE)


def _places(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 2) x and y of the joints that were found."""
    return joints[joints.any(axis=1), :2]


@cache
def _say_fractions(folder: Path) -> None:
    log.warning("%s: joints are fractions of the picture (0 to 1), and are read as such", folder)


def _persons(content: object, path: Path) -> tuple[list[object], tuple[int, int] | None, int]:
    """Each person's joints as written, the frame that they are in, and columns of a joint."""
    match content:
        case {"people": []}:
            raise ValueError(f"{path}: {NOBODY}")
        case {"people": [*people]}:
            found = [
                person[key]
                for person in people
                if isinstance(person, dict)
                for key in ("pose_keypoints_2d", "pose_keypoints")
                if person.get(key)
            ]
            if found:
                return found, None, 3
        case {"keypoints": rows}:
            return [rows], _DRESS_CODE_FRAME, 4
    raise ValueError(
        f"{path}: holds no OpenPose or DressCode keypoints; use the data set's pose file"
    )


def _rows(values: object, columns: int, path: Path) -> NDArray[np.float32]:
    """(25, 3) BODY_25 of one person as written."""
    try:
        joints = np.asarray(values, np.float32).reshape(-1, columns)[:, :3]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: its keypoints are not numbers in rows of {columns}; use a good copy"
        ) from error
    if len(joints) not in (COCO_18, BODY_25):
        raise ValueError(
            f"{path}: has {len(joints)} joints, expected 18 or 25; use OpenPose's body model"
        )
    return joints if len(joints) == BODY_25 else to_body_25(joints)
