"""catvton-flux behind the interface of all models.

conditioning = model.encode(batch)          the masked pair, its mask
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
prediction.noise                            the velocity of both halves
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models import interface
from leffa.models.catvton_flux.attention import JointExchange, Tap
from leffa.models.catvton_flux.networks import Trainable, load_transformer, prepare
from leffa.models.catvton_flux.packing import (
    AXES,
    PATCH,
    beside,
    mask_cells,
    pack,
    positions,
    unpack,
)
from leffa.models.catvton_flux.text import Text, fixed_text
from leffa.models.interface import Input, Prediction
from leffa.models.latent import (
    LatentGenerator,
    Picture,
    cell_size,
    log_parameters,
    network_input,
)
from leffa.models.loading import (
    Autoencoder,
    Source,
    is_flow_matching,
    load_scheduler,
    load_vae,
)


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What the network knows beside the noisy pair.

    The scale of guidance is an input of a distilled network: there is one branch, the conditional
    one.
    """

    masked: Tensor  # (B, C, h, 2w) latent of [garment | masked person]
    mask: Tensor  # (B, M, h, 2w) its mask at full resolution, M pixels of each cell
    guidance: float | None  # what the network is told; None: it is not distilled

    def branches(self, guidance: float) -> list[tuple[float, "Conditioning"]]:
        if self.guidance is None:
            return super().branches(guidance)
        return [(1.0, replace(self, guidance=guidance))]

    def unconditional(self) -> "Conditioning":
        """A garment whose latent is zeros. Our choice: what was published has no such input."""
        return self.drop(torch.ones(len(self.masked), dtype=torch.bool, device=self.masked.device))

    def drop(self, dropped: Tensor) -> "Conditioning":
        garment, person = self.masked.chunk(2, dim=-1)
        kept = (~dropped).to(garment).view(-1, 1, 1, 1)
        return replace(self, masked=beside(garment * kept, person))


