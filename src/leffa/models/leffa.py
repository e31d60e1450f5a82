"""Leffa: an autoencoder, a reference UNet and a generative UNet (arXiv 2412.08486, section 3.1).

conditioning = model.encode(batch)                       latents of everything that is known
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
prediction.noise, prediction.flows["up_blocks.1.attentions.0.transformer_blocks.0.attn1"]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.weights import load_weights
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models.attention import AttentionExchange
from leffa.models.interface import Input, Prediction
from leffa.models.latent import Picture, grid_of, reference_features
from leffa.models.loading import Autoencoder, Source, is_flow_matching, load_scheduler, load_unet
from leffa.models.lora import add_lora, check_lora, merge_adapters, without_adapters
from leffa.models.memory import RunMemory
from leffa.models.reference import ReferenceConditioning, ReferenceGenerator, ReferenceTokens
from leffa.models.trainable import checkpoint_gradients
from leffa.models.unets import make_generative, make_reference

SDXL_TEXT = 2048  # width of SDXL's text features: how an SDXL base is known

Part = Literal["mask", "masked_source", "densepose"]

# As in the official checkpoints: noisy 4, mask 1, masked source 4, densepose 3 = 12 channels.
PARTS: tuple[Part, ...] = ("mask", "masked_source", "densepose")

Features = dict[str, Tensor]


@dataclass(frozen=True)
class Conditioning(ReferenceConditioning):
    """Leffa's inputs other than the noisy latent."""

    references = ("reference",)
    concat: Tensor  # (B, K, h, w) joins the noisy latent along channels, in the order of `PARTS`
    reference: Tensor  # (B, C, h, w) clean latent of the reference; zeros: none; B may be 1


