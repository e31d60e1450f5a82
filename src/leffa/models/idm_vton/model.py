"""IDM-VTON behind the interface of all models.

conditioning = model.encode(batch)          what is known of the person, and the garment seen twice
prediction = model.predict_noise(noisy, t, conditioning, flow=FlowRequest(...))
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.losses.schedule import Generators
from leffa.models import interface
from leffa.models.attention import AttentionExchange
from leffa.models.idm_vton.encoders import ImageEncoder, Prompt, TextEncoders
from leffa.models.idm_vton.networks import (
    check_fit,
    freeze_text,
    load_garment,
    load_tryon,
    no_features,
    pooled_width,
)
from leffa.models.interface import Input, Prediction
from leffa.models.latent import (
    LatentGenerator,
    Picture,
    grid_of,
    network_input,
    reference_features,
)
from leffa.models.loading import Autoencoder, Source
from leffa.models.trainable import check_trainable, checkpoint_gradients, freeze_all_but

# The published prompts (inference.py).
PERSON_PROMPT = "model is wearing a {}"
GARMENT_PROMPT = "a photo of {}"
NEGATIVE_PROMPT = "monochrome, lowres, bad anatomy, worst quality, low quality"

Part = Literal["unet", "garment_unet", "image_encoder"]
PARTS: tuple[Part, ...] = ("unet", "garment_unet", "image_encoder")
Features = dict[str, Tensor]


@dataclass(frozen=True)
class Conditioning(interface.Conditioning):
    """What IDM-VTON knows beside the noisy latent.

    Without its garment a sample has garment features of zeros, image tokens of no image and the
    negative prompt, as in the published guidance.
    """

    concat: Tensor  # (B, 1 + 2C, h, w): mask, masked source, DensePose
    garment: Tensor | None  # (B, C, h, w) clean latent; None: no sample sees its garment
    seen: Tensor  # (B,) bool: which samples do
    image: Tensor  # (B, T, E) tokens of the garment's image
    no_image: Tensor  # (1, T, E)
    prompt: Prompt  # of the person in the garment
    no_prompt: Prompt  # (1, ...)
    garment_prompt: Tensor  # (B, L, D)
    features: Features | None = None  # garment features, where one timestep's serve all steps

    def unconditional(self) -> "Conditioning":
        return replace(self.drop(torch.ones_like(self.seen)), garment=None)

    def drop(self, dropped: Tensor) -> "Conditioning":
        return replace(
            self,
            seen=self.seen & ~dropped,
            image=torch.where(dropped[:, None, None], self.no_image, self.image),
            prompt=self.no_prompt.where(dropped, self.prompt),
        )


class IDMVTON(LatentGenerator):
    """The try-on network, the garment network and the image-prompt adapter.

    Args:
        unet: an inpainting SDXL, or the folder of a published IDM-VTON.
        garment_unet: an SDXL, or `unet_encoder` of a published IDM-VTON.
        image_encoder: see `ImageEncoder.load`; its tokens fit the adapter.
        adapter: an IP-Adapter Plus file, the config of a new one, or None where `unet` has one.
        text: a folder with SDXL's text encoders and tokenizers; None for no captions.
        captions: words for each category of garment; one that is not named stands for itself.
        trainable: which of `PARTS` are trained; "unet" has the adapter in it.
    """

    pictures: ClassVar[tuple[Picture, ...]] = ("source", "reference", "masked_source", "densepose")
    inputs: ClassVar[frozenset[Input]] = frozenset({"mask", "densepose"})
    published_base = "idm_vton_published"  # with its frozen networks

    def __init__(
        self,
        unet: Source,
        garment_unet: Source,
        image_encoder: Source,
        vae: Source | Autoencoder,
        scheduler: Source,
        adapter: str | Path | dict[str, Any] | None = None,
        text: str | Path | None = None,
        captions: Mapping[str, str] | None = None,
        trainable: Sequence[Part] = ("unet",),
        gradient_checkpointing: bool = False,
    ) -> None:
        sources = (unet, garment_unet, image_encoder)
        check_trainable(trainable, dict(zip(PARTS, sources, strict=True)))
        super().__init__(vae, scheduler)
        image = ImageEncoder.load(image_encoder)
        self.unet = load_tryon(unet, self.latent_channels, image.width, adapter)
        self.garment_unet = load_garment(garment_unet, self.latent_channels)
        self.image_encoder = image
        self.text = None if text is None else TextEncoders.load(text)
        check_fit(self.unet, self.garment_unet, None if self.text is None else self.text.width)
        self.captions = dict(captions or {})
        self.trainable = tuple(trainable)
        checkpoint_gradients(gradient_checkpointing, self.unet)
        if "garment_unet" in trainable:
            checkpoint_gradients(gradient_checkpointing, self.garment_unet)
        freeze_all_but(self, trainable, PARTS)
        if text is None:
            freeze_text(self.unet)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Like any module, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for part in PARTS:
            if part not in self.trainable:
                self.get_submodule(part).eval()
        if self.text is not None:
            self.text.eval()
        return self

    def encode(
        self, batch: Batch, generator: Generators = None, sample: bool = False
    ) -> Conditioning:
        """Mask and latents (B, 1 + 2C, h, w), garment latent, image tokens and prompts."""
        size = self.latent_shape(batch)[1:]
        mask = F.interpolate(batch["mask"], size=size, mode="nearest")
        masked, body, garment = (
            self.latent(batch, picture, generator, sample)
            for picture in ("masked_source", "densepose", "reference")
        )
        prompt, no_prompt, garment_prompt = self._prompts(batch)
        with self._gradient("image_encoder"):
            image = self.image_encoder(batch["reference"])
            no_image = self.image_encoder.nothing(batch["reference"])
        return Conditioning(
            torch.cat([mask, masked, body], dim=1),
            garment,
            torch.ones(len(garment), dtype=torch.bool, device=garment.device),
            image,
            no_image,
            prompt,
            no_prompt,
            garment_prompt,
        )

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]  # each model is given its own conditioning
        flow: FlowRequest | None = None,
    ) -> Prediction:
        """Noise (B, C, h, w) at timesteps (B,); flows (S, h_l, w_l, 2) lead to the garment."""
        grid = grid_of(noisy)
        exchange = AttentionExchange(
            features=self.garment_features(conditioning, timesteps),
            image_height=grid[0] * self.downscale,
            grid=grid,
            reference_grid=grid,
            request=flow,
        )
        image = network_input(self.unet, conditioning.image)
        added: dict[str, Any] = {"image_embeds": [image.unsqueeze(1)]}
        if pooled_width(self.unet):
            added["text_embeds"] = conditioning.prompt.pooled
            added["time_ids"] = self._time_ids(noisy)
        inputs = torch.cat([noisy, conditioning.concat], dim=1)
        tokens = conditioning.prompt.tokens
        return self.evaluate(
            self.unet, inputs, timesteps, exchange, tokens, added_cond_kwargs=added
        )

    def garment_features(self, conditioning: Conditioning, timesteps: Tensor) -> Features:
        """What the garment network records, (B, L, C) by the name of the layer; zeros for samples
        that do not see their garment."""
        latent = conditioning.garment
        if latent is None:
            like = network_input(self.unet, conditioning.concat)
            return no_features(self.unet, grid_of(like), like)
        features = conditioning.features
        if features is None:
            with self._gradient("garment_unet"):
                features = reference_features(
                    self.garment_unet, latent, timesteps, conditioning.garment_prompt
                )
        seen = conditioning.seen.view(-1, 1, 1)
        return {name: feature * seen for name, feature in features.items()}

    def freeze_reference(self, conditioning: Conditioning, timestep: int) -> Conditioning:  # type: ignore[override]
        """Garment features of one timestep serve all steps."""
        timesteps = torch.full((len(conditioning.seen),), timestep, device=conditioning.seen.device)
        return replace(conditioning, features=self.garment_features(conditioning, timesteps))

    def _prompts(self, batch: Batch) -> tuple[Prompt, Prompt, Tensor]:
        """(the person's, the negative one, the garment's tokens)."""
        count, like = len(batch["name"]), batch["source"]
        if self.text is None:
            width = self.unet.config.cross_attention_dim
            prompts = Prompt.zeros(2 * count + 1, width, pooled_width(self.unet), like)
        else:
            words = [self.captions.get(kind, kind) for kind in batch["category"]]
            texts = [
                *(PERSON_PROMPT.format(word) for word in words),
                *(GARMENT_PROMPT.format(word) for word in words),
                NEGATIVE_PROMPT,
            ]
            prompts = self.text(texts)
        tokens, pooled = prompts
        return (
            Prompt(tokens[:count], pooled[:count]),
            Prompt(tokens[-1:], pooled[-1:]),
            tokens[count : 2 * count],
        )

    def _time_ids(self, noisy: Tensor) -> Tensor:
        """SDXL's crop sizes: a whole image of this size, (height, width) twice."""
        size = [side * self.downscale for side in noisy.shape[-2:]]
        ids = torch.tensor([*size, 0.0, 0.0, *size], device=noisy.device)
        return ids.expand(len(noisy), -1)

    def _gradient(self, part: Part) -> Any:
        return nullcontext() if part in self.trainable else torch.no_grad()
