"""Tiny bases, and what tests ask a FitDiT on them."""

from pathlib import Path
from typing import Any

import torch
from model_parts import predict
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.models.fitdit import FitDiT

ALL_LAYERS = FlowRequest(temperature=2.0, min_resolution=0.0)
SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
TRANSFORMER = {
    "sample_size": 8,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 6,
    "pos_embed_max_size": 8,
}
VAE = {
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell, 4 per token
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
    "shift_factor": 0.1,
}


def build(published: Path, **changes: Any) -> FitDiT:
    """From a published folder."""
    sources: dict[str, Any] = {
        "garment": f"{published}/transformer_garm",
        "denoiser": f"{published}/transformer_vton",
        "pose_guider": f"{published}/pose_guider",
        "vae": published,
        "scheduler": published,
        "clip": [f"{published}/image_encoder_large", f"{published}/image_encoder_bigG"],
    }
    return FitDiT(**sources | changes)


def random(**changes: Any) -> FitDiT:
    """With the same random weights each time; no branch of it is silent."""
    torch.manual_seed(0)
    sources: dict[str, Any] = {
        "garment": TRANSFORMER,
        "denoiser": TRANSFORMER,
        "pose_guider": [4, 8],
        "vae": VAE,
        "scheduler": SCHEDULER,
    }
    model = FitDiT(**sources | changes)
    torch.manual_seed(1)
    torch.nn.init.normal_(model.pose_guider.out.weight, std=0.1)
    return model


def results(model: FitDiT, batch: Batch) -> dict[str, Any]:
    """The velocity, the flows, and every gradient of both together."""
    prediction = predict(model, batch, ALL_LAYERS)
    losses = [each.square().mean() for each in (prediction.noise, *prediction.flows.values())]
    torch.stack(losses).sum().backward()
    gradients: dict[str, Tensor] = {
        name: p.grad for name, p in model.named_parameters() if p.grad is not None
    }
    return {"noise": prediction.noise, "flows": prediction.flows, "gradients": gradients}
