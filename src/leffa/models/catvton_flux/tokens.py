"""What is known as tokens after the noisy ones: FLUX.1-Kontext, as RefTon has it.

    [text | noisy person | masked person | garment]

Rows and columns of each image begin at 0; the first axis of a position tells which image it is:
0, 1, 2. All have one size here; RefTon can show what is known smaller.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.schedule import Generators
from leffa.models.catvton_flux import model
from leffa.models.catvton_flux.model import CatVTONFlux, TokenSequence
from leffa.models.catvton_flux.packing import PATCH, pack, positions
from leffa.models.latent import Picture
from leffa.models.loading import Autoencoder, Source, named


@dataclass(frozen=True)
class Conditioning(model.Conditioning):
    """The images that follow the noisy one."""

    references = ("garment",)
    person: Tensor  # (B, C, h, w) latent of the masked source
    garment: Tensor  # (B, C, h, w); zeros: no garment


class TokensFlux(CatVTONFlux, layout="tokens"):
    """FLUX.1-Kontext, to which person and garment are further tokens."""

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "masked_source", "reference")

    @classmethod
    def check_channels(cls, channels: int, vae: Autoencoder, source: Source) -> None:
        wanted = vae.config.latent_channels * PATCH**2
        if channels != wanted:
            raise ValueError(
                f"model.transformer: {named(source)} reads {channels} channels, not the {wanted} "
                "of a latent; give a FLUX.1-Kontext: backbone=flux_kontext; or model.layout=pair"
            )

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """The modes of the posteriors, whatever `sample`: so Kontext encodes its images."""
        self.latent_shape(batch)  # refuses what has no whole tokens
        person, garment = (self.latent(batch, each) for each in ("masked_source", "reference"))
        return Conditioning(self.training_guidance, person, garment)

    def arrange(self, noisy: Tensor, conditioning: Conditioning) -> TokenSequence:
        grid = (noisy.shape[-2] // PATCH, noisy.shape[-1] // PATCH)
        pictures = (noisy, conditioning.person, conditioning.garment)
        return TokenSequence(
            tokens=torch.cat([pack(each) for each in pictures], dim=1),
            positions=torch.cat([positions(grid, number) for number in range(len(pictures))]),
            generated=grid,
            person=grid,
            garment=grid,
            split=partial(split_tokens, count=grid[0] * grid[1]),
        )


def split_tokens(tokens: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy person, garment and masked person of (B, N, 3 count, D)."""
    noisy, person, garment = tokens.split(count, dim=2)
    return noisy, garment, person