class CatVTONFlux(LatentGenerator):
    """A FLUX transformer on the pair [garment | person].

    Args:
        transformer: see `networks`.
        text: what it is told in words.
        training_guidance: the scale of guidance that it is told in training; in sampling,
            `sampler.guidance`.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("pair", "masked_pair")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask"})
    patch_size: ClassVar[int] = PATCH
    text: Tensor
    pooled: Tensor

    def __init__(
        self,
        vae: Autoencoder,
        transformer: Any,
        text: Text,
        scheduler_config: dict[str, Any],
        training_guidance: float = 1.0,
    ) -> None:
        super().__init__(vae, scheduler_config)
        self.transformer = transformer
        distilled = transformer.config.guidance_embeds
        self.training_guidance = float(training_guidance) if distilled else None
        self.register_buffer("text", text.tokens, persistent=False)
        self.register_buffer("pooled", text.pooled, persistent=False)

    @classmethod
    def build(
        cls,
        transformer: Source,
        vae: Source,
        scheduler: Source,
        text: Mapping[str, Any],
        trainable: Trainable = "attention",
        tap: Tap = "after_rope",
        training_guidance: float = 1.0,
        gradient_checkpointing: bool = False,
    ) -> "CatVTONFlux":
        """From FLUX.1-Fill, or a config with random weights; see `loading.Source`.

        Args:
            text: see `fixed_text`.
            trainable, tap: see `networks.prepare`.
        """
        autoencoder = load_vae(vae)
        network = load_transformer(transformer)
        config = dict(load_scheduler(scheduler).config)
        _check(autoencoder, network, config, transformer)
        prepare(network, transformer, trainable, tap)
        if gradient_checkpointing:
            network.enable_gradient_checkpointing()
        widths = network.config.joint_attention_dim, network.config.pooled_projection_dim
        model = cls(autoencoder, network, fixed_text(text, *widths), config, training_guidance)
        log_parameters(model)
        return model

    def excluded_keys(self) -> frozenset[str]:
        """All but what is trained: the configuration names the rest."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        return frozenset(self.state_dict()) - trained

    def image(self, batch: Batch, picture: Picture) -> Tensor:
        if picture == "pair":
            return beside(batch["reference"], batch["source"])
        if picture == "masked_pair":
            return beside(batch["reference"], super().image(batch, "masked_source"))
        return super().image(batch, picture)

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        """Of the pair."""
        channels, height, width = super().latent_shape(batch)
        return channels, height, 2 * width

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        self.latent_shape(batch)  # refuses what has no whole tokens
        masked = self.latent(batch, "masked_pair", generator, sample)
        mask = beside(torch.zeros_like(batch["mask"]), batch["mask"])
        return Conditioning(masked, mask_cells(mask, self.downscale), self.training_guidance)

    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """[garment | person], (B, C, h, 2w): both halves are denoised."""
        return self.latent(batch, "pair", generator, sample)

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each model is given its own conditioning
        flow: FlowRequest | None = None,
    ) -> Prediction:
        grid = (noisy.shape[-2] // PATCH, noisy.shape[-1] // PATCH)
        tokens = pack(torch.cat([noisy, conditioning.masked], dim=1))
        tokens = torch.cat([tokens, pack(conditioning.mask)], dim=-1)
        half = (grid[0], grid[1] // 2)
        exchange = JointExchange(
            image_height=noisy.shape[-2] * self.downscale,
            grid=half,
            reference_grid=half,
            request=flow,
            text=self.text.shape[1],
            split=partial(split_pair, rows=grid[0]),
        )
        velocity = self._velocity(tokens, positions(grid), timesteps, conditioning, exchange)
        return Prediction(
            unpack(velocity, grid), exchange.flows, exchange.sharpness, exchange.shares
        )

    def predict_branches(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        branches: Sequence[Conditioning],  # type: ignore[override]
    ) -> list[Tensor]:
        return [self.predict_noise(noisy, timesteps, branch).noise for branch in branches]

    def decode(self, latents: Tensor) -> Tensor:
        """The person half of (B, C, h, 2w) as images (B, 3, H, W). The pair is decoded as it was
        encoded, as one picture."""
        return super().decode(latents).chunk(2, dim=-1)[1]

    def _velocity(
        self,
        tokens: Tensor,
        ids: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,
        exchange: JointExchange,
    ) -> Tensor:
        """One evaluation of the transformer on tokens (B, L, K) at positions (L, 3)."""
        count, device = len(tokens), tokens.device
        told = conditioning.guidance
        guidance = None if told is None else torch.full((count,), told, device=device)
        found = self.transformer(
            network_input(self.transformer, tokens),
            encoder_hidden_states=network_input(self.transformer, self.text).expand(count, -1, -1),
            pooled_projections=network_input(self.transformer, self.pooled).expand(count, -1),
            timestep=at_least_float32(timesteps) / self.schedule.steps,
            img_ids=ids.to(device),
            txt_ids=torch.zeros(self.text.shape[1], AXES, device=device),
            guidance=guidance,
            joint_attention_kwargs={"exchange": exchange},
        )
        return at_least_float32(found.sample)


def split_pair(tokens: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Person and garment among the tokens of a pair (B, N, L, D): in each row the garment's come
    first."""
    halves = rearrange(tokens, "b n (h half w) d -> half b n (h w) d", h=rows, half=2)
    return halves[1], halves[0]


def _check(vae: Autoencoder, transformer: Any, scheduler: dict[str, Any], source: Source) -> None:
    """Refuse a base whose parts do not fit.

    Raises:
        ValueError: the schedule is not of flow matching, or the transformer reads other channels.
    """
    if not is_flow_matching(scheduler):
        raise ValueError(
            "model.scheduler: FLUX is trained by flow matching, and this is the scheduler of "
            f"{scheduler.get('_class_name', 'diffusion')}; give a FlowMatchEulerDiscreteScheduler"
        )
    cell = vae.config.latent_channels * PATCH**2
    pixels = (cell_size(vae) * PATCH) ** 2
    found, wanted = transformer.config.in_channels, 2 * cell + pixels
    if found != wanted:
        raise ValueError(
            f"model.transformer={source}: reads {found} channels, not the {wanted} of noisy pair, "
            "masked pair and mask; give a FLUX.1-Fill, such as backbone=flux_fill"
        )
