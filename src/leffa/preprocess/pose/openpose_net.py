"""OpenPose's body network (Cao et al., 2017, arXiv 1611.08050, figure 3), 18 COCO joints.

VGG-19's first layers give features at an eighth of the resolution; six stages predict twice each,
and each stage after the first sees the features and the stage before:

    L1   part affinity fields: for each of 19 limbs a 2-d vector along it
    L2   confidence maps: one for each of 18 joints, one for the background

Layers are called as in `body_pose_model.pth`, 92 convolutions in all.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from leffa.io.weights import fill, load_weights

STRIDE = 8
FIELDS, MAPS = 38, 19
_STAGES = range(2, 7)
# Name and channels of the feature layers; None halves the resolution.
_FEATURES = (
    *(("conv1_1", 64), ("conv1_2", 64), None),
    *(("conv2_1", 128), ("conv2_2", 128), None),
    *(("conv3_1", 256), ("conv3_2", 256), ("conv3_3", 256), ("conv3_4", 256), None),
    *(("conv4_1", 512), ("conv4_2", 512), ("conv4_3_CPM", 256), ("conv4_4_CPM", 128)),
)


class OpenPoseBody(nn.Module):
    """The network; `narrower` divides the channels of all inner layers."""

    def __init__(self, narrower: int = 1) -> None:
        super().__init__()
        channels = 3
        for layer in _FEATURES:
            if layer is not None:
                name, out = layer
                self._add(name, channels, out // narrower, 3)
                channels = out // narrower
        for branch, out in (("L1", FIELDS), ("L2", MAPS)):
            for number in (1, 2, 3):
                self._add(f"conv5_{number}_CPM_{branch}", channels, channels, 3)
            self._add(f"conv5_4_CPM_{branch}", channels, 512 // narrower, 1)
            self._add(f"conv5_5_CPM_{branch}", 512 // narrower, out, 1)
            for stage in _STAGES:
                name, entering = f"stage{stage}_{branch}", channels + FIELDS + MAPS
                for number in range(1, 6):
                    self._add(f"Mconv{number}_{name}", entering, channels, 7)
                    entering = channels
                self._add(f"Mconv6_{name}", channels, channels, 1)
                self._add(f"Mconv7_{name}", channels, out, 1)

    def _add(self, name: str, channels: int, out: int, side: int) -> None:
        self.add_module(name, nn.Conv2d(channels, out, side, padding=side // 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (B, 38, H/8, W/8) and maps (B, 19, H/8, W/8) of BGR images in [-0.5, 0.5]."""
        for layer in _FEATURES:
            if layer is None:
                x = functional.max_pool2d(x, 2)
            else:
                x = functional.relu(self.get_submodule(layer[0])(x))
        fields, maps = (
            self._run(x, [f"conv5_{number}_CPM_{branch}" for number in range(1, 6)])
            for branch in ("L1", "L2")
        )
        for stage in _STAGES:
            seen = torch.cat([fields, maps, x], dim=1)
            fields, maps = (
                self._run(seen, [f"Mconv{number}_stage{stage}_{branch}" for number in range(1, 8)])
                for branch in ("L1", "L2")
            )
        # The PyTorch port that the field uses has a ReLU here; no joint depends on it.
        return fields, functional.relu(maps)

    def _run(self, x: Tensor, names: list[str]) -> Tensor:
        for name in names[:-1]:
            x = functional.relu(self.get_submodule(name)(x))
        last: Tensor = self.get_submodule(names[-1])(x)
        return last


def load_openpose(path: str | Path) -> OpenPoseBody:
    """The published network with `body_pose_model.pth`, for inference.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not plain tensors, or not of this network.
    """
    with torch.device("meta"):
        model = OpenPoseBody()
    state = load_weights(Path(path))
    # A saved module of the port has its own blocks before the layer's name.
    fill(model, {".".join(key.split(".")[-2:]): value for key, value in state.items()}, path)
    return model.eval()
