"""A tiny model on each of the real bases' shapes, and a batch of noise that fits it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from leffa.data.batch import Batch
from leffa.models.leffa import PARTS, LeffaModel, Part

sys.path.append(str(Path(__file__).parent))
from model_parts import SCHEDULER, SD15, SDXL_INPAINTING, VAE

UNETS = {
    "sd15": SD15,
    "sd15_inpainting": SD15 | {"in_channels": 9},
    "sdxl_inpainting": SDXL_INPAINTING,
}


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
        return LeffaModel(unet, VAE, scheduler, parts, gradient_checkpointing)

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
