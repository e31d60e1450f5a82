"""What FitDiT knows of a person and a garment beside the noisy latent."""

from dataclasses import dataclass

from torch import Tensor

from leffa.models.reference import ReferenceConditioning


@dataclass(frozen=True)
class Conditioning(ReferenceConditioning):
    """What FitDiT knows beside the noisy latent.

    Without its garment a sample has a garment latent of zeros and a pooled embedding of zeros, as
    in the published guidance; mask, person and body map stay.
    """

    references = ("garment", "pooled")
    known: Tensor  # (B, C + 1, h, w) joins the noisy latent along channels: masked person, mask
    body: Tensor  # (B, L, D) tokens of the body map
    garment: Tensor  # (B or 1, C, h, w) clean latent
    pooled: Tensor  # (B or 1, P)
