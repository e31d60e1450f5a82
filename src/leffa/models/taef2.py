"""TAEF2: a tiny autoencoder of photographs into FLUX.2's latent space (madebyollin/taesd, MIT).

Eight pixels a cell, 32 channels, 2.7 million parameters: real photographs on a machine without a
GPU. diffusers' `AutoencoderTiny` lacks one thing that it has: in the blocks at the latent's
resolution, a path whose group norm sees the whole image.
"""

from pathlib import Path

from diffusers import AutoencoderTiny
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from torch import Tensor, nn

from leffa.io.weights import load_weights

FILES = {"encoder": "taef2_encoder.pth", "decoder": "taef2_decoder.pth"}
WIDTH, BLOCKS = 64, 3  # of each resolution
SCALE = 1.25  # of latents, whose deviation is 0.8 over VITON's persons and garments; the mean is 0


class GlobalBlock(AutoencoderTinyBlock):
    """A block of diffusers' after a residual path through a group norm over the whole image."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH, "relu")
        self.pool = nn.Sequential(
            nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False),
            nn.GroupNorm(4, 4 * WIDTH),
            nn.ReLU(),
            nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + self.pool(x))


class AutoencoderTAEF2(AutoencoderTiny):
    """Images (B, 3, H, W) in [-1, 1], H and W multiples of 8; latents (B, 32, H/8, W/8)."""

    @register_to_config
    def __init__(self, latent_channels: int = 32, scaling_factor: float = SCALE) -> None:
        super().__init__(latent_channels=latent_channels, scaling_factor=scaling_factor)
        for layers, first in ((self.encoder.layers, -1 - BLOCKS), (self.decoder.layers, 2)):
            for index in range(first % len(layers), first % len(layers) + BLOCKS):
                layers[index] = GlobalBlock()


def is_taef2(folder: Path) -> bool:
    """Whether the folder holds the published files."""
    return all((folder / name).is_file() for name in FILES.values())


def load_taef2(folder: Path) -> AutoencoderTAEF2:
    """The autoencoder of the published files, in float32.

    Raises:
        RuntimeError: they are of another network.
    """
    vae = AutoencoderTAEF2()
    # The published decoder counts its clamp as a layer; here it is part of `forward`.
    for part, before in (("encoder", 0), ("decoder", 1)):
        state = load_weights(folder / FILES[part])
        numbered = {}
        for key, value in state.items():
            index, rest = key.split(".", 1)
            numbered[f"layers.{int(index) - before}.{rest}"] = value.float()
        getattr(vae, part).load_state_dict(numbered)
    return vae
