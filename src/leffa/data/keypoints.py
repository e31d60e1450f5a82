"""Body keypoints: one reader for the formats that the data sets ship, always giving BODY_25.

BODY_25 order: 0 nose, 1 neck, 2-4 right shoulder, elbow, wrist, 5-7 left arm, 8 mid-hip, 9-11 right
hip, knee, ankle, 12-14 left leg, 15 right eye, 16 left eye, 17 right ear, 18 left ear, 19-21 left
foot, 22-24 right foot. COCO-18 is the same without the mid-hip and the feet. Left and right are the
person's.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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


def to_body_25(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """COCO-18 joints (18, 3) as BODY_25 (25, 3); mid-hip and feet, which it lacks, are zero."""
    body = np.zeros((BODY_25, joints.shape[1]), joints.dtype)
    body[list(_COCO_18_OF_BODY_25)] = joints
    return body


def to_coco_18(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """BODY_25 joints (25, 3) as COCO-18 (18, 3), without mid-hip and feet."""
    return joints[list(_COCO_18_OF_BODY_25)]


def read_keypoints(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """The keypoints of the first person of a file, as BODY_25.

    Reads OpenPose 1.3 (`pose_keypoints_2d`, VITON-HD), OpenPose 1.0 (`pose_keypoints`, VITON) and
    DressCode's (`keypoints`); COCO-18 is converted, without mid-hip and feet.

    Args:
        size: (width, height) of the picture that the keypoints were found in.

    Returns:
        (25, 3): x and y as fractions of the picture's width and height, confidence; a missing joint
        is (0, 0, 0).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these formats, or no person was found.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{path}: no such file; extract the data set's archive again"
        ) from error
    except ValueError as error:  # not JSON, or not text
        raise ValueError(f"{path}: is not JSON ({error}); replace it with a good copy") from error
    joints, frame = _joints(content, path, size)
    # DressCode writes missing joints as 0 or 1.
    present = (joints[:, :2] > 1).all(axis=1, keepdims=True)
    body = np.where(present, joints / (*frame, 1), 0).astype(np.float32)
    return body if len(body) == BODY_25 else to_body_25(body)


def _joints(
    content: object, path: Path, size: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The joints as written, (25, 3) or (18, 3), and the size of the frame that they are in."""
    match content:
        case {"people": []}:
            raise ValueError(
                f"{path}: no person was found; give a mask file or take this picture off the list"
            )
        case {"people": [{"pose_keypoints_2d": values}, *_]} | {
            "people": [{"pose_keypoints": values}, *_]
        }:
            frame, columns = size, 3
        case {"keypoints": rows}:
            values, frame, columns = rows, _DRESS_CODE_FRAME, 4
        case _:
            raise ValueError(
                f"{path}: holds no OpenPose or DressCode keypoints; use the data set's pose file"
            )
    try:
        joints = np.asarray(values, np.float64).reshape(-1, columns)[:, :3]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: its keypoints are not numbers in rows of {columns}; use a good copy"
        ) from error
    if len(joints) not in (COCO_18, BODY_25):
        raise ValueError(
            f"{path}: has {len(joints)} joints, expected 18 or 25; use OpenPose's body model"
        )
    return joints, frame
