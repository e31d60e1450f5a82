"""Body keypoints: one reader for all formats of the datasets, always returning BODY_25.

BODY_25 order: 0 nose, 1 neck, 2-4 right shoulder, elbow, wrist, 5-7 left arm, 8 mid-hip, 9-11 right
hip, knee, ankle, 12-14 left leg, 15 right eye, 16 left eye, 17 right ear, 18 left ear, 19-21 left
foot, 22-24 right foot. COCO-18 is the same without the mid-hip and the feet. Left and right are the
person's.

Pose transfer shares joints otherwise: PATN's lists of many images have the columns
`name:keypoints_y:keypoints_x`, split by colons, where y and x are JSON lists of 18 COCO joints;
NTED's text files of one image have 18 rows of x and y. In both, -1 is a joint that was not found.
Imports no torch.
"""

import csv
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from leffa.io.tables import read_text

log = logging.getLogger(__name__)

Joints = NDArray[np.float32]  # (25, 3): x, y, confidence; (0, 0, 0) for a missing joint

BODY_25 = 25
COCO_18 = 18
# Where each joint goes when the image is mirrored.
BODY_25_MIRROR = (
    *(0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9),
    *(10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21),
)
_COCO_18_OF_BODY_25 = [*range(8), *range(9, 19)]

_DRESS_CODE_FRAME = (384, 512)  # of DressCode's keypoints, whatever the image's size
FRACTIONS = (1, 1)  # the frame of joints from 0 to 1

LEAST_ON_BODY = 0.6  # of a person's joints, for the parsing to be of that person
_CELLS = (36, 48)  # the grid on which joints and parsing are compared
_EDGE = 0.02  # of the image, that joints may lie outside
_MOST_OUTSIDE = 0.2  # of the joints
NOBODY = "no person was found; give a mask file or remove this image from the list"
_COLUMNS = ["name", "keypoints_y", "keypoints_x"]
_NO_FILE = "no such file; extract the dataset's archive again"


def to_body_25(joints: Joints) -> Joints:
    """COCO-18 joints (18, 3) as BODY_25 (25, 3); mid-hip and feet, which it lacks, are zero."""
    body = np.zeros((BODY_25, joints.shape[1]), joints.dtype)
    body[_COCO_18_OF_BODY_25] = joints
    return body


def to_coco_18(joints: Joints) -> Joints:
    """BODY_25 joints (25, 3) as COCO-18 (18, 3), without mid-hip and feet."""
    return joints[_COCO_18_OF_BODY_25]


def openpose_json(joints: Joints) -> str:
    """BODY_25 joints (25, 3) in pixels as OpenPose 1.3 writes one person, without face, hands."""
    values = [round(float(value), 3) for value in joints.ravel()]
    person: dict[str, list[float]] = {"person_id": [-1], "pose_keypoints_2d": values}
    person |= {f"{part}_keypoints_2d": [] for part in ("face", "hand_left", "hand_right")}
    return json.dumps({"version": 1.3, "people": [person]})


@dataclass(frozen=True)
class Annotation:
    """Where the 18 COCO joints of an image are stored: in PATN's list, or in a file of NTED's."""

    path: Path
    frame: tuple[int, int]  #: (width, height) of the image that the joints were found in
    row: str | None = None  #: the image's name in the list; None: the file is of one image
    left: int = 0  #: pixels of white border at the left, which the images in use do not have


