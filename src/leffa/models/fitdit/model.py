"""FitDiT behind the interface of all models.

conditioning = model.encode(batch)          what is known of the person and of the garment
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
prediction.noise, prediction.flows["transformer_blocks.0.attn"]
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models.attention import AttentionExchange, ReferenceAttention
from leffa.models.fitdit.conditioning import Conditioning, GarmentTokens
from leffa.models.fitdit.networks import (
    PATCH,
    PooledEncoders,
    PoseGuider,
    RecordingAttention,
    Transformer,
    freeze_unread,
)
from leffa.models.fitdit.published import (
    load_encoders,
    load_guider,
    load_transformer,
    save_published,
)
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator, Picture, grid_of, log_parameters, network_input
from leffa.models.loading import Autoencoder, Source, is_flow_matching, load_scheduler, load_vae
from leffa.models.lora import add_lora, check_lora, merge_adapters
from leffa.models.memory import RunMemory

Part = Literal["garment", "denoiser", "pose_guider"]
PARTS: tuple[Part, ...] = ("garment", "denoiser", "pose_guider")
Denoised = Literal["person", "garment"]


class FitDiT(LatentGenerator):
    """The garment network, the denoising network and the pose guider.

    Args:
        garment, denoiser, pose_guider: they fit each other and the autoencoder, see `build`.
        encoders: give the pooled embedding of the garment; None for zeros.
        trainable: which of `PARTS` are trained.
        denoises: "garment": the first of the published stages, in which the garment network learns
            to denoise garments, alone and unconditioned.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference", "masked_source")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask", "densepose"})
    patch_size: ClassVar[int] = PATCH

    def __init__(
        self,
        vae: Autoencoder,
        garment: Transformer,
        denoiser: Transformer,
        pose_guider: PoseGuider,
        scheduler_config: dict[str, Any],
        encoders: PooledEncoders | None = None,
        trainable: Sequence[Part] = PARTS,
        denoises: Denoised = "person",
    ) -> None:
        super().__init__(vae, scheduler_config)
        self.garment = garment
        self.denoiser = denoiser
        self.pose_guider = pose_guider
        self.encoders = encoders
        self.denoises = denoises
        for part in PARTS:
            if part not in trainable or (denoises == "garment" and part != "garment"):
                self.get_submodule(part).requires_grad_(False)
        garment.attend_by(RecordingAttention)
        if denoises == "person":
            denoiser.attend_by(ReferenceAttention)
            freeze_unread(garment)

    @classmethod
    def build(
        cls,
        garment: Source,
        denoiser: Source,
        pose_guider: str | Path | Sequence[int],
        vae: Source,
        scheduler: Source,
        pooled: Literal["clip", "none"] = "none",
        clip: Sequence[str | Path] = (),
        trainable: Sequence[Part] = PARTS,
        denoises: Denoised = "person",
        lora: dict[str, Any] | None = None,
        gradient_checkpointing: bool = False,
    ) -> "FitDiT":
        """From pretrained networks, or from configs with random weights; see `published`.

        Args:
            pooled: what stands in the place of the pooled text: "clip", the embeddings of the
                garment's picture by the encoders of `clip`; or "none", zeros.
            lora: `rank` and `alpha` of adapters on the transformers of `trainable`, which are
                frozen then. None trains them whole.

        Raises:
            FileNotFoundError: there is no such base.
            ValueError: another base, sizes that do not fit, or options that exclude each other.
        """
        _check_options(pooled, trainable, denoises)
        sources = {"garment": garment, "denoiser": denoiser}
        for part, source in sources.items():
            if isinstance(source, dict) and part not in trainable and denoises == "person":
                raise ValueError(
                    f"model.{part}: a config gives random weights, and it is frozen; give a "
                    f"pretrained one, or add {part} to model.trainable"
                )
        if lora is not None:
            check_lora(**lora)
        config = dict(load_scheduler(scheduler).config)
        if not is_flow_matching(config):
            raise ValueError(
                "model.scheduler: this model is trained by flow matching, and the backbone's "
                "scheduler is of diffusion; take backbone=fitdit or tiny_flow_matching"
            )
        autoencoder = load_vae(vae)
        latent = autoencoder.config.latent_channels
        networks = (
            load_transformer(garment, latent, latent),
            load_transformer(denoiser, 2 * latent + 1, latent),
        )
        guider = load_guider(pose_guider, networks[1].width)
        width = networks[1].config.pooled_projection_dim
        encoders = load_encoders(clip, width) if pooled == "clip" else None
        if lora is not None:
            add_lora(
                [n for n, part in zip(networks, PARTS, strict=False) if part in trainable], **lora
            )
        model = cls(autoencoder, *networks, guider, config, encoders, trainable, denoises)
        _check_fit(model)
        if gradient_checkpointing:
            for network in networks:
                network.enable_gradient_checkpointing()
        log_parameters(model)
        return model

    def load_published(self, place: Path) -> None:
        raise ValueError(
            f"{place}: a published FitDiT is a base: give backbone=fitdit_published "
            f"backbone.source={place} instead of start_from"
        )

    def save_published(self, place: Path) -> None:
        merge_adapters((self.garment, self.denoiser))
        networks = {"transformer_garm": self.garment, "transformer_vton": self.denoiser}
        save_published(place, networks, self.pose_guider, self.vae, self.scheduler_config)

    def excluded_keys(self) -> frozenset[str]:
        """Those of the autoencoder and of CLIP: what one stage leaves frozen the one before it may
        have trained."""
        return frozenset(key for key in self.state_dict() if key.startswith(("vae.", "encoders.")))

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        shape = super().latent_shape(batch)
        most = self.denoiser.config.pos_embed_max_size * PATCH
        if max(shape[1:]) > most:
            height, width = batch["source"].shape[-2:]
            raise ValueError(
                f"images of {height}x{width}: this network knows positions up to "
                f"{most * self.downscale} pixels a side"
            )
        return shape

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
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
        picture: Picture = "source" if self.denoises == "person" else "reference"
        return self.latent(batch, picture, generator, sample)

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
        return list(self._predict(noisy, timesteps, branches).noise.chunk(len(branches)))

    def attach_cache(self, conditioning: Conditioning, memory: RunMemory) -> Conditioning:  # type: ignore[override]
        """The garment network runs once for all steps: its timestep is 0."""
        one = slice(1 if memory.one_reference else None)
        return replace(
            conditioning,
            garment=conditioning.garment[one],
            pooled=conditioning.pooled[one],
            run=memory,
            picture=RunMemory(limit=math.inf),  # one entry
        )

    def garment_tokens(self, garment: Tensor, pooled: Tensor) -> GarmentTokens:
        """What the garment network records of clean latents (B, C, h, w)."""
        exchange = AttentionExchange(projected={})
        network = self.garment
        latent, vector = network_input(network, garment), network_input(network, pooled)
        timesteps = latent.new_zeros(len(latent))
        network(latent, timesteps, vector, exchange, predict=False)
        return GarmentTokens(cast(dict[str, tuple[Tensor, Tensor]], exchange.projected))

    def _predict(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],
        flow: FlowRequest | None = None,
    ) -> Prediction:
        count, timesteps = len(noisy), timesteps.repeat(len(branches))
        pooled = torch.cat([branch.pooled.expand(count, -1) for branch in branches])
        if self.denoises == "garment":
            inputs = torch.cat([noisy] * len(branches))
            exchange = AttentionExchange()
            network, body = self.garment, None
        else:
            inputs = torch.cat([torch.cat([noisy, branch.known], dim=1) for branch in branches])
            network, body = self.denoiser, torch.cat([branch.body for branch in branches])
            exchange = AttentionExchange(
                projected=dict(self._tokens(branches, count).projected),
                image_height=noisy.shape[-2] * self.downscale,
                grid=grid_of(noisy),
                reference_grid=grid_of(noisy),
                request=flow,
            )
        latent, vector = network_input(network, inputs), network_input(network, pooled)
        velocity = at_least_float32(network(latent, timesteps, vector, exchange, body))
        return Prediction(velocity, exchange.flows, exchange.sharpness, exchange.shares)

    def _tokens(self, branches: Sequence[Conditioning], count: int) -> GarmentTokens:
        """Of all branches, one after the other along the batch of `count` samples each."""

        def compute() -> GarmentTokens:
            parts = [self._tokens_of_one(branch).projected for branch in branches]
            if len(parts) == 1:
                return GarmentTokens(parts[0])

            def joined(name: str, which: int) -> Tensor:
                return torch.cat([part[name][which].expand(count, -1, -1) for part in parts])

            return GarmentTokens({name: (joined(name, 0), joined(name, 1)) for name in parts[0]})

        kept, key = branches[0].picture, tuple(branch.empty for branch in branches)
        return compute() if kept is None else kept.get_or_compute(key, compute)

    def _tokens_of_one(self, branch: Conditioning) -> GarmentTokens:
        garment = branch.garment

        def compute() -> GarmentTokens:
            return self.garment_tokens(garment, branch.pooled)

        run = branch.run
        if run is None or not (branch.empty or run.one_reference):
            return compute()
        key = (branch.empty, garment.shape, garment.dtype, garment.device)
        return run.get_or_compute(key, compute)


def _check_options(pooled: str, trainable: Sequence[str], denoises: str) -> None:
    if pooled not in ("clip", "none"):
        raise ValueError(f"model.pooled must be clip or none, got {pooled!r}")
    if denoises not in ("person", "garment"):
        raise ValueError(f"model.denoises must be person or garment, got {denoises!r}")
    if unknown := sorted(set(trainable) - set(PARTS)):
        raise ValueError(f"model.trainable: unknown {unknown[0]!r}; known are {', '.join(PARTS)}")
    if denoises == "garment" and "garment" not in trainable:
        raise ValueError("model.denoises=garment: trains the garment network; add it to trainable")


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
            f"model.pose_guider: halves the picture to 1/{cell}, and a latent cell is "
            f"{model.downscale} pixels; give it another number of widths"
        )
