"""The pose adapter: what is added to the UNet's down blocks (T2I-Adapter, arXiv 2302.08453)."""

from collections.abc import Sequence

import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from leffa.losses.precision import at_least_float32
from leffa.models.attention import halved
from leffa.models.latent import network_input

UNSHUFFLE = 4  # pixels of the pose per latent cell, along each side


class PoseAdapter(nn.Module):
    """Residuals of the down blocks from a pose map.

    Args:
        pose_channels: of the pose tensor, see `data.pose`.
        channels: of the UNet's down blocks that get one, finest first.
        groups: of the normalisations.
    """

    def __init__(self, pose_channels: int, channels: Sequence[int], groups: int = 32) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(UNSHUFFLE)
        self.conv_in = nn.Conv2d(pose_channels * UNSHUFFLE**2, channels[0], kernel_size=1)
        self.resnets = nn.ModuleList(
            ResnetBlock2D(in_channels=before, out_channels=after, temb_channels=None, groups=groups)
            for before, after in zip((channels[0], *channels), channels, strict=False)
        )

    def forward(self, pose: Tensor, grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """(B, 21, H, W) in [0, 1] to (B, C, h, w) of each down block, for a latent of `grid`."""
        size = (UNSHUFFLE * grid[0], UNSHUFFLE * grid[1])
        if pose.shape[-2:] != size:
            # At least float32: there is no such kernel for 16 bits everywhere.
            pose = F.interpolate(at_least_float32(pose), size, mode="bilinear", antialias=True)
        hidden = self.conv_in(network_input(self, self.unshuffle(pose)))
        residuals = []
        for level, resnet in enumerate(self.resnets):
            if level:
                # Halves even sizes by averaging; odd ones are rounded up, as the UNet does.
                hidden = F.adaptive_avg_pool2d(hidden, halved(grid, level))
            hidden = resnet(hidden, None)
            residuals.append(hidden)
        return tuple(residuals)
