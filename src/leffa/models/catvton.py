"""CatVTON: one inpainting UNet that sees person and garment as one tall image (arXiv 2407.15886).

    above   noisy person    mask 1, 0   masked person
    below   noisy garment   zeros       garment

The three columns are joined along channels. The garment half is noised and denoised like the person
half, so the target is the concatenated latent (its author:
github.com/Zheng-Chong/CatVTON/issues/14). Person tokens meet garment tokens in the self-attentions,
and only those are trained.

The flow of the Leffa loss goes from the queries of the upper half to the keys of the lower half;
its softmax is over the garment keys only.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.io.atomic import replacing
from leffa.io.weights import load_weights
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators, check_choice
from leffa.models.attention import (
    AttentionExchange,
    ExchangeProcessor,
    MaybeExchange,
    attend,
    project,
    self_attention_names,
)
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator, Picture
from leffa.models.loading import Autoencoder, Source, copy_weights
from leffa.models.reference import ReferenceConditioning
from leffa.models.trainable import checkpoint_gradients
from leffa.models.unets import drop_text_attention, load_partly_trained

Trainable = Literal["attention", "all"]


@dataclass(frozen=True)
class Conditioning(ReferenceConditioning):
    """CatVTON's inputs other than the noisy latent, half by half."""

    references = ("garment",)
    mask: Tensor  # (B, 1, h, w) 0 or 1
    person: Tensor  # (B, C, h, w) latent of the masked source
    garment: Tensor  # (B, C, h, w) clean latent of the reference; zeros: no garment

    def planes(self) -> Tensor:
        """The inputs concatenated to the noisy latent, (B, 1 + C, 2h, w)."""
        mask = stack(self.mask, torch.zeros_like(self.mask))
        return torch.cat([mask, stack(self.person, self.garment)], dim=1)


class StackedAttention(ExchangeProcessor):
    """A self-attention over [person; garment] tokens from which a flow can be read."""

    shows_flow = True

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: MaybeExchange
    ) -> Tensor:
        query, key, value = project(attn, tokens)
        if exchange is not None:
            half = tokens.shape[1] // 2  # tokens run row by row, so the person comes first
            own, reference = key.split(half, dim=2)
            exchange.read_flow(self.name, query[:, :, :half], reference, own)
        return attend(attn, query, key, value)


class CatVTON(LatentGenerator):
    """The one-UNet model of concatenated images.

    Args:
        unet: an inpainting base (noisy C, mask 1, masked source C); it loses its text attention.
        trainable: "attention", only the self-attentions, as published; or "all" of the UNet.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference", "masked_source")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask"})

    def __init__(
        self,
        unet: Source | UNet2DConditionModel,
        vae: Source | Autoencoder,
        scheduler: Source,
        trainable: Trainable = "attention",
        gradient_checkpointing: bool = False,
    ) -> None:
        check_choice("model.trainable", trainable, get_args(Trainable))
        super().__init__(vae, scheduler)
        channels = 2 * self.latent_channels + 1
        base = ("an inpainting base", "sd15_inpainting")
        self.unet = load_partly_trained(unet, channels, trainable, base)
        checkpoint_gradients(gradient_checkpointing, self.unet)
        drop_text_attention(self.unet)
        names = self_attention_names(self.unet)
        self.unet.set_attn_processor(
            {f"{name}.processor": StackedAttention(name) for name in names}
        )
        if trainable == "attention":
            self.unet.requires_grad_(False)
            for name in names:
                self.unet.get_submodule(name).requires_grad_(True)

    def load_published(self, place: Path) -> None:
        """The self-attentions from a file, or the folder that holds it."""
        file = place / "model.safetensors" if place.is_dir() else place
        copy_weights(file, load_weights(file), self.published_keys())

    def save_published(self, place: Path) -> None:
        """Write the self-attentions as safetensors, by the names of `published_keys`."""
        state = {key: p.detach().contiguous() for key, p in self.published_keys().items()}
        with replacing(place) as temporary:
            save_file(state, temporary)

    def published_keys(self) -> dict[str, nn.Parameter]:
        """The parameters of the self-attentions by their name in the published files.

        A number stands for the layer, in the order in which the UNet holds them (down, up, middle),
        and counts the modules below each of them too: `0.to_q.weight`, `8.to_q.weight`, ...
        `120.to_out.0.bias` (github.com/Zheng-Chong/CatVTON/issues/109).
        """
        modules = self.unet.named_modules()
        layers = [module for name, module in modules if name.endswith(".attn1")]
        return {
            f"{8 * place}.{name}": parameter
            for place, layer in enumerate(layers)
            for name, parameter in layer.named_parameters()
        }

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        """(C, 2h, w), person above garment; raises ValueError where the seam splits a cell."""
        channels, height, width = super().latent_shape(batch)
        cells = 2 ** (len(self.unet.config.block_out_channels) - 1)
        if height % cells:
            raise ValueError(
                f"images {batch['source'].shape[-2]} pixels high are not a multiple of "
                f"{cells * self.downscale}: the seam between person and garment must lie between "
                "two cells of every layer"
            )
        return channels, 2 * height, width

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """The mask (B, 1, h, w) and the latents (B, C, h, w) of masked person and garment."""
        _, height, width = self.latent_shape(batch)
        return Conditioning(
            F.interpolate(batch["mask"], size=(height // 2, width), mode="nearest"),
            self.latent(batch, "masked_source", generator, sample),
            self.latent(batch, "reference", generator, sample),
        )

    def encode_target(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Tensor:
        """Person above garment, (B, C, 2h, w). The garment stays where the conditioning dropped it
        (the author: github.com/Zheng-Chong/CatVTON/issues/95)."""
        person = self.latent(batch, "source", generator, sample)
        return stack(person, self.latent(batch, "reference", generator, sample))

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each model is given its own conditioning
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """Noise of both halves, (B, C, 2h, w); flows (S, h_l, w_l, 2) go from person to garment."""
        grid = (noisy.shape[-2] // 2, noisy.shape[-1])
        exchange = AttentionExchange(
            image_height=grid[0] * self.downscale, grid=grid, reference_grid=grid, request=flow
        )
        inputs = torch.cat([noisy, conditioning.planes()], dim=1)
        return self.evaluate(self.unet, inputs, timesteps, exchange)

    def decode(self, latents: Tensor) -> Tensor:
        """The person half of (B, C, 2h, w) as images (B, 3, H, W); the garment half is
        discarded."""
        return super().decode(latents.chunk(2, dim=-2)[0])


def stack(person: Tensor, garment: Tensor) -> Tensor:
    """Person above garment: two of (B, C, h, w) to (B, C, 2h, w)."""
    if person.shape != garment.shape:
        sizes = " and ".join(f"{p.shape[-2]}x{p.shape[-1]}" for p in (person, garment))
        raise ValueError(f"person and garment must have one size, got latents of {sizes}")
    return torch.cat([person, garment], dim=-2)
