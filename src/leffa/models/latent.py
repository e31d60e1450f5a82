"""What all latent diffusion models here share: a frozen autoencoder around the network.

A model declares in `pictures` what the autoencoder encodes, and asks for a latent by its name:
encoded on demand, or taken from the batch if a cache provides it. Its constructor takes what
`conf/model` names: folders, hub ids or configs, see `loading.Source`.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal, Self

import torch
from diffusers import AutoencoderDC, AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.precision import at_least_float32, without_autocast
from leffa.losses.schedule import Generators, draw
from leffa.models.attention import AttentionExchange, Exchange
from leffa.models.interface import PersonGenerator, Prediction
from leffa.models.loading import (
    Autoencoder,
    Source,
    is_flow_matching,
    load_scheduler,
    load_vae,
    noise_schedule,
)

log = logging.getLogger(__name__)

# "pair" and "masked_pair" show both images as one; a model that asks for them makes them.
Picture = Literal["source", "reference", "masked_source", "densepose", "pair", "masked_pair"]


class LatentGenerator(PersonGenerator):
    """A `PersonGenerator` in the latent space of a frozen autoencoder.

    Args:
        vae: becomes frozen, and stays in evaluation mode.
        scheduler: of a diffusers base: the noise schedule, and what is predicted.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference")
    needs_flow_matching: ClassVar[bool] = False
    vae: Autoencoder

    def __init__(self, vae: Source | Autoencoder, scheduler: Source) -> None:
        super().__init__()
        self.scheduler_config = dict(load_scheduler(scheduler).config)
        if self.needs_flow_matching and not is_flow_matching(self.scheduler_config):
            raise ValueError(
                f"model.scheduler: a {type(self).__name__} is trained by flow matching, but this "
                "scheduler is for diffusion; give a FlowMatchEulerDiscreteScheduler, as in the "
                "model's own base and backbone=tiny_flow_matching"
            )
        self.schedule = noise_schedule(self.scheduler_config)
        self.vae = load_vae(vae)

    @property
    def latent_channels(self) -> int:
        """C of a latent (B, C, h, w)."""
        return int(self.vae.config.latent_channels)

    @property
    def downscale(self) -> int:
        """Pixels along each side of a latent cell."""
        return cell_size(self.vae)

    def train(self, mode: bool = True) -> Self:
        """Like any module, but the frozen autoencoder always stays in evaluation mode."""
        super().train(mode)
        self.vae.eval()
        return self

    def latents(self, batch: Batch) -> dict[str, Tensor]:
        """What the autoencoder makes of each of `pictures`, for a cache: (B, 2C or C, h, w)."""
        return {picture: self._encoded(batch, picture) for picture in self.pictures}

    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """The latent of the source, (B, C, h, w)."""
        return self.latent(batch, "source", generator, sample)

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        """(C, h, w); raises ValueError where the images are not a multiple of a cell or token."""
        height, width = batch["source"].shape[-2:]
        side = self.downscale * self.patch_size
        if height % side or width % side:
            unit = "cell of the autoencoder" if self.patch_size == 1 else "token of the network"
            raise ValueError(
                f"images of {height}x{width} are not a multiple of {side} pixels, one {unit}"
            )
        return self.latent_channels, height // self.downscale, width // self.downscale

    def image(self, batch: Batch, picture: Picture) -> Tensor:
        """The image (B, 3, H, W) that the autoencoder encodes."""
        if picture == "masked_source":
            return batch["source"] * (batch["mask"] < 0.5)
        image: Tensor = batch[picture]  # type: ignore[typeddict-item]  # a pair is a model's own
        return image

    def latent(
        self,
        batch: Batch,
        picture: Picture,
        generator: Generators = None,
        sample: bool = False,
    ) -> Tensor:
        """The scaled latent (B, C, h, w) of one of `pictures`: its mode, or a sample. At least
        float32."""
        encoded = batch["latents"][picture] if "latents" in batch else self._encoded(batch, picture)
        encoded = at_least_float32(encoded)  # only the autoencoder itself computes in 16 bits
        if isinstance(self.vae, AutoencoderKL):
            posterior = DiagonalGaussianDistribution(encoded)
            encoded = posterior.mode()
            if sample:
                noise = draw(torch.randn, encoded.shape, generator, encoded.device)
                encoded = encoded + posterior.std * noise
        return (encoded - self._shift) * self.vae.config.scaling_factor

    def evaluate(
        self,
        unet: Any,
        noisy: Tensor,
        timesteps: Tensor,
        exchange: Exchange,
        text: Tensor | None = None,
        **conditions: Any,
    ) -> Prediction:
        """One evaluation of a UNet: the noise, and the flows that the exchange was asked for.

        Args:
            noisy: (B, K, h, w), all input channels.
            text: (B, T, E) for the cross-attentions.
            conditions: more arguments of `UNet2DConditionModel.forward`.
        """
        text = None if text is None else network_input(unet, text)
        kwargs = {"cross_attention_kwargs": {"exchange": exchange}, **conditions}
        return exchange.prediction(
            unet(network_input(unet, noisy), timesteps, text, **kwargs).sample
        )

    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, 3, H, W), about in [-1, 1], of latents (B, C, h, w)."""
        latents = latents / self.vae.config.scaling_factor + self._shift
        with self._exact(latents):
            return at_least_float32(self.vae.decode(network_input(self.vae, latents)).sample)

    def _encoded(self, batch: Batch, picture: Picture) -> Tensor:
        """The posterior's parameters (B, 2C, h, w), or the latent (B, C, h, w) of an autoencoder
        that has none."""
        image = self.image(batch, picture)
        with torch.no_grad(), self._exact(image):
            encoded = self.vae.encode(network_input(self.vae, image))
        if isinstance(self.vae, AutoencoderKL):
            return encoded.latent_dist.parameters
        return encoded.latent if isinstance(self.vae, AutoencoderDC) else encoded.latents

    @property
    def _shift(self) -> float:
        return self.vae.config.get("shift_factor") or 0.0  # AutoencoderDC has none

    def _exact(self, like: Tensor) -> AbstractContextManager[Any]:
        """A context without autocast to float16, in which SDXL's autoencoder overflows."""
        kind, overflows = like.device.type, bool(self.vae.config.get("force_upcast", False))
        autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if overflows and autocast and torch.get_autocast_dtype(kind) == torch.float16:
            return without_autocast(like)
        return nullcontext()


def reference_features(
    unet: Any, latent: Tensor, timesteps: Tensor, text: Tensor | None = None
) -> dict[str, Tensor]:
    """What a reference UNet records of a clean latent (B, C, h, w): (B, L, C) by the layer's name.

    The latent is clean, but the network gets the timestep of the generative UNet.
    """
    exchange = AttentionExchange()
    unet(
        network_input(unet, latent),
        timesteps,
        None if text is None else network_input(unet, text),
        cross_attention_kwargs={"exchange": exchange},
    )
    return exchange.features


def parameter_counts(model: nn.Module) -> dict[str, tuple[int, int]]:
    """(trained, all) of each part by its name; "all" is their sum."""
    counts: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        for part in (name.split(".")[0], "all"):
            trained, whole = counts.pop(part, (0, 0))
            size = parameter.numel()
            counts[part] = trained + parameter.requires_grad * size, whole + size
    return counts


def log_parameters(model: nn.Module) -> None:
    """A line for each part, in millions."""
    for part, (trained, whole) in parameter_counts(model).items():
        log.info("%s: %.2f million parameters, %.2f trained", part, whole / 1e6, trained / 1e6)


def network_input(network: nn.Module, tensor: Tensor) -> Tensor:
    """A tensor in the dtype of the network's weights; latents and images are float32."""
    return tensor.to(next(network.parameters()).dtype)


def grid_of(latent: Tensor) -> tuple[int, int]:
    """(h, w) of a latent (B, C, h, w)."""
    return latent.shape[-2], latent.shape[-1]


def cell_size(vae: Autoencoder) -> int:
    """Pixels per latent cell, along each side."""
    kl = isinstance(vae, AutoencoderKL)
    blocks = vae.config.block_out_channels if kl else vae.config.encoder_block_out_channels
    return int(2 ** (len(blocks) - 1))
