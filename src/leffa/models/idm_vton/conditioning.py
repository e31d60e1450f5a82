"""What IDM-VTON is told beside the noisy latent, and how it is told less."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from leffa.models import interface
from leffa.models.idm_vton.encoders import Prompt

Features = dict[str, Tensor]


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What IDM-VTON knows beside the noisy latent.

    Without its garment a sample has garment features of zeros, image tokens of no picture and the
    negative prompt, as in the published guidance.
    """

    concat: Tensor  # (B, 1 + 2C, h, w): mask, masked source, DensePose
    garment: Tensor | None  # (B, C, h, w) clean latent; None: no sample sees its garment
    seen: Tensor  # (B,) bool: which samples do
    image: Tensor  # (B, T, E) tokens of the garment's picture
    no_image: Tensor  # (1, T, E)
    prompt: Prompt  # of the person in the garment
    no_prompt: Prompt  # (1, ...)
    garment_prompt: Tensor  # (B, L, D)
    features: Features | None = None  # garment features, where one timestep's serve all steps

    def unconditional(self) -> "Conditioning":
        return replace(self.drop(torch.ones_like(self.seen)), garment=None)

    def drop(self, dropped: Tensor) -> "Conditioning":
        return replace(
            self,
            seen=self.seen & ~dropped,
            image=torch.where(dropped[:, None, None], self.no_image, self.image),
            prompt=self.no_prompt.where(dropped, self.prompt),
        )
