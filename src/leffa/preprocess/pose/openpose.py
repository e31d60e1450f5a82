"""OpenPose's body network as a `PoseEstimator`: the port that the demos of the field use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.fit import Placement
from leffa.data.keypoints import People, foremost, to_body_25
from leffa.preprocess.canvas import bgr_tensor, to_canvas
from leffa.preprocess.pose import NOBODY
from leffa.preprocess.pose.assembly import find_people
from leffa.preprocess.pose.openpose_net import STRIDE, load_openpose

_HEIGHT = 184  # of the image that the network reads: half the box of 368 that it was trained on
_GREY = 128


class OpenPose:
    """Finds 18 COCO joints; mid-hip and feet of BODY_25 stay empty.

    Args:
        network: from BGR images in [-0.5, 0.5] (1, 3, H, W), sides multiples of 8, to fields
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
        canvas, placement = to_canvas(image)
        height, width = _HEIGHT, round(canvas.width * _HEIGHT / canvas.height)
        small = shrink_by_area(bgr_tensor(canvas), (height, width)).round()
        padding = (0, -width % STRIDE, 0, -height % STRIDE)  # at the right and below
        fields, maps = self.network(functional.pad(small, padding, value=_GREY) / 256 - 0.5)
        found = [grow(one[0].float().cpu(), (height, width), canvas.size) for one in (maps, fields)]
        people = [_to_photo(person, placement) for person in find_people(*found)]
        return [person for person in people if person.any()]


def openpose(path: str | Path, device: str = "cpu") -> OpenPose:
    """From `body_pose_model.pth`; see `openpose_net.load_openpose` for errors."""
    model = load_openpose(path).to(device)
    return OpenPose(lambda picture: model(picture.to(device)))


def shrink_by_area(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) at a smaller (height, width): each pixel is the mean of the area it covers."""
    down, across = map(_coverage, picture.shape[2:], size)
    return down @ picture @ across.T


def grow(maps: Tensor, read: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    """The network's maps (C, h, w) at the size of the canvas, (width, height).

    As in the demos they are first enlarged to `read`, (height, width) of what the network read,
    without padding.
    """
    down, across = (
        _lanczos(side, after) @ _lanczos(cells, cells * STRIDE)[:side]
        for cells, side, after in zip(maps.shape[1:], read, reversed(size), strict=True)
    )
    grown: NDArray[np.float32] = (down @ maps @ across.T).numpy()
    return grown


def _lanczos(before: int, after: int) -> Tensor:
    """(after, before): Lanczos' filter of eight pixels, what OpenCV enlarges with; edges repeat."""
    places = (torch.arange(after, dtype=torch.float64) + 0.5) * before / after - 0.5
    taps = places.floor()[:, None] + torch.arange(-3, 5)
    away = places[:, None] - taps
    weights = torch.sinc(away) * torch.sinc(away / 4)
    weights /= weights.sum(dim=1, keepdim=True)
    matrix = torch.zeros(after, before, dtype=torch.float64)
    return matrix.scatter_add_(1, taps.long().clamp(0, before - 1), weights).float()


def _coverage(before: int, after: int) -> Tensor:
    """(after, before): how much of each new pixel every old one is."""
    ends = torch.linspace(0, before, after + 1, dtype=torch.float64)
    pixels = torch.arange(before)
    shared = torch.minimum(ends[1:, None], pixels + 1) - torch.maximum(ends[:-1, None], pixels)
    return (shared.clamp(min=0) * after / before).float()


def _to_photo(person: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """Joints on the canvas in pixels of the photo; one beside it counts as not found."""
    size = np.array(placement.picture, np.float32)
    scale = size / np.array((placement.width, placement.height), np.float32)
    joints = person.copy()
    joints[:, :2] = (person[:, :2] - (placement.left, placement.top)) * scale
    inside = (joints[:, :2] >= 0).all(axis=1) & (joints[:, :2] < size).all(axis=1)
    joints[~inside | (person[:, 2] == 0)] = 0
    return joints
