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

from leffa.io.weights import load_weights
from leffa.preprocess.parsing.schp import fill

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
_SHARED = 128  # channels of the features that every stage reads


class OpenPoseBody(nn.Module):
    """The network.

    Args:
        narrower: divides the channels of all inner layers; 1 is the published network.
    """

    def __init__(self, narrower: int = 1) -> None:
        super().__init__()
        channels = 3
        for layer in _FEATURES:
            if layer is not None:
                name, out = layer
                self.add_module(name, nn.Conv2d(channels, out // narrower, 3, padding=1))
                channels = out // narrower
        for branch, out in (("L1", FIELDS), ("L2", MAPS)):
            self._add_first_stage(branch, channels, 512 // narrower, out)
            for stage in _STAGES:
                self._add_stage(f"stage{stage}_{branch}", channels, out)

    def _add_first_stage(self, branch: str, channels: int, wide: int, out: int) -> None:
        for number in (1, 2, 3):
            self.add_module(
                f"conv5_{number}_CPM_{branch}", nn.Conv2d(channels, channels, 3, padding=1)
            )
        self.add_module(f"conv5_4_CPM_{branch}", nn.Conv2d(channels, wide, 1))
        self.add_module(f"conv5_5_CPM_{branch}", nn.Conv2d(wide, out, 1))

    def _add_stage(self, name: str, channels: int, out: int) -> None:
        entering = channels + FIELDS + MAPS
        for number in range(1, 6):
            self.add_module(f"Mconv{number}_{name}", nn.Conv2d(entering, channels, 7, padding=3))
            entering = channels
        self.add_module(f"Mconv6_{name}", nn.Conv2d(channels, channels, 1))
        self.add_module(f"Mconv7_{name}", nn.Conv2d(channels, out, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (B, 38, H/8, W/8) and maps (B, 19, H/8, W/8) of BGR pictures in [-0.5, 0.5]."""
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
    fill(model, {".".join(key.split(".")[-2:]): value for key, value in state.items()}, str(path))
    return model.eval()
