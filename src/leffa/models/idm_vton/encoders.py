"""CLIP's image encoder for the garment, and SDXL's two text encoders for captions.

Without captions no text encoder is loaded, and one token of zeros stands for the prompt, as in
SDXL's pipeline (`force_zeros_for_empty_prompt`). Its cross-attentions project without a bias, so
one such token gives what 77 give: nothing.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from leffa.models.clip import clip_pixels
from leffa.models.loading import Source, load_transformers, locate, transformers_package


class Prompt(NamedTuple):
    """What SDXL reads of a text."""

    tokens: Tensor  # (B, L, D)
    pooled: Tensor  # (B, P)

    @classmethod
    def zeros(cls, count: int, width: int, pooled: int, like: Tensor) -> "Prompt":
        """No text: one token of zeros."""
        return cls(like.new_zeros(count, 1, width), like.new_zeros(count, pooled))

    def where(self, chosen: Tensor, other: "Prompt") -> "Prompt":
        """This where `chosen` (B,) is true, the other elsewhere."""
        return Prompt(
            torch.where(chosen[:, None, None], self.tokens, other.tokens),
            torch.where(chosen[:, None], self.pooled, other.pooled),
        )


class ImageEncoder(nn.Module):
    """A garment's image as the image tokens that an IP-Adapter Plus reads: the hidden states
    before the last layer of CLIP's image encoder. What comes after them is never trained.

    Args:
        clip: a `transformers.CLIPVisionModelWithProjection`.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip
        unread = (
            clip.vision_model.encoder.layers[-1],
            clip.vision_model.post_layernorm,
            clip.visual_projection,
        )
        for module in unread:
            module.requires_grad_(False)

    @classmethod
    def load(cls, source: Source) -> "ImageEncoder":
        """From a folder or hub id (see `locate`), or a `CLIPVisionConfig` for random weights."""
        transformers = transformers_package("model.image_encoder")
        if isinstance(source, dict):
            if unknown := sorted(source.keys() - transformers.CLIPVisionConfig().to_dict().keys()):
                raise ValueError(f"model.image_encoder: unknown {unknown[0]!r}")
            config = transformers.CLIPVisionConfig(**source)
            return cls(transformers.CLIPVisionModelWithProjection(config))
        kind = transformers.CLIPVisionModelWithProjection
        return cls(load_transformers(kind, source, "image_encoder"))

    @property
    def width(self) -> int:
        """Of each token."""
        return int(self.clip.config.hidden_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to tokens (B, T, E)."""
        return self._tokens(clip_pixels(images, self.clip.config.image_size))

    def nothing(self, like: Tensor) -> Tensor:
        """The tokens (1, T, E) of no image: of zeros, as the published guidance has them."""
        side = self.clip.config.image_size
        return self._tokens(like.new_zeros(1, 3, side, side))

    def _tokens(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.clip.dtype)
        return self.clip(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]


class TextEncoders(nn.Module):
    """SDXL's two text encoders, frozen.

    Args:
        encoders: CLIP's text model, and OpenCLIP's with its projection.
    """

    def __init__(self, encoders: Sequence[Any], tokenizers: Sequence[Any]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders).requires_grad_(False).eval()
        self.tokenizers = list(tokenizers)

    @classmethod
    def load(cls, source: str | Path) -> "TextEncoders":
        """`text_encoder`, `text_encoder_2` and their tokenizers of a diffusers folder or hub id."""
        transformers = transformers_package("model.text")
        encoders = [
            load_transformers(transformers.CLIPTextModel, source, "text_encoder"),
            load_transformers(transformers.CLIPTextModelWithProjection, source, "text_encoder_2"),
        ]
        tokenizers = []
        for part in ("tokenizer", "tokenizer_2"):
            location, subfolder = locate(source, part, "tokenizer_config.json")
            read = transformers.CLIPTokenizer.from_pretrained
            tokenizers.append(read(location, subfolder=subfolder or ""))
        return cls(encoders, tokenizers)

    @property
    def width(self) -> int:
        """Of each token: both encoders', side by side."""
        return sum(int(encoder.config.hidden_size) for encoder in self._each())

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Prompt:
        """Each text's tokens before the last layer, and the second encoder's pooled embedding."""
        tokens = []
        for encoder, tokenizer in zip(self._each(), self.tokenizers, strict=True):
            ids = tokenizer(
                list(texts),
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            read = encoder(ids.to(encoder.device), output_hidden_states=True)
            tokens.append(read.hidden_states[-2])
        return Prompt(torch.cat(tokens, dim=-1), read.text_embeds)

    def _each(self) -> list[Any]:
        return list(self.encoders)
