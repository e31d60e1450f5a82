"""OpenPose's body network as a `PoseEstimator`: the port that the demos of the field use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.keypoints import People, foremost, to_body_25
from leffa.preprocess.pose import NOBODY
from leffa.preprocess.pose.assembly import find_people
from leffa.preprocess.pose.openpose_net import STRIDE, load_openpose

_HEIGHT = 368 * 0.5  # of the picture that the network reads: its box at the scale searched
_GREY = 128
# At which joints are searched for: more shows nothing new, since the maps are 23 cells high, and at
# 12 megapixels the 57 maps took 3.9 GB.
_MOST_PIXELS = 1024 * 1024


class OpenPose:
    """Finds 18 COCO joints; mid-hip and feet of BODY_25 stay empty.

    Args:
        network: from BGR pictures in [-0.5, 0.5] (1, 3, H, W), sides multiples of 8, to fields
            (1, 38, H/8, W/8) and maps (1, 19, H/8, W/8).
    """

    def __init__(self, network: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self.network = network

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """The joints of the largest person; raises ValueError where there is nobody."""
        people = self.find_everyone(image)
        if not people:
            raise ValueError(NOBODY)
        everyone = People(np.stack(people), frame=None)
        return to_body_25(people[foremost(everyone.in_picture(image.size), image.size)])

    @torch.no_grad()
    def find_everyone(self, image: Image.Image) -> list[NDArray[np.float32]]:
        """(18, 3) COCO joints of each person: x and y in pixels, confidence."""
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        scale = _HEIGHT / image.height
        height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
        small = _cubic(picture, (height, width)).round().clamp(0, 255)
        padding = (0, -width % STRIDE, 0, -height % STRIDE)  # at the right and below
        fields, maps = self.network(functional.pad(small, padding, value=_GREY) / 256 - 0.5)
        size = _searched(image.size)
        grown = [
            _cubic(
                _cubic(one, (one.shape[2] * STRIDE, one.shape[3] * STRIDE))[..., :height, :width],
                (size[1], size[0]),
            )[0].numpy()
            for one in (fields.float().cpu(), maps.float().cpu())
        ]
        people = find_people(grown[1], grown[0])
        return [_enlarge(person, size, image.size) for person in people]


def openpose(path: str | Path, device: str = "cpu") -> OpenPose:
    """From `body_pose_model.pth`; see `openpose_net.load_openpose` for errors."""
    model = load_openpose(path).to(device)
    return OpenPose(lambda picture: model(picture.to(device)))


def _searched(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which joints are searched for in a picture of this size."""
    scale = min(1, _MOST_PIXELS / (size[0] * size[1])) ** 0.5
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _enlarge(
    person: NDArray[np.float32], size: tuple[int, int], image: tuple[int, int]
) -> NDArray[np.float32]:
    """Joints found at one size in the pixels of another, whose pixels cover the same area."""
    if size == image:
        return person
    found = person[:, 2:] > 0
    places = (person[:, :2] + 0.5) * np.divide(image, size, dtype=np.float32) - 0.5
    return np.concatenate([places * found, person[:, 2:]], axis=1).astype(np.float32)


def _cubic(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(picture, size, mode="bicubic", align_corners=False)
