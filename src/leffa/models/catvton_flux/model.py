"""FLUX behind the interface of all models, however person and garment reach it.

conditioning = model.encode(batch)          what is known of person and garment
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
prediction.noise                            the velocity
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import check_choice
from leffa.models.catvton_flux.attention import JointExchange, Split, Tap
from leffa.models.catvton_flux.networks import (
    Quantization,
    Trainable,
    TransformerSettings,
    quantised_bytes,
    trained_transformer,
)
from leffa.models.catvton_flux.packing import AXES, PATCH, Grid, unpack
from leffa.models.catvton_flux.published import (
    LORA_FILE,
    load_lora,
    load_whole,
    save_lora,
    save_whole,
)
from leffa.models.catvton_flux.text import fixed_text
from leffa.models.interface import Input, Prediction
from leffa.models.latent import LatentGenerator
from leffa.models.loading import Autoencoder, Source
from leffa.models.reference import ReferenceConditioning
from leffa.models.trainable import checkpoint_gradients


@dataclass(frozen=True)
class Conditioning(ReferenceConditioning):
    """What is known beside the noisy latent; each layout has more.

    The scale of guidance is an input of a distilled network: there is one branch, the conditional
    one.
    """

    guidance: float | None  # what the network is told; None: it is not distilled

    def branches(self, guidance: float) -> list[tuple[float, Self]]:
        if self.guidance is None:
            return super().branches(guidance)
        return [(1.0, replace(self, guidance=guidance))]


class TokenSequence(NamedTuple):
    """The tokens of one evaluation, and where person and garment are among them."""

    tokens: Tensor  # (B, L, K)
    positions: Tensor  # (L, 3)
    generated: Grid  # of the tokens that the velocity is of; they come first
    person: Grid
    garment: Grid
    split: Split


class CatVTONFlux(LatentGenerator):
    """A FLUX transformer that is shown person and garment.

    Args:
        transformer: a FLUX.1, or a config with random weights; see `loading.Source`.
        text: what it is told in words, see `fixed_text`.
        trainable, lora, quantization, frozen_dtype, tap: see `networks.TransformerSettings`.
        training_guidance: the scale of guidance that it is told in training; in sampling,
            `sampler.guidance`.
        layout: of `layouts`, how person and garment reach the network: the class that is made.

    Raises:
        FileNotFoundError, ValueError: a part is not there, or does not fit the others.
    """

    inputs: ClassVar[frozenset[Input]] = frozenset({"mask"})
    patch_size: ClassVar[int] = PATCH
    needs_flow_matching: ClassVar[bool] = True
    layouts: ClassVar[dict[str, type["CatVTONFlux"]]] = {}
    text: Tensor
    pooled: Tensor

    def __init_subclass__(cls, layout: str | None = None) -> None:
        super().__init_subclass__()
        if layout is not None:  # FSDP makes classes of its own
            cls.layouts[layout] = cls

    def __new__(cls, *args: Any, layout: str = "pair", **settings: Any) -> "CatVTONFlux":
        check_choice("model.layout", layout, cls.layouts)
        return super().__new__(cls.layouts[layout] if cls is CatVTONFlux else cls)

    def __init__(
        self,
        transformer: Source,
        vae: Source | Autoencoder,
        scheduler: Source,
        text: Mapping[str, Any],
        trainable: Trainable = "attention",
        lora: dict[str, Any] | None = None,
        quantization: Quantization = "none",
        frozen_dtype: str = "float32",
        tap: Tap = "after_rope",
        training_guidance: float = 1.0,
        gradient_checkpointing: bool = False,
        *,
        layout: str = "pair",
    ) -> None:
        settings = TransformerSettings(trainable, lora, quantization, frozen_dtype, tap)
        super().__init__(vae, scheduler)
        network = trained_transformer(transformer, settings)
        config = network.config
        self.check_channels(config.in_channels, self.vae, transformer)
        checkpoint_gradients(gradient_checkpointing, network)
        told = fixed_text(text, config.joint_attention_dim, config.pooled_projection_dim)
        self.transformer = network
        self.settings = settings
        self.training_guidance = float(training_guidance) if config.guidance_embeds else None
        self.register_buffer("text", told.tokens, persistent=False)
        self.register_buffer("pooled", told.pooled, persistent=False)

    @classmethod
    @abstractmethod
    def check_channels(cls, channels: int, vae: Autoencoder, source: Source) -> None:
        """Raise ValueError where a transformer with so many input channels does not fit."""

    @abstractmethod
    def arrange(self, noisy: Tensor, conditioning: Any) -> TokenSequence:
        """What the transformer reads for a noisy latent (B, C, h, w)."""

    def excluded_keys(self) -> frozenset[str]:
        """All but what is trained, or was before adapters were merged into it; the configuration
        names the rest."""
        keys = [key for key in self.state_dict() if key.startswith("transformer.")]
        kept = [key for key in keys if ".lora_" in key]
        kept = kept or [key for key in keys if self.settings.trainable == "all" or "attn" in key]
        return frozenset(self.state_dict()) - frozenset(kept)

    def frozen_bytes(self) -> int:
        """Quantised weights count with the bytes that they occupy on a device."""
        kind = self.settings.quantization
        if kind == "none":
            return super().frozen_bytes()
        vae = sum(parameter.nbytes for parameter in self.vae.parameters())
        return vae + quantised_bytes(self.transformer, kind)

    def load_published(self, place: Path) -> None:
        """A LoRA file or its folder, or the folder of a whole transformer."""
        file = place if place.is_file() else place / LORA_FILE
        if file.is_file():
            load_lora(self.transformer, file)
        else:
            load_whole(self.transformer, place)

    def save_published(self, place: Path) -> None:
        """Write the adapters if there are any, otherwise the whole transformer."""
        adapted = hasattr(self.transformer, "peft_config")
        (save_lora if adapted else save_whole)(self.transformer, place)

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each layout is given its own
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """The velocity, shaped as `noisy`, at timesteps (B,) in [0, T], and the flows."""
        sequence = self.arrange(noisy, conditioning)
        exchange = JointExchange(
            image_height=noisy.shape[-2] * self.downscale,
            grid=sequence.person,
            reference_grid=sequence.garment,
            request=flow,
            text=self.text.shape[1],
            split=sequence.split,
        )
        velocity = self._velocity(sequence, timesteps, conditioning.guidance, exchange)
        return exchange.prediction(unpack(velocity, sequence.generated))

    def _velocity(
        self,
        sequence: TokenSequence,
        timesteps: Tensor,
        told: float | None,
        exchange: JointExchange,
    ) -> Tensor:
        """Of the generated tokens, (B, h*w, 4C)."""
        tokens, count = sequence.tokens, len(sequence.tokens)
        device, dtype = tokens.device, self.transformer.dtype
        text, pooled = (each.to(device, dtype) for each in (self.text, self.pooled))
        with self._one_precision(device):
            found = self.transformer(
                tokens.to(dtype),
                encoder_hidden_states=text.expand(count, -1, -1),
                pooled_projections=pooled.expand(count, -1),
                timestep=at_least_float32(timesteps) / self.schedule.steps,
                img_ids=sequence.positions.to(device),
                txt_ids=torch.zeros(text.shape[1], AXES, device=device),
                guidance=None if told is None else torch.full((count,), told, device=device),
                joint_attention_kwargs={"exchange": exchange},
            ).sample
        height, width = sequence.generated
        return found[:, : height * width]

    def _one_precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Where frozen weights have 16 bits and trained ones 32, mixed precision, if it is not on
        anyway."""
        kinds = {p.dtype for p in self.transformer.parameters() if p.is_floating_point()}
        if len(kinds) < 2 or torch.is_autocast_enabled(device.type):
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)
