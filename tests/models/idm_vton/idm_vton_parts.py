"""Tiny networks in SDXL's shape, and an IDM-VTON of them."""

from typing import Any

import torch
from torch import Tensor

from leffa.models.idm_vton import IDMVTON, Conditioning

SDXL = {
    "in_channels": 9,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [2, 4],
    "cross_attention_dim": 12,
    "norm_num_groups": 8,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
CLIP = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
ADAPTER = {"hidden_dims": 16, "depth": 1, "heads": 2, "dim_head": 8, "num_queries": 3}
VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
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
