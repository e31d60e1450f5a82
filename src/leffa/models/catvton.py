"""CatVTON: one inpainting UNet that sees person and garment as one tall picture (arXiv 2407.15886).

    above   noisy person    mask 1, 0   masked person
    below   noisy garment   zeros       garment

The three columns are joined along channels. The garment half is noised and denoised like the person
half, so the target is the concatenated latent (its author:
github.com/Zheng-Chong/CatVTON/issues/14). Person tokens meet garment tokens in the self-attentions,
and only those are trained.

The flow of the Leffa loss goes from the queries of the upper half to the keys of the lower half;
its softmax is over the garment keys only.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from safetensors.torch import save_file
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.io.atomic import replacing
from leffa.io.weights import load_weights
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models import interface
from leffa.models.attention import (
    AttentionExchange,
    ExchangeProcessor,
    MaybeExchange,
    attend,
    project,
    self_attention_names,
)
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator, Picture, log_parameters
from leffa.models.loading import Autoencoder, Source, copy_weights, load_scheduler, load_vae
from leffa.models.unets import drop_text_attention, load_partly_trained

Trainable = Literal["attention", "all"]


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What CatVTON knows beside the noisy latent, half by half."""

    mask: Tensor  # (B, 1, h, w) 0 or 1
    person: Tensor  # (B, C, h, w) latent of the masked source
    garment: Tensor  # (B, C, h, w) clean latent of the reference; zeros: no garment

    def unconditional(self) -> "Conditioning":
        return replace(self, garment=torch.zeros_like(self.garment))

    def drop(self, dropped: Tensor) -> "Conditioning":
        kept = (~dropped).to(self.garment).view(-1, 1, 1, 1)
        return replace(self, garment=self.garment * kept)

    def planes(self) -> Tensor:
        """What joins the noisy latent along channels, (B, 1 + C, 2h, w)."""
        mask = stack(self.mask, torch.zeros_like(self.mask))
        return torch.cat([mask, stack(self.person, self.garment)], dim=1)


class StackedAttention(ExchangeProcessor):
    """A self-attention over [person; garment] tokens that can say where the person looks."""

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
    """The one-UNet model of concatenated pictures.

    Args:
        unet: a stock UNet with the channels of inpainting (noisy C, mask 1, masked source C); it
            loses its text attention here.
        trainable: "attention", only the self-attentions, as published; or "all" of the UNet.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference", "masked_source")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask"})

    def __init__(
        self,
        vae: Autoencoder,
        unet: Any,
        scheduler_config: dict[str, Any],
        trainable: Trainable = "attention",
    ) -> None:
        super().__init__(vae, scheduler_config)
        if trainable not in ("attention", "all"):
            raise ValueError(f"model.trainable must be 'attention' or 'all', got {trainable!r}")
        drop_text_attention(unet)
        names = self_attention_names(unet)
        unet.set_attn_processor({f"{name}.processor": StackedAttention(name) for name in names})
        if trainable == "attention":
            unet.requires_grad_(False)
            for name in names:
                unet.get_submodule(name).requires_grad_(True)
        self.unet = unet

    @classmethod
    def build(
        cls,
        unet: Source,
        vae: Source,
        scheduler: Source,
        trainable: Trainable = "attention",
        gradient_checkpointing: bool = False,
    ) -> "CatVTON":
        """From an inpainting base, see `loading.Source`."""
        autoencoder = load_vae(vae)
        channels = 2 * autoencoder.config.latent_channels + 1
        base = ("an inpainting base", "sd15_inpainting")
        network = load_partly_trained(unet, channels, trainable, base)
        if gradient_checkpointing:
            network.enable_gradient_checkpointing()
        model = cls(autoencoder, network, dict(load_scheduler(scheduler).config), trainable)
        log_parameters(model)
        return model

    def load_published(self, place: Path) -> None:
        load_attention(self, place)

    def save_published(self, place: Path) -> None:
        save_attention(self, place)

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        channels, height, width = super().latent_shape(batch)
        cells = 2 ** (len(self.unet.config.block_out_channels) - 1)
        if height % cells:
            raise ValueError(
                f"images {batch['source'].shape[-2]} pixels high are no multiple of "
                f"{cells * self.downscale}: the seam between person and garment must lie between "
                "two cells of every layer"
            )
        return channels, 2 * height, width

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
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
        grid = (noisy.shape[-2] // 2, noisy.shape[-1])
        exchange = AttentionExchange(
            image_height=grid[0] * self.downscale, grid=grid, reference_grid=grid, request=flow
        )
        inputs = torch.cat([noisy, conditioning.planes()], dim=1)
        return self.evaluate(self.unet, inputs, timesteps, exchange)

    def decode(self, latents: Tensor) -> Tensor:
        """The person half of (B, C, 2h, w) as images (B, 3, H, W); the garment half is thrown
        away."""
        return super().decode(latents.chunk(2, dim=-2)[0])


def stack(person: Tensor, garment: Tensor) -> Tensor:
    """Person above garment: two of (B, C, h, w) to (B, C, 2h, w)."""
    if person.shape != garment.shape:
        sizes = " and ".join(f"{p.shape[-2]}x{p.shape[-1]}" for p in (person, garment))
        raise ValueError(f"person and garment must have one size, got latents of {sizes}")
    return torch.cat([person, garment], dim=-2)


def load_attention(model: CatVTON, path: str | Path) -> None:
    """Fill the self-attentions from a file in the published layout, or the folder that holds it."""
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    copy_weights(path, load_weights(path), published_keys(model))


def save_attention(model: CatVTON, path: str | Path) -> None:
    """Write the self-attentions in the published layout, which `load_attention` reads."""
    tensors = {key: p.detach().contiguous() for key, p in published_keys(model).items()}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary)


def published_keys(model: CatVTON) -> dict[str, nn.Parameter]:
    """The parameters of the self-attentions by their name in the published files.

    A number stands for the layer, in the order in which the UNet holds them (down, up, middle), and
    counts the modules below each of them too: `0.to_q.weight`, `8.to_q.weight`, ...
    `120.to_out.0.bias` (github.com/Zheng-Chong/CatVTON/issues/109).
    """
    layers = [module for name, module in model.unet.named_modules() if name.endswith(".attn1")]
    return {
        f"{8 * place}.{name}": parameter
        for place, layer in enumerate(layers)
        for name, parameter in layer.named_parameters()
    }