class People(NamedTuple):
    """All persons in a keypoint file."""

    joints: NDArray[np.float32]  # (N, 25, 3) of N > 0 persons with a joint at least
    frame: tuple[int, int] | None  # (width, height) of x and y; None: pixels of the image

    def in_picture(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The joints with x and y as fractions of an image of (width, height)."""
        return (self.joints / np.array((*(self.frame or size), 1), np.float32)).astype(np.float32)


def read_pose(
    pose: Path | Annotation,
    size: tuple[int, int],
    body: Callable[[], NDArray[np.bool_]] | None = None,
) -> Joints:
    """The joints of a record's person, see `read_keypoints`, whatever the format of its dataset."""
    if isinstance(pose, Annotation):
        return read_annotation(pose)
    return read_keypoints(pose, size, body)


def read_keypoints(
    path: Path, size: tuple[int, int], body: Callable[[], NDArray[np.bool_]] | None = None
) -> Joints:
    """The `foremost` person's joints of a file, with x and y as fractions of the image.

    Args:
        path: see `read_people` for the formats.
        size: (width, height) of the image that the keypoints were found in.
        body: gives (H, W), True where a parsing shows a person; asked only about several persons.

    Raises:
        FileNotFoundError, ValueError: as `read_people`, or the joints lie outside the image.
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
            f"{path}: its joints reach x {x:.0f}, y {y:.0f}, and the image is {width}x{height}, so "
            "they belong to an image of another size; detect them in this image, or scale them"
        )
    return person


def read_people(path: Path) -> People:
    """All persons in a keypoint file.

    Reads OpenPose 1.3 (`pose_keypoints_2d`, VITON-HD), OpenPose 1.0 (`pose_keypoints`, VITON) and
    DressCode's (`keypoints`), in pixels or in fractions of the image from 0 to 1; COCO-18 is
    converted, without mid-hip and feet.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is none of these formats, or no
            person was found.
    """
    try:
        content = json.loads(path.read_bytes())  # in any Unicode encoding
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {_NO_FILE}") from error
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
    """Which of several persons (N, 25, 3), in fractions of an image of (width, height), to use: the
    largest of those on the parsing (`near_body`), or the largest if there is none."""
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


def share_on(joints: Joints, near: NDArray[np.bool_]) -> float:
    """The share of a person's joints, in fractions of the image, that are `near_body`."""
    x, y = np.clip((_places(joints) * _CELLS).astype(int), 0, np.array(_CELLS) - 1).T
    return float(near[y, x].mean())


def lies_outside(joints: Joints) -> bool:
    """Whether a good part of a person's joints, in fractions of the image, is outside it."""
    places = _places(joints)
    outside = ((places > 1 + _EDGE) | (places < -_EDGE)).any(axis=1)
    return bool(outside.mean() > _MOST_OUTSIDE)


def _places(joints: Joints) -> NDArray[np.float32]:
    """(n, 2) x and y of the joints that were found."""
    return joints[joints.any(axis=1), :2]


@cache
def _say_fractions(folder: Path) -> None:
    log.warning("%s: joints are fractions of the image (0 to 1), and are read as such", folder)


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
        f"{path}: holds no OpenPose or DressCode keypoints; use the dataset's pose file"
    )


def _rows(values: object, columns: int, path: Path) -> Joints:
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


def read_annotation(annotation: Annotation) -> Joints:
    """The joints of one image, as `read_keypoints` gives them; confidence is 0 or 1."""
    path, row = annotation.path, annotation.row
    table = {} if row is None else _read_list(path)
    if row is not None and row not in table:
        raise ValueError(f"{path}: has no row for {row}; use the list of the same release")
    try:
        joints: NDArray[Any]
        if row is None:
            lines = [line.split() for line in read_text(path).splitlines() if line.strip()]
            joints = np.array(lines, np.float64).round()
        else:
            y, x = table[row]
            joints = np.array([json.loads(x), json.loads(y)], np.int16).T
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {_NO_FILE}") from error
    except (ValueError, TypeError) as error:
        what = "holds no rows of 'x y'" if row is None else f"the joints of {row} are no lists"
        raise ValueError(f"{path}: {what} of numbers; use the dataset's file") from error
    if joints.shape != (COCO_18, 2):
        where = f"{path}: {row}" if row else path
        raise ValueError(f"{where}: has joints of shape {joints.shape}, expected 18 of x and y")
    present = (joints >= 0).all(axis=1, keepdims=True)
    places = np.where(present, (joints - (annotation.left, 0)) / annotation.frame, 0)
    return to_body_25(np.concatenate([places, present], axis=1, dtype=np.float32))


def listed_names(path: Path) -> frozenset[str]:
    """The images that a list has joints of."""
    return frozenset(_read_list(path))


@lru_cache(maxsize=4)  # train and test of two datasets; every worker reads a list once
def _read_list(path: Path) -> dict[str, tuple[str, str]]:
    """y and x of every image, as written: an image is parsed when it is asked for."""
    try:
        lines = io.StringIO(read_text(path), newline="")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {_NO_FILE}") from error
    rows = csv.reader(lines, delimiter=":", quoting=csv.QUOTE_NONE)
    if [column.strip() for column in next(rows, [])] != _COLUMNS:
        raise ValueError(
            f"{path}: has no header '{':'.join(_COLUMNS)}'; copy the list again from the "
            "dataset's archive"
        )
    return {row[0].strip(): (row[1], row[2]) for row in rows if len(row) == len(_COLUMNS)}
