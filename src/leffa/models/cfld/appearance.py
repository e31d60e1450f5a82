"""Hybrid-granularity attention: fine detail of the reference as biases on the UNet's queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from leffa.models.attention import halved

HEAD_WIDTH = 32  # the published widths 64, 128, 256 have 2, 4, 8 heads


@dataclass(frozen=True)
class UpLayer:
    """A cross-attention of an up block of the UNet."""

    name: str
    channels: int
    level: int  # how often the latent was halved


class LayerBias(nn.Module):
    """The bias of one cross-attention, zero at first.

    Args:
        feature_channels: of the encoder's stage that it reads; half of them are computed with.
        channels: of the UNet's queries.
        depth: transformer blocks, each with two self-attentions.
    """

    def __init__(self, feature_channels: int, channels: int, depth: int) -> None:
        super().__init__()
        width = feature_channels // 2
        heads = max(1, width // HEAD_WIDTH)
        self.conv_in = _zero(nn.Conv2d(feature_channels, width, kernel_size=1))
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(width, heads, width // heads, double_self_attention=True)
            for _ in range(depth)
        )
        self.conv_out = _zero(nn.Conv2d(width, channels, kernel_size=1))

    def forward(self, feature: Tensor, checkpointing: bool = False) -> Tensor:
        """(B, C, h, w) of the encoder to (B, C', h, w) of the UNet."""
        hidden = self.conv_in(feature)
        tokens = rearrange(hidden, "b c h w -> b (h w) c")
        for block in self.blocks:
            if checkpointing:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        bias: Tensor = self.conv_out(rearrange(tokens, "b (h w) c -> b c h w", h=hidden.shape[-2]))
        return bias


class AppearanceBiases(nn.Module):
    """Biases of all cross-attentions of the up blocks (CFLD, section 3.4).

    A layer whose latent was halved n times reads stage n of the encoder: at the published sizes,
    256 pixels for the encoder and 512 for the UNet, their grids are equal.

    Args:
        feature_channels: of the encoder's stages but the last.
        depth: of each `LayerBias`.
    """

    def __init__(
        self, layers: Sequence[UpLayer], feature_channels: Sequence[int], depth: int = 4
    ) -> None:
        super().__init__()
        if not layers:
            raise ValueError("model.unet: has no cross-attention in its up blocks, unlike SD1.5")
        deepest = max(layer.level for layer in layers)
        if deepest >= len(feature_channels):
            raise ValueError(
                f"model.encoder: needs {deepest + 2} stages, since the UNet attends to the prompt "
                f"after {deepest} halvings; it has {len(feature_channels) + 1}"
            )
        self.layers = tuple(layers)
        self.gradient_checkpointing = False
        self.biases = nn.ModuleList(
            LayerBias(feature_channels[layer.level], layer.channels, depth) for layer in layers
        )

    def forward(self, features: Sequence[Tensor], grid: tuple[int, int]) -> Mapping[str, Tensor]:
        """The bias of each layer by its name, (B, L, C) tokens, for a latent of `grid` (h, w)."""
        biases = {}
        checkpointing = self.gradient_checkpointing and self.training
        for layer, bias in zip(self.layers, self.biases, strict=True):
            plane = bias(features[layer.level], checkpointing)
            size = halved(grid, layer.level)
            if plane.shape[-2:] != size:
                plane = F.interpolate(plane, size, mode="bilinear")
            biases[layer.name] = rearrange(plane, "b c h w -> b (h w) c")
        return biases


def _zero(convolution: nn.Conv2d) -> nn.Conv2d:
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution
