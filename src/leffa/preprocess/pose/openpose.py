"""OpenPose's body network as a `PoseEstimator`: the port that the demos of the field use."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.keypoints import to_body_25
from leffa.preprocess.pose import NOBODY
from leffa.preprocess.pose.assembly import find_people
from leffa.preprocess.pose.openpose_net import STRIDE, load_openpose

_HEIGHT = 368 * 0.5  # of the picture that the network reads: its box at the scale searched
_GREY = 128


class OpenPose:
    """Finds 18 COCO joints; mid-hip and feet of BODY_25 stay empty.

    Args:
        network: from BGR pictures in [-0.5, 0.5] (1, 3, H, W), sides multiples of 8, to fields
            (1, 38, H/8, W/8) and maps (1, 19, H/8, W/8).
    """

    def __init__(self, network: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        self.network = network

    def find_pose(self, image: Image.Image) -> NDArray[np.float32]:
        """The joints of whoever stands out most; raises ValueError where there is nobody."""
        people = self.find_everyone(image)
        if not people:
            raise ValueError(NOBODY)
        return to_body_25(people[0])

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
        grown = [
            _cubic(
                _cubic(one, (one.shape[2] * STRIDE, one.shape[3] * STRIDE))[..., :height, :width],
                (image.height, image.width),
            )[0].numpy()
            for one in (fields.float().cpu(), maps.float().cpu())
        ]
        return find_people(grown[1], grown[0])


def openpose(path: str | Path, device: str = "cpu") -> OpenPose:
    """From `body_pose_model.pth`; see `openpose_net.load_openpose` for errors."""
    model = load_openpose(path).to(device)
    return OpenPose(lambda picture: model(picture.to(device)))


def _cubic(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(picture, size, mode="bicubic", align_corners=False)
