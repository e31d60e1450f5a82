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
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.weights import load_weights
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models import interface
from leffa.models.attention import AttentionExchange
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator, Picture, grid_of, reference_features
from leffa.models.loading import (
    Autoencoder,
    Source,
    is_flow_matching,
    load_scheduler,
    load_unet,
    load_vae,
)
from leffa.models.lora import add_lora, check_lora, merge_adapters, without_adapters
from leffa.models.memory import RunMemory
from leffa.models.unets import make_generative, make_reference

SDXL_TEXT = 2048  # width of SDXL's text features: how an SDXL base is known

Part = Literal["mask", "masked_source", "densepose"]

# As in the official checkpoints: noisy 4, mask 1, masked source 4, densepose 3 = 12 channels.
PARTS: tuple[Part, ...] = ("mask", "masked_source", "densepose")

Features = dict[str, Tensor]


@dataclass
class ReferenceTokens:
    """What the generative UNet reads of references at one timestep, by layer name."""

    features: Features  # (B or 1, L, C)
    projected: dict[str, tuple[Tensor, Tensor]] | None = None  # see `AttentionExchange`

    @property
    def nbytes(self) -> int:
        projected = (self.projected or {}).values()
        tensors = (*self.features.values(), *(tensor for pair in projected for tensor in pair))
        return sum(tensor.nbytes for tensor in tensors)


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What Leffa knows beside the noisy latent.

    With a memory, all samples of a prediction must have one timestep, as in sampling.
    """

    concat: Tensor  # (B, K, h, w) joins the noisy latent along channels, in the order of `PARTS`
    reference: Tensor  # (B, C, h, w) clean latent of the reference; zeros: none; B may be 1
    empty: bool = False  # the reference is zeros in every sample
    frozen_at: int | None = None  # the reference UNet's timestep; None: that of each prediction
    run: RunMemory | None = None  # of all pictures of a sampling run
    picture: RunMemory | None = None  # of the steps of these pictures

    @property
    def shared(self) -> bool:
        """Whether other pictures of the run need the features of this reference."""
        run = self.run
        return run is not None and run.limit > 0 and (self.empty or run.one_reference)

    def unconditional(self) -> "Conditioning":
        # One empty reference is as good as many where it is evaluated at one timestep.
        one = self.run is not None or self.frozen_at is not None
        reference = self.reference[:1] if one else self.reference
        return replace(self, reference=torch.zeros_like(reference), empty=True)

    def drop(self, dropped: Tensor) -> "Conditioning":
        kept = (~dropped).to(self.reference).view(-1, 1, 1, 1)
        return replace(self, reference=self.reference * kept)


class LeffaModel(LatentGenerator):
    """The two-UNet model; both UNets are trained, the autoencoder is frozen.

    Args:
        vae, reference_unet, generative_unet: already fitted together, see `build`.
        scheduler_config: see `LatentGenerator`.
        parts: what is concatenated to the noisy latent. All three: the official 12 channels; the
            paper's: 9 without "densepose" for try-on, 7 with only "densepose" for pose.
    """

    def __init__(
        self,
        vae: Autoencoder,
        reference_unet: torch.nn.Module,
        generative_unet: torch.nn.Module,
        scheduler_config: dict[str, Any],
        parts: tuple[Part, ...] = PARTS,
    ) -> None:
        super().__init__(vae, scheduler_config)
        self.reference_unet = reference_unet
        self.generative_unet = generative_unet
        self.parts = tuple(part for part in PARTS if part in parts)

    @classmethod
    def build(
        cls,
        unet: Source,
        vae: Source,
        scheduler: Source,
        parts: tuple[Part, ...] | list[Part] = PARTS,
        gradient_checkpointing: bool = False,
        zero_terminal_snr: bool = False,
        lora: dict[str, Any] | None = None,
    ) -> "LeffaModel":
        """Both UNets start from the same base, see `loading.Source`.

        A base with inpainting channels (noisy 4, mask 1, masked source 4) keeps their weights where
        `parts` begins with both; every further input channel starts at zero.

        Args:
            zero_terminal_snr: rescale the noise schedule so that its last step is pure noise, as
                the released code does on SDXL.
            lora: `rank` and `alpha` of adapters; the UNets are frozen then. None trains all.
        """
        if unknown := sorted(set(parts) - set(PARTS)):
            raise ValueError(f"model.parts: unknown {unknown}; known are {', '.join(PARTS)}")
        schedule = dict(load_scheduler(scheduler).config)
        if zero_terminal_snr and is_flow_matching(schedule):
            raise ValueError(
                "model.zero_terminal_snr=true: is of diffusion, and the backbone's scheduler is of "
                "flow matching, which begins with pure noise; leave it at false"
            )
        if lora is not None:
            check_lora(**lora)
        autoencoder = load_vae(vae)
        latent = autoencoder.config.latent_channels
        channels = input_channels(latent, parts)
        # A new network has nothing to keep: all its inputs are born alike.
        inpainting = isinstance(unet, dict) or {"mask", "masked_source"} <= set(parts)
        reference = make_reference(load_unet(unet, latent), latent)
        generative = make_generative(
            load_unet(unet, channels), channels, keep=None if inpainting else latent
        )
        if gradient_checkpointing:
            reference.enable_gradient_checkpointing()
            generative.enable_gradient_checkpointing()
        if lora is not None:
            add_lora((reference, generative), **lora)
        if zero_terminal_snr:
            schedule["rescale_betas_zero_snr"] = True
        return cls(autoencoder, reference, generative, schedule, tuple(parts))

    def load_published(self, place: Path) -> None:
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
        from leffa.models.checkpoints import save_official

        merge_adapters((self.reference_unet, self.generative_unet))
        save_official(self, place)

    @property
    def pictures(self) -> tuple[Picture, ...]:  # type: ignore[override]  # `parts` decides
        return ("source", "reference", *(p for p in self.parts if p == "masked_source"))

    @property
    def inputs(self) -> frozenset[Input]:  # type: ignore[override]  # `parts` decides
        return frozenset("densepose" if part == "densepose" else "mask" for part in self.parts)

    def excluded_keys(self) -> frozenset[str]:
        """Only the autoencoder's: UNets that low-rank adapters leave frozen are saved whole."""
        return frozenset(key for key in self.state_dict() if key.startswith("vae."))

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        size = self.latent_shape(batch)[1:]
        planes = {
            "mask": F.interpolate(batch["mask"], size=size, mode="nearest"),
            "densepose": F.interpolate(batch["densepose"], size=size, mode="nearest"),
        }
        if "masked_source" in self.parts:
            planes["masked_source"] = self.latent(batch, "masked_source", generator, sample)
        reference = self.latent(batch, "reference", generator, sample)
        return Conditioning(torch.cat([planes[part] for part in self.parts], dim=1), reference)

    def reference_features(self, latent: Tensor, timesteps: Tensor) -> Features:
        """See `latent.reference_features`."""
        return reference_features(self.reference_unet, latent, timesteps)

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each model is given its own conditioning
        flow: FlowRequest | None = None,
    ) -> Prediction:
        return self._predict(noisy, timesteps, (conditioning,), flow)

    def predict_branches(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],  # type: ignore[override]
    ) -> list[Tensor]:
        """All in one batch: a network's weights are read once."""
        together = self._predict(noisy, timesteps, branches)
        return list(together.noise.chunk(len(branches)))

    def _predict(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],
        flow: FlowRequest | None = None,
    ) -> Prediction:
        tokens = self._reference_tokens(branches, timesteps)
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

    def attach_cache(self, conditioning: Conditioning, memory: RunMemory) -> Conditioning:  # type: ignore[override]
        reference = conditioning.reference[:1] if memory.one_reference else conditioning.reference
        return replace(conditioning, reference=reference, run=memory)

    def freeze_reference(self, conditioning: Conditioning, timestep: int) -> Conditioning:  # type: ignore[override]
        """The official "ref_acceleration": features of one timestep serve all steps, and are
        evaluated when they are first needed."""
        picture = RunMemory(limit=math.inf)  # few: one timestep
        return replace(conditioning, frozen_at=timestep, picture=picture)

    def _reference_tokens(
        self, branches: Sequence[Conditioning], timesteps: Tensor
    ) -> ReferenceTokens:
        """Of all branches, one after the other along the batch."""
        kept, frozen_at = branches[0].picture, branches[0].frozen_at
        at = timesteps if frozen_at is None else torch.full_like(timesteps, frozen_at)
        if kept is None:
            return ReferenceTokens(self._features(branches, at))
        key = tuple(branch.empty for branch in branches)
        return kept.get_or_compute(
            key, lambda: ReferenceTokens(dict(self._features(branches, at)), {})
        )

    def _features(self, branches: Sequence[Conditioning], timesteps: Tensor) -> Features:
        if len(branches) == 1:
            return self._features_of_one(branches[0], timesteps)
        if any(branch.shared for branch in branches):
            parts = [self._features_of_one(branch, timesteps) for branch in branches]
        else:
            counts = [len(branch.reference) for branch in branches]
            together = self.reference_features(
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
            return ReferenceTokens(self.reference_features(latent, timesteps[: len(latent)]))

        if branch.run is None or not branch.shared:
            return compute().features
        key = (float(timesteps[0]), branch.empty, latent.shape, latent.dtype, latent.device)
        return branch.run.get_or_compute(key, compute).features


def input_channels(latent: int, parts: Sequence[str]) -> int:
    """Of the generative UNet: the noisy latent, and what joins it."""
    channels = {"mask": 1, "masked_source": latent, "densepose": 3}
    return latent + sum(channels[part] for part in set(parts))
