"""Tiny FLUX transformers, and what tests ask a model of them."""

from pathlib import Path
from typing import Any

import torch
from model_parts import (
    VAE,
)

from leffa.models.catvton_flux import CatVTONFlux

# Of the autoencoder VAE: 4 channels of 2x2 pixels, so a token has 16 latent numbers and 16 pixels.
TRANSFORMER: dict[str, Any] = {
    "in_channels": 48,
    "out_channels": 16,
    "num_layers": 1,
    "num_single_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "axes_dims_rope": [4, 4, 4],
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "guidance_embeds": True,
}
SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0}
TEXT = {"tokens": 3}
BLOCKS = [
    "transformer_blocks.0.attn",
    "single_transformer_blocks.0.attn",
    "single_transformer_blocks.1.attn",
]


def build(transformer: dict[str, Any] | Path = TRANSFORMER, **changes: Any) -> CatVTONFlux:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"trainable": "all", **changes}
    return CatVTONFlux(transformer, VAE, SCHEDULER, TEXT, **settings)
