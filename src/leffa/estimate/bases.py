"""What conf/backbone names on the hub: the form of each, so that nothing need be downloaded."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leffa.inference.foreign import FILLING

# The config.json of the U-Net folders of the hub repositories; what equals the default of
# diffusers is left out.
SD15_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
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
    "_class_name": "UNet2DConditionModel",
    "sample_size": 128,
    "in_channels": 4,
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
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
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
CLIP_VIT_H: dict[str, Any] = {  # OpenCLIP's ViT-H/14, image side
    "model_type": "clip_vision_model",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 1024,
}
IP_ADAPTER_PLUS = {"hidden_dims": 1280, "depth": 4, "heads": 20, "dim_head": 64, "num_queries": 16}


_TEXT = {"model_type": "clip_text_model", "vocab_size": 49408, "max_position_embeddings": 77}
CLIP_TEXT_L: dict[str, Any] = {
    **_TEXT,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
CLIP_TEXT_G: dict[str, Any] = {
    **_TEXT,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}
Files = dict[str, dict[str, Any] | str]  # path -> what a JSON file holds, or a text

# It knows no word, but how long a text is.
_TOKENIZER: Files = {
    "vocab.json": {"<|startoftext|>": 0, "<|endoftext|>": 1},
    "merges.txt": "#version: 0.2\n",
    "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77},
}


def _base(unet: dict[str, Any], channels: int) -> Files:
    return {
        "unet/config.json": {**unet, "in_channels": channels},
        "vae/config.json": VAE,
        "scheduler/scheduler_config.json": SCHEDULER,
    }


def _sdxl(channels: int) -> Files:
    parts = ("tokenizer", "tokenizer_2")
    return {
        **_base(SDXL_UNET, channels),
        "text_encoder/config.json": CLIP_TEXT_L,
        "text_encoder_2/config.json": CLIP_TEXT_G,
        **{f"{part}/{name}": file for part in parts for name, file in _TOKENIZER.items()},
    }


# What folders on the hub hold beside weights.
FOLDERS: dict[str, Files] = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": _base(SD15_UNET, 4),
    "stable-diffusion-v1-5/stable-diffusion-inpainting": _base(SD15_UNET, 9),
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": _sdxl(9),
    "stabilityai/stable-diffusion-xl-base-1.0": _sdxl(4),
    "h94/IP-Adapter/models/image_encoder": {"config.json": CLIP_VIT_H},
}
# Single files of weights: the form of something new of the same size.
FILES: dict[str, dict[str, Any]] = {
    "h94/IP-Adapter/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors": IP_ADAPTER_PLUS,
}
_ON_THE_HUB = re.compile(r"[\w-][\w.-]*(/[\w.-]+)+")


def without_weights(model: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A model's configuration with config files alone in the place of what lies on the hub.

    Local sources stay, and so does the rest. What only fills a network is left out: a
    network whose shapes are known without it.

    Args:
        model: as in conf/model, resolved.
        folder: where the config files are written.

    Raises:
        ValueError: a hub id that is not known here.
    """
    return {
        key: _form(f"model.{key}", value, folder)
        for key, value in model.items()
        if key not in FILLING
    }


def _form(key: str, value: Any, folder: Path) -> Any:
    if (
        not isinstance(value, str)
        or not _ON_THE_HUB.fullmatch(value)
        or Path(value).exists()  # of the user's own
    ):
        return value
    if value in FILES:
        return FILES[value]
    known = next((name for name in FOLDERS if f"{value}/".startswith(f"{name}/")), None)
    if known is None:
        raise ValueError(
            f"{key}={value}: its shape is not known here; give a local copy, or one of "
            f"{', '.join([*FOLDERS, *FILES])}"
        )
    for name, content in FOLDERS[known].items():
        file = folder / known / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
    return str(folder / value)
