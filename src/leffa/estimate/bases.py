"""The shapes of the bases that conf/backbone names, as their config.json files have them."""

import json
from pathlib import Path
from typing import Any

# The config.json of the U-Net folders of the three hub repositories; what equals the default of
# diffusers is left out. Text layers are dropped later, in `models.unets`.
SD15_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "norm_num_groups": 32,
}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 9,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "norm_num_groups": 32,
}
VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
SCHEDULER: dict[str, Any] = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear"}

UNETS: dict[str, dict[str, Any]] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": SD15_UNET,
    "stable-diffusion-v1-5/stable-diffusion-inpainting": {**SD15_UNET, "in_channels": 9},
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": SDXL_UNET,
}


def shape(part: str, source: Any) -> Any:
    """A part of a base ("unet", "vae", "scheduler") as a config from which it is built new.

    Args:
        source: as in conf/backbone: a config, "shipped", a diffusers folder, or a hub id.

    Raises:
        ValueError: a hub id that is not known here.
    """
    if isinstance(source, dict) or source == "shipped":
        return source
    folder = Path(source)
    if folder.is_dir():
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        file = folder / part / name
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such file; give a diffusers folder")
        return json.loads(file.read_text())
    if source not in UNETS:
        raise ValueError(
            f"backbone.source={source}: its shape is not known here; give a local diffusers "
            f"folder, or one of {', '.join(UNETS)}"
        )
    return {"unet": UNETS[source], "vae": VAE, "scheduler": SCHEDULER}[part]
