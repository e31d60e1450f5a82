"""The published parsers, OpenPose and DensePose, each loaded when a photo needs it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.preprocess.densepose import DensePoseEstimator, densepose_r50_fpn
from leffa.preprocess.parsing import PersonParser
from leffa.preprocess.parsing.neck import ATRWithNeck
from leffa.preprocess.parsing.schp import schp
from leffa.preprocess.pose import PoseEstimator
from leffa.preprocess.pose.openpose import OpenPose, openpose
from leffa.released.bring import store
from leffa.released.catalogue import named

_SMALLEST_PERSON = 128  # pixels from the first joint to the last
_BYSTANDER = 0.5  # of the person's size: whoever is larger makes it unclear who is meant
# COCO-18 joints of which one must be seen in each group, and what they are.
_SHOULDERS, _HIPS, _KNEES = ((2, 5), "shoulders"), ((8, 11), "hips"), ((9, 12), "knees")
_NEEDED = {
    "upper_body": (_SHOULDERS, _HIPS),
    "lower_body": (_HIPS, _KNEES),
    "dresses": (_SHOULDERS, _KNEES),
}


class PublishedNetworks:
    """The parsers, OpenPose and DensePose, each loaded when it is first asked for.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self.device = device

    @cached_property
    def parser(self) -> ATRWithNeck:
        """As in the released demo."""
        return ATRWithNeck(schp(published("schp_atr"), "atr"), schp(published("schp_lip"), "lip"))

    @cached_property
    def openpose(self) -> OpenPose:
        return openpose(published("openpose"), self.device)

    @cached_property
    def densepose(self) -> DensePoseEstimator:
        return densepose_r50_fpn(published("densepose"), self.device)


@dataclass(frozen=True)
class PublishedTools:
    """Published networks in the place of `Tools`, loaded when a photo needs them.

    Args:
        category: of the garment, which says what must be seen of a person.
    """

    networks: PublishedNetworks
    category: str = "upper_body"

    @property
    def parser(self) -> PersonParser:
        """Of ATR labels."""
        return self.networks.parser

    @property
    def pose(self) -> PoseEstimator:
        """Refuses photos whose person cannot be dressed."""
        return OneWhole(self.networks.openpose, self.category)

    @property
    def densepose(self) -> DensePoseEstimator:
        """R50-FPN."""
        return self.networks.densepose


class OneWhole(OpenPose):
    """OpenPose that refuses a photo whose person cannot be dressed.

    Args:
        category: of the garment; an unknown one needs no joint in particular.
    """

    def __init__(self, found: OpenPose, category: str) -> None:
        super().__init__(found.network)
        self.needed = _NEEDED.get(category, ())

    def find_everyone(self, image: Image.Image) -> list[NDArray[np.float32]]:
        """As `OpenPose`; raises ValueError of several people, and of one cropped or too small."""
        people = sorted(super().find_everyone(image), key=_extent, reverse=True)
        if not people:
            return people
        person = people[0]
        if len(people) > 1 and _extent(people[1]) > _BYSTANDER * _extent(person):
            raise ValueError(f"shows {len(people)} people; crop it to one of them")
        if _extent(person) < _SMALLEST_PERSON:
            raise ValueError(
                f"the person is {_extent(person):.0f} pixels tall, too small; crop the photo, or "
                "give a larger one"
            )
        for joints, name in self.needed:
            if not person[list(joints), 2].any():
                raise ValueError(
                    f"the person is cropped or hidden: no visible {name}, which this category "
                    "needs; give another photo, or --mask"
                )
        return [person]


def published(name: str) -> Path:
    """The one file of published weights; raises ValueError where it has not been fetched."""
    ((_, path),) = store(named(name)).files_of(named(name))
    return path


def _extent(joints: NDArray[np.float32]) -> float:
    """The larger side of the box around the joints (18, 3) that were found, in pixels."""
    found = joints[joints[:, 2] > 0, :2]
    return float(np.ptp(found, axis=0).max()) if len(found) else 0.0
