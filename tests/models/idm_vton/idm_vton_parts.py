"""Tiny networks in SDXL's shape, and an IDM-VTON of them."""

from typing import Any

import torch
from model_parts import SCHEDULER, VAE
from model_parts import SDXL_INPAINTING as SDXL
from torch import Tensor

from leffa.models.idm_vton import IDMVTON, Conditioning

__all__ = ["SCHEDULER", "SDXL", "VAE"]

CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
ADAPTER = {"hidden_dims": 16, "depth": 1, "heads": 2, "dim_head": 8, "num_queries": 3}
ALL = ("unet", "garment_unet", "image_encoder")
TIMESTEPS = torch.tensor([10, 700])


def build(seed: int = 0, **changes: Any) -> IDMVTON:
    """A tiny SDXL-shaped model with random weights, whose adapter counts."""
    torch.manual_seed(seed)
    parts = {"unet": SDXL, "garment_unet": SDXL, "image_encoder": CLIP, "adapter": ADAPTER}
    settings = {"vae": VAE, "scheduler": SCHEDULER, "trainable": ALL, **parts, **changes}
    model = IDMVTON.build(**settings).eval()
    for processor in model.unet.attn_processors.values():
        if hasattr(processor, "to_v_ip"):
            torch.nn.init.normal_(processor.to_v_ip[0].weight, std=0.5)
    return model


def scale_adapter(model: IDMVTON, scale: float) -> None:
    """How much the image-prompt adapter counts: 1 is as published, 0 without it."""
    for processor in model.unet.attn_processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.scale = [scale] * len(processor.scale)


def predict(model: IDMVTON, noisy: Tensor, conditioning: Conditioning) -> Tensor:
    with torch.no_grad():
        return model.predict_noise(noisy, TIMESTEPS, conditioning).noise
