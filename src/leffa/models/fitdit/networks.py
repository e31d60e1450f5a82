"""The two transformers, of the blocks of Stable Diffusion 3 that read no text, and the pose guider.

Positions are a table of sines, cropped around its centre for the size of a latent: tokens of one
row and column have one position in both networks.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings, PatchEmbed
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.normalization import AdaLayerNormContinuous
from diffusers.models.transformers.transformer_sd3 import SD3SingleTransformerBlock
from einops import rearrange
from torch import Tensor, nn

from leffa.models.attention import (
    AttentionExchange,
    ExchangeProcessor,
    MaybeExchange,
    attend,
    split_heads,
)
from leffa.models.clip import clip_pixels

PATCH = 2  # cells along each side of a token
GUIDER = (32, 64, 256, 512)  # widths of the published pose guider


class RecordingAttention(ExchangeProcessor):
    """A self-attention of the garment network: records its keys and values, (B, L, C)."""

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: MaybeExchange
    ) -> Tensor:
        own = attn.to_k(tokens), attn.to_v(tokens)
        if exchange is not None and exchange.projected is not None:
            exchange.projected[self.name] = own
        query, key, value = (split_heads(each, attn.heads) for each in (attn.to_q(tokens), *own))
        return attend(attn, query, key, value)


class ExchangeBlock(SD3SingleTransformerBlock):
    """SD3's text-free block, whose attention is handed an exchange."""

    def forward(self, hidden_states: Tensor, temb: Tensor, exchange: AttentionExchange) -> Tensor:
        normed, gate, shift, scale, gate_mlp = self.norm1(hidden_states, emb=temb)
        attended = self.attn(hidden_states=normed, exchange=exchange)
        hidden_states = hidden_states + gate[:, None] * attended
        normed = self.norm2(hidden_states) * (1 + scale[:, None]) + shift[:, None]
        return hidden_states + gate_mlp[:, None] * self.ff(normed)


class Transformer(ModelMixin, AttentionMixin, ConfigMixin, PeftAdapterMixin):
    """SD3's transformer without its text stream; with the names of its weights and of its config.

    Args:
        joint_attention_dim, caption_projection_dim: of the text stream in published files, which
            have it; no weight here is so wide.
    """

    _supports_gradient_checkpointing = True
    _repeated_blocks: ClassVar[list[str]] = ["ExchangeBlock"]

    @register_to_config
    def __init__(
        self,
        sample_size: int = 128,
        patch_size: int = PATCH,
        in_channels: int = 16,
        num_layers: int = 24,
        attention_head_dim: int = 64,
        num_attention_heads: int = 24,
        joint_attention_dim: int = 4096,
        caption_projection_dim: int = 1536,
        pooled_projection_dim: int = 2048,
        out_channels: int = 16,
        pos_embed_max_size: int = 192,
    ) -> None:
        super().__init__()
        width = num_attention_heads * attention_head_dim
        self.pos_embed = PatchEmbed(
            height=sample_size,
            width=sample_size,
            patch_size=patch_size,
            in_channels=in_channels,
            embed_dim=width,
            pos_embed_max_size=pos_embed_max_size,
        )
        self.time_text_embed = CombinedTimestepTextProjEmbeddings(width, pooled_projection_dim)
        self.transformer_blocks = nn.ModuleList(
            ExchangeBlock(width, num_attention_heads, attention_head_dim) for _ in range(num_layers)
        )
        self.norm_out = AdaLayerNormContinuous(width, width, elementwise_affine=False, eps=1e-6)
        self.proj_out = nn.Linear(width, patch_size**2 * out_channels)
        self.gradient_checkpointing = False

    @property
    def width(self) -> int:
        return int(self.proj_out.in_features)

    def attend_by(self, kind: type[ExchangeProcessor]) -> None:
        """Let every block attend by a processor of this kind, under the block's dotted name."""
        blocks: Any = self.transformer_blocks
        for index, block in enumerate(blocks):
            block.attn.set_processor(kind(f"transformer_blocks.{index}.attn"))

    def forward(
        self,
        latent: Tensor,
        timesteps: Tensor,
        pooled: Tensor,
        exchange: AttentionExchange,
        added: Tensor | None = None,
        predict: bool = True,
    ) -> Tensor:
        """The velocity (B, C, h, w).

        Args:
            latent: (B, K, h, w), all input channels.
            timesteps: (B,), 1000 times sigma.
            pooled: (B, P) embedding of the garment.
            added: (B, L, width) joins the tokens before the first block.
            predict: false where only what the blocks record is wanted; the result then has no
                meaning.
        """
        hidden = self.pos_embed(latent).contiguous()
        if added is not None:
            hidden = hidden + added
        embedding = self.time_text_embed(timesteps, pooled)
        for block in self.transformer_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden = self._gradient_checkpointing_func(block, hidden, embedding, exchange)
            else:
                hidden = block(hidden, embedding, exchange)
        if not predict:
            return hidden
        patches = self.proj_out(self.norm_out(hidden, embedding))
        side = self.config.patch_size
        return rearrange(
            patches,
            "b (h w) (p q c) -> b c (h p) (w q)",
            h=latent.shape[-2] // side,
            p=side,
            q=side,
        )


class PoseGuider(nn.Module):
    """A token of the denoising network for each of its patches of a body map (B, 3, H, W).

    Args:
        width: of a token.
        channels: of the convolutions; each but the first halves the image.
    """

    def __init__(self, width: int, channels: Sequence[int] = GUIDER) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for narrow, wide in pairwise(channels):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.out = nn.Linear(PATCH**2 * channels[-1], width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @property
    def downscale(self) -> int:
        """Pixels along each side of what becomes a latent cell."""
        return int(2 ** (len(self.blocks) // 2))

    def forward(self, body: Tensor) -> Tensor:
        """(B, L, width)."""
        for convolution in (self.conv_in, *self.blocks):
            body = F.silu(convolution(body))
        return self.out(rearrange(body, "b c (h p) (w q) -> b (h w) (c p q)", p=PATCH, q=PATCH))


class PooledEncoders(nn.Module):
    """A garment's image as one vector: the image embeddings of some CLIPs side by side, frozen.

    Args:
        encoders: `transformers.CLIPVisionModelWithProjection`.
    """

    def __init__(self, encoders: Sequence[Any]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders).requires_grad_(False).eval()

    @property
    def width(self) -> int:
        each: Any = self.encoders
        return sum(int(encoder.config.projection_dim) for encoder in each)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, P)."""
        each: Any = self.encoders
        embeddings = [
            encoder(clip_pixels(images, encoder.config.image_size).to(encoder.dtype)).image_embeds
            for encoder in each
        ]
        return torch.cat(embeddings, dim=-1)


def freeze_unread(garment: Transformer) -> None:
    """Freeze what follows the last keys and values of a garment network: it gets no gradient."""
    last: Any = garment.transformer_blocks[-1]
    for module in (last.attn.to_q, last.attn.to_out, last.ff, garment.norm_out, garment.proj_out):
        module.requires_grad_(False)
