"""CFLD behind the interface of every model.

conditioning = model.encode(batch)         the prompt, the biases and the pose's residuals
prediction = model.predict_noise(noisy, t, conditioning)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators, draw
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
from leffa.models.latent import LatentGenerator, Picture, grid_of, log_parameters
from leffa.models.loading import Autoencoder, Source, load_scheduler, load_vae
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
        unet: stock, with the channels of a latent; it gets its attention here.
        encoder: sees the reference.
        decoder: queries, depth and heads of `PerceptionDecoder`; None for the published ones.
        appearance_depth: see `AppearanceBiases`.
        trainable: see `prepare_unet`; all the rest but the autoencoder is trained always.
        pose_guidance: scale of the pose in sampling; the sampler's own is that of the reference.
        reference_flip: probability that the encoder sees the mirrored reference, in training.
        drop_biases: a sample that loses its reference in training loses the biases too; published:
            only the prompt.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source",)
    inputs: ClassVar[frozenset[Input]] = frozenset({"pose"})

    def __init__(
        self,
        vae: Autoencoder,
        unet: Any,
        encoder: SourceEncoder,
        scheduler_config: dict[str, Any],
        decoder: dict[str, int] | None = None,
        appearance_depth: int = 4,
        trainable: Trainable = "prompt",
        pose_guidance: float = 2.0,
        reference_flip: float = 0.5,
        drop_biases: bool = False,
    ) -> None:
        super().__init__(vae, scheduler_config)
        if not 0 <= reference_flip <= 1:
            raise ValueError(f"model.reference_flip must lie in [0, 1], got {reference_flip}")
        width, groups = unet.config.cross_attention_dim, unet.config.norm_num_groups
        layers = prepare_unet(unet, trainable)
        self.encoder = encoder
        self.decoder = PerceptionDecoder(
            width, encoder.channels[-1], encoder.last_grid, **(decoder or {})
        )
        self.appearance = AppearanceBiases(layers, encoder.channels[:-1], appearance_depth)
        self.pose_adapter = PoseAdapter(POSE_CHANNELS, adapted_channels(unet), groups)
        self.no_prompt = nn.Parameter(torch.randn(1, *self.decoder.queries.shape))
        self.unet = unet
        self.pose_guidance = pose_guidance
        self.reference_flip = reference_flip
        self.drop_biases = drop_biases

    @classmethod
    def build(
        cls,
        unet: Source,
        vae: Source,
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
    ) -> "CFLD":
        """From a base without inpainting, see `loading.Source`.

        Args:
            encoder: of `SourceEncoder`.
            encoder_weights: a Swin, see `load_encoder`; None leaves random weights.
        """
        autoencoder = load_vae(vae)
        channels = autoencoder.config.latent_channels
        network = load_partly_trained(unet, channels, trainable, ("a latent", "sd15"))
        model = cls(
            autoencoder,
            network,
            SourceEncoder(**encoder),
            dict(load_scheduler(scheduler).config),
            decoder,
            appearance_depth,
            trainable,
            pose_guidance,
            reference_flip,
            drop_biases,
        )
        if gradient_checkpointing:
            network.enable_gradient_checkpointing()
            model.encoder.swin.set_grad_checkpointing(True)
            model.appearance.gradient_checkpointing = True
        if encoder_weights is not None:
            load_encoder(model.encoder, encoder_weights)
        log_parameters(model)
        return model

    def load_published(self, place: Path) -> None:
        """The folder of a checkpoint of the authors: see `models.cfld.published`."""
        load_published(self, place)

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
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
