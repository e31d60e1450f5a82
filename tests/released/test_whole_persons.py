"""Which photos show a person who can be dressed."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leffa.photo_to_picture.networks import OneWhole
from leffa.preprocess.pose.openpose import OpenPose
from leffa.preprocess.pose.openpose_net import OpenPoseBody

sys.path.append(str(Path(__file__).parent))
import published


@pytest.fixture(scope="module")
def finder() -> OpenPose:
    """OpenPose that finds the coloured joints of `published.photo`."""
    return OpenPose(published.passing_colours(OpenPoseBody(narrower=2)).eval())


def test_a_whole_person_is_found(finder: OpenPose) -> None:
    for category in ("upper_body", "lower_body", "dresses"):
        joints = OneWhole(finder, category).find_pose(published.photo())
        assert (joints[[1, 2, 5, 10, 13], 2] > 0).all()


@pytest.mark.parametrize(
    ("change", "category", "reason"),
    [
        (lambda joints: np.r_[joints * 0.45, joints * 0.45 + (0.5, 0.5)], "upper_body", "2 people"),
        (lambda joints: joints * (1, 2), "dresses", "no visible knees"),
        (
            lambda joints: joints + np.isin(np.arange(18), (2, 5))[:, None],
            "dresses",
            "no visible shoulders",
        ),
    ],
)
def test_a_person_who_cannot_be_dressed_is_refused_with_the_reason(
    change: Callable[[np.ndarray], np.ndarray], category: str, reason: str, finder: OpenPose
) -> None:
    photo = published.photo(change(published.JOINTS))
    with pytest.raises(ValueError, match=reason):
        OneWhole(finder, category).find_pose(photo)


def test_a_person_too_small_to_dress_is_refused(finder: OpenPose) -> None:
    with pytest.raises(ValueError, match="pixels tall, too small"):
        OneWhole(finder, "upper_body").find_pose(published.photo(size=(96, 128)))
