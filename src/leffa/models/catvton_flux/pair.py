"""Garment left of person in one image twice as wide: FLUX.1-Fill, as catvton-flux has it."""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.schedule import Generators
from leffa.models.catvton_flux import model
from leffa.models.catvton_flux.model import CatVTONFlux, TokenSequence
from leffa.models.catvton_flux.packing import PATCH, beside, mask_cells, pack, positions
from leffa.models.latent import Picture, cell_size
from leffa.models.loading import Autoencoder, Source, named
from leffa.models.reference import without


@dataclass(frozen=True)
class Conditioning(model.Conditioning):
    """What joins the noisy pair along the channels."""

    masked: Tensor  # (B, C, h, 2w) latent of [garment | masked person]
    mask: Tensor  # (B, M, h, 2w) its mask at full resolution, M pixels of each cell

    def unconditional(self) -> "Conditioning":
        """A garment whose latent is zeros. Our choice: what was published has no such input."""
        return self.drop(torch.ones(len(self.masked), dtype=torch.bool, device=self.masked.device))

    def drop(self, dropped: Tensor) -> "Conditioning":
        garment, person = self.masked.chunk(2, dim=-1)
        return replace(self, masked=beside(without(garment, dropped), person))


class PairFlux(CatVTONFlux, layout="pair"):
    """FLUX.1-Fill on [garment | person]."""

    pictures: ClassVar[tuple[Picture, ...]] = ("pair", "masked_pair")

    @classmethod
    def check_channels(cls, channels: int, vae: Autoencoder, source: Source) -> None:
        cell = vae.config.latent_channels * PATCH**2
        wanted = 2 * cell + (cell_size(vae) * PATCH) ** 2
        if channels != wanted:
            raise ValueError(
                f"model.transformer: {named(source)} reads {channels} channels, not the {wanted} "
                "of noisy pair, masked pair and mask; give a FLUX.1-Fill: backbone=flux_fill"
            )

    def image(self, batch: Batch, picture: Picture) -> Tensor:
        if picture == "pair":
            return beside(batch["reference"], batch["source"])
        if picture == "masked_pair":
            return beside(batch["reference"], super().image(batch, "masked_source"))
        return super().image(batch, picture)

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        channels, height, width = super().latent_shape(batch)
        return channels, height, 2 * width

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        self.latent_shape(batch)  # refuses what has no whole tokens
        masked = self.latent(batch, "masked_pair", generator, sample)
        mask = mask_cells(beside(torch.zeros_like(batch["mask"]), batch["mask"]), self.downscale)
        return Conditioning(self.training_guidance, masked, mask)

    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """[garment | person], (B, C, h, 2w): both halves are denoised."""
        return self.latent(batch, "pair", generator, sample)

    def arrange(self, noisy: Tensor, conditioning: Conditioning) -> TokenSequence:
        rows, columns = (side // PATCH for side in noisy.shape[-2:])
        half = (rows, columns // 2)
        parts = (noisy, conditioning.masked, conditioning.mask)
        return TokenSequence(
            tokens=torch.cat([pack(part) for part in parts], dim=-1),
            positions=positions((rows, columns)),
            generated=(rows, columns),
            person=half,
            garment=half,
            split=partial(split_pair, rows=rows),
        )

    def decode(self, latents: Tensor) -> Tensor:
        """The person half of (B, C, h, 2w) as images (B, 3, H, W). The pair is decoded as it was
        encoded, as one image."""
        return super().decode(latents).chunk(2, dim=-1)[1]


def split_pair(tokens: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Person, garment and nothing else of the tokens of a pair (B, N, L, D): in each row the
    garment's come first."""
    halves = rearrange(tokens, "b n (h half w) d -> half b n (h w) d", h=rows, half=2)
    return halves[1], halves[0], tokens[:, :, :0]
