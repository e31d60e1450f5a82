"""A rough parsing from a silhouette and joints."""

import numpy as np
import pytest

from leffa.preprocess.parsing.coarse import coarse_labels


def standing() -> tuple[np.ndarray, np.ndarray]:
    """Joints and silhouette of somebody facing us at 300x400, arms a little away."""
    joints = np.zeros((25, 3), np.float32)
    for joint, x, y in (
        *((0, 150, 60), (1, 150, 110), (2, 110, 110), (3, 95, 170), (4, 85, 230)),
        *((5, 190, 110), (6, 205, 170), (7, 215, 230), (8, 150, 220), (9, 125, 220)),
        *((10, 125, 300), (11, 125, 380), (12, 175, 220), (13, 175, 300), (14, 175, 380)),
    ):
        joints[joint] = (x, y, 1)
    return joints, np.ones((400, 300), np.bool_)


def test_rough_labels_know_left_from_right_and_up_from_down() -> None:
    labels = coarse_labels(*standing())
    for (x, y), label in (
        *(((150, 60), 13), ((150, 25), 2), ((150, 150), 5), ((150, 260), 9)),
        *(((90, 200), 15), ((210, 200), 14), ((80, 245), 15), ((175, 350), 9)),
    ):
        assert labels[y, x] == label, (x, y)


def test_nothing_is_labelled_outside_the_silhouette() -> None:
    joints, silhouette = standing()
    silhouette[:, :150] = False
    labels = coarse_labels(joints, silhouette)
    assert not labels[:, :150].any()
    assert labels[:, 150:].all()


def test_rough_labels_do_without_hips_and_knees() -> None:
    joints, silhouette = standing()
    whole = coarse_labels(joints, silhouette)
    joints[8:15] = 0
    assert (coarse_labels(joints, silhouette) == whole)[:240].mean() > 0.9


def test_rough_labels_need_shoulders() -> None:
    joints, silhouette = standing()
    joints[2] = 0
    with pytest.raises(ValueError, match="no shoulders"):
        coarse_labels(joints, silhouette)
