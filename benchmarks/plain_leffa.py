"""Leffa's sampling as a straightforward loop does it: what `inference_speed.py` compares with.

Written from the description of the released pipeline, over stock diffusers UNets and our weights:
each step runs the whole reference UNet on a batch of [no reference; reference], and every
self-attention of the generative UNet takes the tokens of person and reference together, as queries
too, and throws the reference's half of the result away.
"""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

from leffa.models.leffa import LeffaModel
from leffa.models.unets import stock_unet


class JointAttention(nn.Module):
    """Full self-attention over person and reference; the person's half is kept."""

    def __init__(self, attention: Attention, features: dict[str, Tensor], name: str) -> None:
        super().__init__()
        self.attention, self.features, self.name = attention, features, name

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        tokens = torch.cat([hidden_states, self.features[self.name]], dim=1)
        return self.attention(tokens)[:, : hidden_states.shape[1]]


class SkippedText(nn.Module):
    """The released "skipped" text attention: its input comes back."""

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        return hidden_states


class PlainLeffa:
    """The two UNets of a model, sharing its weights, in the plain way."""

    def __init__(self, model: LeffaModel) -> None:
        self.model = model
        self.features: dict[str, Tensor] = {}
        self.reference_unet = self._without_text(stock_unet(model.reference_unet))
        self.generative_unet = self._without_text(stock_unet(model.generative_unet))
        for name, attention in self._attentions(self.reference_unet):
            attention.register_forward_pre_hook(self._recorder(name))
        for name, attention in self._attentions(self.generative_unet):
            block = self.generative_unet.get_submodule(name.removesuffix(".attn1"))
            block.attn1 = JointAttention(attention, self.features, name)

    @torch.no_grad()
    def guided_noise(
        self, latents: Tensor, timestep: Tensor, concat: Tensor, reference: Tensor, guidance: float
    ) -> Tensor:
        """The guided prediction (B, C, h, w)."""
        self.record(reference, timestep)
        return self.guided_noise_of_record(latents, timestep, concat, guidance)

    @torch.no_grad()
    def record(self, reference: Tensor, timestep: Tensor) -> None:
        """Run the reference UNet over both halves and keep what it records."""
        self.reference_unet(
            torch.cat([torch.zeros_like(reference), reference]),
            timestep,
            encoder_hidden_states=None,
        )

    @torch.no_grad()
    def guided_noise_of_record(
        self, latents: Tensor, timestep: Tensor, concat: Tensor, guidance: float
    ) -> Tensor:
        """The guided prediction with the features that `record` kept last."""
        inputs = torch.cat([latents, concat], dim=1)
        noise = self.generative_unet(
            torch.cat([inputs, inputs]), timestep, encoder_hidden_states=None
        ).sample
        unconditional, conditional = noise.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def _recorder(self, name: str) -> Any:
        def record(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.features[name] = inputs[0]

        return record

    @staticmethod
    def _attentions(unet: UNet2DConditionModel) -> list[tuple[str, Attention]]:
        return [(name, m) for name, m in unet.named_modules() if name.endswith(".attn1")]

    @staticmethod
    def _without_text(unet: UNet2DConditionModel) -> UNet2DConditionModel:
        unet.set_attn_processor(AttnProcessor2_0())
        for name in [name for name, _ in unet.named_modules()]:
            if name.endswith(".attn2"):
                unet.get_submodule(name.removesuffix(".attn2")).attn2 = SkippedText()
        return unet
