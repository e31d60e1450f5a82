"""Tiny networks for the tests of CFLD, and what they are asked."""

from pathlib import Path
from typing import Any

import torch
from model_parts import SD15, noise_for
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.models.cfld import CFLD, Conditioning
from leffa.models.interface import Prediction

UNET = SD15 | {
    "block_out_channels": [16, 32, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}
ENCODER = {  # stages of 16, 8, 4 and 2 cells
    "image_size": 64,
    "embed_dim": 8,
    "depths": (2, 1, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 4,
    "drop_path_rate": 0.0,
}
DECODER = {"queries": 5, "depth": 2, "heads": 3}
SHOWN = [f"up_blocks.{b}.attentions.{a}.transformer_blocks.0.attn2" for b in (1, 2) for a in (0, 1)]
TIMESTEPS = torch.tensor([100, 700])


def build(base: Path, seed: int = 0, **changes: Any) -> CFLD:
    """With biases that are not zero, unlike at the start of a training."""
    torch.manual_seed(seed)
    parts = {"encoder": ENCODER, "decoder": DECODER, "appearance_depth": 1}
    model = CFLD(base, base, base, **(parts | changes))
    for bias in model.appearance.biases:
        torch.nn.init.normal_(bias.conv_in.weight, std=0.5)
        torch.nn.init.normal_(bias.conv_out.weight, std=0.5)
    return model.eval()


def predict(
    model: CFLD,
    batch: Batch,
    flow: FlowRequest | None = None,
    conditioning: Conditioning | None = None,
) -> Prediction:
    timesteps = TIMESTEPS.repeat(len(batch["name"]))[: len(batch["name"])]
    known = conditioning or model.encode(batch)
    return model.predict_noise(noise_for(model, batch), timesteps, known, flow)


def trained(model: CFLD) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def heads_first(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)
