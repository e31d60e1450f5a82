"""CFLD behind the interface of every model.

conditioning = model.encode(batch)         the prompt, the biases and the pose's residuals
prediction = model.predict_noise(noisy, t, conditioning)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators, check_choice, draw
from leffa.models import interface
from leffa.models.cfld.appearance import AppearanceBiases
from leffa.models.cfld.attention import (
    PromptExchange,
    Trainable,
    adapted_channels,
    prepare_unet,
)
from leffa.models.cfld.decoder import PerceptionDecoder
from leffa.models.cfld.encoder import SourceEncoder, load_encoder
from leffa.models.cfld.pose import PoseAdapter
from leffa.models.cfld.published import load_published
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator, Picture, grid_of
from leffa.models.loading import Autoencoder, Source
from leffa.models.trainable import checkpoint_gradients
from leffa.models.unets import load_partly_trained

POSE_CHANNELS = 21  # skeleton 3, heat maps 18


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What CFLD knows beside the noisy latent."""

    prompt: Tensor  # (B, K, D) of the reference
    no_prompt: Tensor  # (1, K, D) learnt; stands for no reference
    pose: tuple[Tensor, ...]  # (B, C, h, w) of each down block; empty: no pose
    biases: Mapping[str, Tensor]  # (B, L, C) by layer name; empty: no detail of the reference
    places: Tensor  # (B, K, 2) where in the reference the prompt tokens looked
    pose_guidance: float
    drop_biases: bool = False

    def unconditional(self) -> "Conditioning":
        return replace(self._pose_only(), pose=())

    def drop(self, dropped: Tensor) -> "Conditioning":
        """The pose stays, and so do the biases unless `drop_biases`."""
        prompt = torch.where(dropped.view(-1, 1, 1), self.no_prompt, self.prompt)
        biases = self.biases
        if self.drop_biases:
            kept = ~dropped.view(-1, 1, 1)
            biases = {name: bias * kept for name, bias in biases.items()}
        return replace(self, prompt=prompt, biases=biases)

    def branches(self, guidance: float) -> list[tuple[float, "Conditioning"]]:
        """e_uncond + w_pose (e_pose - e_uncond) + w (e_full - e_pose), where w is `guidance`; no
        branch has weight 0."""
        weighted = [
            (1.0 - self.pose_guidance, self.unconditional()),
            (self.pose_guidance - guidance, self._pose_only()),
            (guidance, self),
        ]
        return [(weight, branch) for weight, branch in weighted[:2] if weight] + weighted[2:]

    def _pose_only(self) -> "Conditioning":
        return replace(self, prompt=self.no_prompt.expand_as(self.prompt), biases={})


class CFLD(LatentGenerator):
    """Coarse-to-fine latent diffusion.

    Args:
        unet: a base without inpainting, which gets its attention here.
        encoder: of `SourceEncoder`, which sees the reference.
        decoder: queries, depth and heads of `PerceptionDecoder`; None for the published ones.
        appearance_depth: see `AppearanceBiases`.
        trainable: see `prepare_unet`; all the rest but the autoencoder is trained always.
        pose_guidance: scale of the pose in sampling; the sampler's own is that of the reference.
        reference_flip: probability that the encoder sees the mirrored reference, in training.
        drop_biases: a sample that loses its reference in training loses the biases too; published:
            only the prompt.
        encoder_weights: a Swin, see `load_encoder`; None leaves random weights.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source",)
    inputs: ClassVar[frozenset[Input]] = frozenset({"pose"})

    def __init__(
        self,
        unet: Source | UNet2DConditionModel,
        vae: Source | Autoencoder,
        scheduler: Source,
        encoder: dict[str, Any],
        decoder: dict[str, int] | None = None,
        appearance_depth: int = 4,
        trainable: Trainable = "prompt",
        pose_guidance: float = 2.0,
        reference_flip: float = 0.5,
        drop_biases: bool = False,
        encoder_weights: str | Path | None = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        if not 0 <= reference_flip <= 1:
            raise ValueError(f"model.reference_flip must lie in [0, 1], got {reference_flip}")
        check_choice("model.trainable", trainable, get_args(Trainable))
        super().__init__(vae, scheduler)
        network = load_partly_trained(unet, self.latent_channels, trainable, ("a latent", "sd15"))
        self.encoder = SourceEncoder(**encoder)
        layers, config = prepare_unet(network, trainable), network.config
        widths = self.encoder.channels
        self.decoder = PerceptionDecoder(
            config.cross_attention_dim, widths[-1], self.encoder.last_grid, **(decoder or {})
        )
        self.appearance = AppearanceBiases(layers, widths[:-1], appearance_depth)
        self.pose_adapter = PoseAdapter(
            POSE_CHANNELS, adapted_channels(network), config.norm_num_groups
        )
        self.no_prompt = nn.Parameter(torch.randn(1, *self.decoder.queries.shape))
        self.unet = network
        self.pose_guidance = pose_guidance
        self.reference_flip = reference_flip
        self.drop_biases = drop_biases
        checkpoint_gradients(gradient_checkpointing, network)
        self.encoder.swin.set_grad_checkpointing(gradient_checkpointing)
        self.appearance.gradient_checkpointing = gradient_checkpointing
        if encoder_weights is not None:
            load_encoder(self.encoder, encoder_weights)

    def load_published(self, place: Path) -> None:
        """The folder of a checkpoint of the authors: see `models.cfld.published`."""
        load_published(self, place)

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """Prompt (B, K, D), pose features and biases; in training, some references are mirrored."""
        if "pose" not in batch:
            raise ValueError("the batch has no pose: set pose=true in the data's transform")
        grid = self.latent_shape(batch)[1:]
        reference, mirrored = batch["reference"], None
        if sample and self.training and self.reference_flip:
            drawn = draw(torch.rand, (len(reference),), generator, reference.device)
            mirrored = drawn < self.reference_flip
            reference = torch.where(mirrored.view(-1, 1, 1, 1), reference.flip(-1), reference)
        self.encoder.draw_paths(len(reference), generator, reference.device)
        *stages, last = self.encoder(reference)
        prompt, places = self.decoder(last)
        if mirrored is not None:  # the flow is about the reference as the batch has it
            side = torch.where(mirrored, -1.0, 1.0).view(-1, 1)
            places = torch.stack([places[..., 0] * side, places[..., 1]], dim=-1)
        return Conditioning(
            prompt,
            self.no_prompt,
            self.pose_adapter(batch["pose"], grid),
            self.appearance(stages, grid),
            places,
            self.pose_guidance,
            self.drop_biases,
        )

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each model is given its own conditioning
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """Noise (B, C, h, w) at timesteps (B,); flows are those of the prompt attention."""
        exchange = PromptExchange(
            biases=conditioning.biases,
            places=conditioning.places,
            image_height=noisy.shape[-2] * self.downscale,
            grid=grid_of(noisy),
            request=flow,
        )
        return self.evaluate(
            self.unet,
            noisy,
            timesteps,
            exchange,
            conditioning.prompt,
            # A list of our own: the UNet empties it.
            down_intrablock_additional_residuals=list(conditioning.pose) or None,
        )
