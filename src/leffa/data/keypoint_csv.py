"""The keypoints of pose transfer: PATN's lists of many pictures, and NTED's text files of one.

A list has the columns `name:keypoints_y:keypoints_x`, split by colons; y and x are JSON lists of 18
COCO joints. A text file has 18 rows of x and y. In both, -1 is a joint that was not found.
"""

import csv
import io
import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leffa.data.batch import Annotation
from leffa.data.keypoints import COCO_18, read_keypoints, to_body_25
from leffa.io.tables import read_text

Joints = NDArray[np.int16]

_COLUMNS = ["name", "keypoints_y", "keypoints_x"]
_NO_FILE = "no such file; copy it from the data set's archive"


def read_pose(
    pose: Path | Annotation,
    size: tuple[int, int],
    body: Callable[[], NDArray[np.bool_]] | None = None,
) -> NDArray[np.float32]:
    """The joints of a record's person, whichever way its data set writes them.

    Args:
        pose: a keypoint file (`data.keypoints`), or an annotation.
        size: (width, height) of the picture; an annotation has a frame of its own.
        body: where a parsing shows a person, as `read_keypoints` asks for it.

    Returns:
        (25, 3) BODY_25: x and y as fractions of the picture, confidence; a missing joint is
        (0, 0, 0).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, or does not name the picture.
    """
    if isinstance(pose, Annotation):
        return read_annotation(pose)
    return read_keypoints(pose, size, body)


def read_annotation(annotation: Annotation) -> NDArray[np.float32]:
    """The joints of one picture, as `read_pose` gives them; confidence is 0 or 1."""
    path, row = annotation.path, annotation.row
    if row is None:
        joints = _read_text(path)
    else:
        table = _read_list(path)
        if row not in table:
            raise ValueError(f"{path}: has no row for {row}; use the list of the same release")
        joints = _joints(*table[row], path, row)
    present = (joints >= 0).all(axis=1, keepdims=True)
    places = np.where(present, (joints - (annotation.left, 0)) / annotation.frame, 0)
    return to_body_25(np.concatenate([places, present], axis=1, dtype=np.float32))


def listed_names(path: Path) -> frozenset[str]:
    """The pictures that a list has joints of."""
    return frozenset(_read_list(path))


@lru_cache(maxsize=4)  # train and test of two data sets; every worker reads a list once
def _read_list(path: Path) -> dict[str, tuple[str, str]]:
    """y and x of every picture, as written: a picture is parsed when it is asked for."""
    try:
        lines = io.StringIO(read_text(path), newline="")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {_NO_FILE}") from error
    rows = csv.reader(lines, delimiter=":", quoting=csv.QUOTE_NONE)
    if [column.strip() for column in next(rows, [])] != _COLUMNS:
        raise ValueError(
            f"{path}: has no header '{':'.join(_COLUMNS)}'; copy the list again from the data "
            "set's archive"
        )
    return {row[0].strip(): (row[1], row[2]) for row in rows if len(row) == len(_COLUMNS)}


def _joints(y: str, x: str, path: Path, row: str) -> Joints:
    try:
        joints = np.array([json.loads(x), json.loads(y)], np.int16).T
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: the joints of {row} are no lists of numbers") from error
    return _checked(joints, f"{path}: {row}")


def _read_text(path: Path) -> Joints:
    try:
        rows = [line.split() for line in read_text(path).splitlines() if line.strip()]
        joints = np.array([[float(value) for value in row] for row in rows]).round()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: {_NO_FILE}") from error
    except ValueError as error:
        raise ValueError(f"{path}: holds no rows of 'x y'; use the data set's pose file") from error
    return _checked(joints.astype(np.int16), str(path))


def _checked(joints: Joints, where: str) -> Joints:
    if joints.shape != (COCO_18, 2):
        raise ValueError(f"{where}: has joints of shape {joints.shape}, expected 18 of x and y")
    return joints
