"""FitDiT behind the interface of all models.

conditioning = model.encode(batch)          what is known of the person and of the garment
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
prediction.noise, prediction.flows["transformer_blocks.0.attn"]
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators, check_choice
from leffa.models.attention import AttentionExchange, ReferenceAttention
from leffa.models.fitdit.networks import (
    PATCH,
    RecordingAttention,
    freeze_unread,
)
from leffa.models.fitdit.published import (
    load_encoders,
    load_guider,
    load_transformer,
    save_published,
)
from leffa.models.interface import Input, Prediction
from leffa.models.latent import Picture, grid_of, network_input
from leffa.models.loading import Autoencoder, Source
from leffa.models.lora import add_lora, check_lora, merge_adapters
from leffa.models.memory import RunMemory
from leffa.models.reference import ReferenceConditioning, ReferenceGenerator, ReferenceTokens
from leffa.models.trainable import (
    check_trainable,
    checkpoint_gradients,
    freeze_all_but,
)

Part = Literal["garment", "denoiser", "pose_guider"]
PARTS: tuple[Part, ...] = ("garment", "denoiser", "pose_guider")
Denoised = Literal["person", "garment"]
Pooled = Literal["clip", "none"]


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


class FitDiT(ReferenceGenerator):
    """The garment network, the denoising network and the pose guider; see `published`.

    Args:
        garment, denoiser, pose_guider: they fit each other and the autoencoder.
        pooled: what stands in the place of the pooled text: "clip", the embeddings of the
            garment's image by the encoders of `clip`; or "none", zeros.
        trainable: which of `PARTS` are trained.
        denoises: "garment": the first of the published stages, in which the garment network learns
            to denoise garments, alone and unconditioned.
        lora: `rank` and `alpha` of adapters on the transformers of `trainable`, which are
            frozen then. None trains them whole.

    Raises:
        FileNotFoundError: there is no such base.
        ValueError: another base, sizes that do not fit, or options that exclude each other.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference", "masked_source")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask", "densepose"})
    patch_size: ClassVar[int] = PATCH
    needs_flow_matching: ClassVar[bool] = True
    published_base = "fitdit_published"

    def __init__(
        self,
        garment: Source,
        denoiser: Source,
        pose_guider: str | Path | Sequence[int],
        vae: Source | Autoencoder,
        scheduler: Source,
        pooled: Pooled = "none",
        clip: Sequence[str | Path] = (),
        trainable: Sequence[Part] = PARTS,
        denoises: Denoised = "person",
        lora: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        check_choice("model.pooled", pooled, get_args(Pooled))
        check_choice("model.denoises", denoises, get_args(Denoised))
        sources: dict[str, Any] = dict(zip(PARTS, (garment, denoiser, pose_guider), strict=True))
        trained = trainable if denoises == "person" else ("garment",)
        check_trainable(trainable, sources if denoises == "person" else dict.fromkeys(PARTS))
        if not set(trained) <= set(trainable):
            raise ValueError(
                "model.denoises=garment: trains the garment network; add it to trainable"
            )
        if lora is not None:
            check_lora(**lora)
        super().__init__(vae, scheduler)
        latent = self.latent_channels
        self.garment = load_transformer(garment, latent, latent)
        self.denoiser = load_transformer(denoiser, 2 * latent + 1, latent)
        self.pose_guider = load_guider(pose_guider, self.denoiser.width)
        width = self.denoiser.config.pooled_projection_dim
        self.encoders = load_encoders(clip, width) if pooled == "clip" else None
        self.denoises = denoises
        _check_fit(self)
        networks = {"garment": self.garment, "denoiser": self.denoiser}
        checkpoint_gradients(gradient_checkpointing, *networks.values())
        if lora is not None:
            add_lora([networks[part] for part in networks if part in trainable], **lora)
        freeze_all_but(self, trained, PARTS)
        self.garment.attend_by(RecordingAttention)
        if denoises == "person":
            self.denoiser.attend_by(ReferenceAttention)
            freeze_unread(self.garment)

    def save_published(self, place: Path) -> None:
        """Write the folder that its authors publish; adapters are merged into the weights first."""
        merge_adapters((self.garment, self.denoiser))
        networks = {"transformer_garm": self.garment, "transformer_vton": self.denoiser}
        save_published(place, networks, self.pose_guider, self.vae, self.scheduler_config)

    def excluded_keys(self) -> frozenset[str]:
        """Those of the autoencoder and of CLIP: what one stage leaves frozen the one before it may
        have trained."""
        return frozenset(key for key in self.state_dict() if key.startswith(("vae.", "encoders.")))

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        """(C, h, w); raises ValueError beyond the positions that the network knows."""
        shape = super().latent_shape(batch)
        most = self.denoiser.config.pos_embed_max_size * PATCH
        if max(shape[1:]) > most:
            height, width = batch["source"].shape[-2:]
            raise ValueError(
                f"images of {height}x{width}: this network supports positions up to "
                f"{most * self.downscale} pixels per side"
            )
        return shape

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """Masked person and mask, garment latent (B, C, h, w), body tokens and pooled embedding."""
        size = self.latent_shape(batch)[1:]
        mask = F.interpolate(batch["mask"], size=size, mode="nearest")
        person = self.latent(batch, "masked_source", generator, sample)
        garment = self.latent(batch, "reference", generator, sample)
        if self.encoders is None:
            pooled = garment.new_zeros(len(garment), self.denoiser.config.pooled_projection_dim)
        else:
            pooled = at_least_float32(self.encoders(batch["reference"]))
        body = self.pose_guider(network_input(self.pose_guider, batch["densepose"]))
        return Conditioning(torch.cat([person, mask], dim=1), body, garment, pooled)

    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """The latent (B, C, h, w) of the person, or of the garment in the first stage."""
        picture: Picture = "source" if self.denoises == "person" else "reference"
        return self.latent(batch, picture, generator, sample)

    def garment_tokens(self, garment: Tensor, pooled: Tensor) -> ReferenceTokens:
        """What the garment network records of clean latents (B, C, h, w)."""
        exchange = AttentionExchange(projected={})
        network = self.garment
        latent, vector = network_input(network, garment), network_input(network, pooled)
        timesteps = latent.new_zeros(len(latent))
        network(latent, timesteps, vector, exchange, predict=False)
        return ReferenceTokens(projected=exchange.projected)

    def attach_cache(self, conditioning: Conditioning, memory: RunMemory) -> Conditioning:  # type: ignore[override]
        """The garment network runs once for all steps: its timestep is 0."""
        return conditioning.attach(memory, picture=RunMemory(limit=math.inf))  # one entry

    def predict_together(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """All branches in one batch; the velocity is (branches * B, C, h, w)."""
        count, all_timesteps = len(noisy), timesteps.repeat(len(branches))
        pooled = torch.cat([branch.pooled.expand(count, -1) for branch in branches])
        if self.denoises == "garment":
            inputs = torch.cat([noisy] * len(branches))
            exchange = AttentionExchange()
            network, body = self.garment, None
        else:
            inputs = torch.cat([torch.cat([noisy, branch.known], dim=1) for branch in branches])
            network, body = self.denoiser, torch.cat([branch.body for branch in branches])
            exchange = AttentionExchange(
                projected=dict(self.reference_tokens(branches, timesteps).projected or {}),
                image_height=noisy.shape[-2] * self.downscale,
                grid=grid_of(noisy),
                reference_grid=grid_of(noisy),
                request=flow,
            )
        latent, vector = network_input(network, inputs), network_input(network, pooled)
        return exchange.prediction(network(latent, all_timesteps, vector, exchange, body))

    def read_references(
        self, branches: Sequence[Conditioning], timesteps: Tensor
    ) -> ReferenceTokens:
        """The garment network's keys and values by layer, (B, L, C) with all branches along B."""
        parts = [self._tokens_of_one(branch).projected or {} for branch in branches]
        if len(parts) == 1:
            return ReferenceTokens(projected=parts[0])

        def joined(name: str, which: int) -> Tensor:
            return torch.cat([each[name][which].expand(len(timesteps), -1, -1) for each in parts])

        return ReferenceTokens(
            projected={name: (joined(name, 0), joined(name, 1)) for name in parts[0]}
        )

    def _tokens_of_one(self, branch: Conditioning) -> ReferenceTokens:
        garment, pooled = branch.garment, branch.pooled
        return branch.get_or_compute(lambda: self.garment_tokens(garment, pooled))


def _check_fit(model: FitDiT) -> None:
    """The networks exchange keys and values block by block; a pose token stands for a patch."""
    garment, denoiser = model.garment.config, model.denoiser.config
    for key in ("num_layers", "num_attention_heads", "attention_head_dim", "pooled_projection_dim"):
        if garment[key] != denoiser[key]:
            raise ValueError(
                f"model.garment has {key}={garment[key]}, model.denoiser {denoiser[key]}: both "
                "must be of one shape"
            )
    if (cell := model.pose_guider.downscale) != model.downscale:
        raise ValueError(
            f"model.pose_guider: halves the image to 1/{cell}, and a latent cell is "
            f"{model.downscale} pixels; give it another number of widths"
        )