class LeffaModel(ReferenceGenerator):
    """The two-UNet model; the autoencoder is frozen.

    A base with inpainting channels (noisy 4, mask 1, masked source 4) keeps their weights where
    `parts` begins with both; every further input channel starts at zero.

    Args:
        unet: where the generative UNet starts, and the reference UNet as well unless
            `reference_unet` is given. One that is built already is cut to its form.
        parts: what is concatenated to the noisy latent. All three: the official 12 channels; the
            paper's: 9 without "densepose" for try-on, 7 with only "densepose" for pose.
        zero_terminal_snr: rescale the noise schedule so that its last step is pure noise, as
            the released code does on SDXL.
        lora: `rank` and `alpha` of adapters; the UNets are frozen then. None trains all.
    """

    def __init__(
        self,
        unet: Source | UNet2DConditionModel,
        vae: Source | Autoencoder,
        scheduler: Source,
        parts: Sequence[Part] = PARTS,
        gradient_checkpointing: bool = False,
        zero_terminal_snr: bool = False,
        lora: dict[str, Any] | None = None,
        reference_unet: Source | UNet2DConditionModel | None = None,
    ) -> None:
        if unknown := sorted(set(parts) - set(PARTS)):
            raise ValueError(f"model.parts: unknown {unknown}; choose from {', '.join(PARTS)}")
        if zero_terminal_snr:
            scheduler = _zero_terminal(scheduler)
        if lora is not None:
            check_lora(**lora)
        super().__init__(vae, scheduler)
        self.parts = tuple(part for part in PARTS if part in parts)
        latent, channels = self.latent_channels, input_channels(self.latent_channels, parts)
        # A new network has no weights to keep: all its inputs start alike.
        inpainting = isinstance(unet, dict) or {"mask", "masked_source"} <= set(parts)
        reference = load_unet(unet if reference_unet is None else reference_unet, latent)
        self.reference_unet = make_reference(reference, latent)
        self.generative_unet = make_generative(
            load_unet(unet, channels), channels, keep=None if inpainting else latent
        )
        networks = self.reference_unet, self.generative_unet
        checkpoint_gradients(gradient_checkpointing, *networks)
        if lora is not None:
            add_lora(networks, **lora)

    def load_published(self, place: Path) -> None:
        """A released file of Leffa (`checkpoints.load_official`); adapters go on top of it."""
        # Imported here: the layout is written in terms of this class.
        from leffa.models.checkpoints import load_official_state

        width = cast(Any, self.generative_unet).config.cross_attention_dim
        if width == SDXL_TEXT and not self.scheduler_config.get("rescale_betas_zero_snr"):
            raise ValueError(
                f"{place}: released weights on SDXL were trained up to pure noise: "
                "add model.zero_terminal_snr=true"
            )
        with without_adapters(self):
            load_official_state(self, load_weights(place), name=str(place))

    def save_published(self, place: Path) -> None:
        """Write a file in the released layout; adapters are merged into the weights first."""
        from leffa.models.checkpoints import save_official

        merge_adapters((self.reference_unet, self.generative_unet))
        save_official(self, place)

    @property
    def pictures(self) -> tuple[Picture, ...]:  # type: ignore[override]  # `parts` decides
        """What the autoencoder encodes: source and reference, and the masked source if a part."""
        return ("source", "reference", *(p for p in self.parts if p == "masked_source"))

    @property
    def inputs(self) -> frozenset[Input]:  # type: ignore[override]  # `parts` decides
        """The inputs beside the two images that its `parts` need."""
        return frozenset("densepose" if part == "densepose" else "mask" for part in self.parts)

    def excluded_keys(self) -> frozenset[str]:
        """Only the autoencoder's: UNets frozen by low-rank adapters are saved, too."""
        return frozenset(key for key in self.state_dict() if key.startswith("vae."))

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """Planes (B, K, h, w) that join the noisy latent, and the reference latent (B, C, h, w)."""
        size = self.latent_shape(batch)[1:]
        planes = {
            "mask": F.interpolate(batch["mask"], size=size, mode="nearest"),
            "densepose": F.interpolate(batch["densepose"], size=size, mode="nearest"),
        }
        if "masked_source" in self.parts:
            planes["masked_source"] = self.latent(batch, "masked_source", generator, sample)
        reference = self.latent(batch, "reference", generator, sample)
        return Conditioning(torch.cat([planes[part] for part in self.parts], dim=1), reference)

    def predict_together(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """All branches in one batch; the noise is (branches * B, C, h, w)."""
        tokens = self.reference_tokens(branches, timesteps)
        exchange = AttentionExchange(
            features=tokens.features,
            projected=tokens.projected,
            image_height=noisy.shape[-2] * self.downscale,
            grid=grid_of(noisy),
            reference_grid=grid_of(branches[0].reference),
            request=flow,
        )
        inputs = torch.cat([torch.cat([noisy, branch.concat], dim=1) for branch in branches])
        timesteps = timesteps.repeat(len(branches))
        return self.evaluate(self.generative_unet, inputs, timesteps, exchange)

    def freeze_reference(self, conditioning: Conditioning, timestep: int) -> Conditioning:  # type: ignore[override]
        """The official "ref_acceleration": features of one timestep serve all steps, and are
        evaluated when they are first needed."""
        picture = RunMemory(limit=math.inf)  # few: one timestep
        return replace(conditioning, frozen_at=timestep, picture=picture)

    def read_references(
        self, branches: Sequence[Conditioning], timesteps: Tensor
    ) -> ReferenceTokens:
        """Features by layer, (B, L, C) with all branches along B."""
        at = branches[0].frozen_at
        timesteps = timesteps if at is None else torch.full_like(timesteps, at)
        features = self._features(branches, timesteps)
        if branches[0].picture is None:
            return ReferenceTokens(features)
        return ReferenceTokens(dict(features), {})  # their projections are kept as well

    def _features(self, branches: Sequence[Conditioning], timesteps: Tensor) -> Features:
        if len(branches) == 1:
            return self._features_of_one(branches[0], timesteps)
        if any(branch.shared for branch in branches):
            parts = [self._features_of_one(branch, timesteps) for branch in branches]
        else:
            counts = [len(branch.reference) for branch in branches]
            together = reference_features(
                self.reference_unet,
                torch.cat([branch.reference for branch in branches]),
                torch.cat([timesteps[:count] for count in counts]),
            )
            split = {name: feature.split(counts) for name, feature in together.items()}
            parts = [{name: split[name][index] for name in split} for index in range(len(branches))]
        return {
            name: torch.cat([part[name].expand(len(timesteps), -1, -1) for part in parts])
            for name in parts[0]
        }

    def _features_of_one(self, branch: Conditioning, timesteps: Tensor) -> Features:
        latent = branch.reference

        def compute() -> ReferenceTokens:
            at = timesteps[: len(latent)]
            return ReferenceTokens(reference_features(self.reference_unet, latent, at))

        return branch.get_or_compute(compute, timesteps).features


def _zero_terminal(scheduler: Source) -> dict[str, Any]:
    """The config of a scheduler whose last step is pure noise."""
    config = dict(load_scheduler(scheduler).config)
    if is_flow_matching(config):
        raise ValueError(
            "model.zero_terminal_snr=true: is for diffusion, but the backbone's scheduler is for "
            "flow matching, which starts from pure noise anyway; leave it at false"
        )
    return {**config, "rescale_betas_zero_snr": True}


def input_channels(latent: int, parts: Sequence[str]) -> int:
    """Input channels of the generative UNet: the noisy latent, and what joins it."""
    channels = {"mask": 1, "masked_source": latent, "densepose": 3}
    return latent + sum(channels[part] for part in set(parts))
