"""Tiny networks in the shapes of the real bases, and a batch of noise that fits them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from leffa.data.batch import Batch
from leffa.models.leffa import PARTS, LeffaModel, Part

SD15 = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 8,
}
SDXL_INPAINTING = SD15 | {
    "in_channels": 9,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [2, 4],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
UNETS = {
    "sd15": SD15,
    "sd15_inpainting": SD15 | {"in_channels": 9},
    "sdxl_inpainting": SDXL_INPAINTING,
}
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


@pytest.fixture(params=UNETS)
def unet_config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The config of each tiny base in turn."""
    return UNETS[request.param]


@pytest.fixture
def sd15_config() -> dict[str, Any]:
    return SD15


@pytest.fixture
def build_model() -> Callable[..., LeffaModel]:
    """Builds a tiny model with the same random weights each time."""

    def build(
        unet: dict[str, Any] = SD15,
        parts: tuple[Part, ...] = PARTS,
        prediction_type: str = "epsilon",
        gradient_checkpointing: bool = False,
    ) -> LeffaModel:
        torch.manual_seed(0)
        scheduler = SCHEDULER | {"prediction_type": prediction_type}
        return LeffaModel.build(unet, VAE, scheduler, parts, gradient_checkpointing)

    return build


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    """Makes a batch of noise with a square mask."""

    def make(count: int = 2, height: int = 16, width: int = 12) -> Batch:
        generator = torch.Generator().manual_seed(5)

        def picture() -> torch.Tensor:
            return torch.rand(count, 3, height, width, generator=generator) * 2 - 1

        mask = torch.zeros(count, 1, height, width)
        mask[..., 4:12, 2:10] = 1
        return {
            "source": picture(),
            "reference": picture(),
            "mask": mask,
            "densepose": picture(),
            "loss_region": mask.clone(),
            "name": [f"sample_{index}" for index in range(count)],
            "category": ["upper"] * count,
        }

    return make
