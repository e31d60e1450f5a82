"""What FitDiT knows of a person and a garment beside the noisy latent."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from leffa.models import interface
from leffa.models.memory import RunMemory


@dataclass(frozen=True)
class GarmentTokens:
    """What the denoising network reads of garments: keys and values (B, L, C) by layer name."""

    projected: dict[str, tuple[Tensor, Tensor]]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for pair in self.projected.values() for tensor in pair)


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What FitDiT knows beside the noisy latent.

    Without its garment a sample has a garment latent of zeros and a pooled embedding of zeros, as
    in the published guidance; mask, person and body map stay.
    """

    known: Tensor  # (B, C + 1, h, w) joins the noisy latent along channels: masked person, mask
    body: Tensor  # (B, L, D) tokens of the body map
    garment: Tensor  # (B or 1, C, h, w) clean latent
    pooled: Tensor  # (B or 1, P)
    empty: bool = False  # no sample sees its garment
    run: RunMemory | None = None  # of all pictures of a sampling run
    picture: RunMemory | None = None  # of the steps of these pictures

    def unconditional(self) -> "Conditioning":
        one = slice(1 if self.run is not None else None)  # one empty garment is as good as many
        nothing = (torch.zeros_like(each[one]) for each in (self.garment, self.pooled))
        garment, pooled = nothing
        return replace(self, garment=garment, pooled=pooled, empty=True)

    def drop(self, dropped: Tensor) -> "Conditioning":
        kept = (~dropped).to(self.garment)
        garment, pooled = self.garment * kept.view(-1, 1, 1, 1), self.pooled * kept.view(-1, 1)
        return replace(self, garment=garment, pooled=pooled)
