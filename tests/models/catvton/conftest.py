"""Pretrained tiny bases, and a model on one."""

import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

from leffa.models.catvton import CatVTON

sys.path.append(str(Path(__file__).parent))
from catvton_parts import VAE, Bases, build


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Folders of a pretrained tiny base, by the input channels of its UNet."""
    folder = tmp_path_factory.mktemp("bases")

    def base(channels: int = 9) -> Path:
        place = folder / str(channels)
        if not place.is_dir():
            torch.manual_seed(0)
            UNet2DConditionModel(
                in_channels=channels,
                out_channels=4,
                sample_size=8,
                block_out_channels=(16, 32),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                layers_per_block=1,
                attention_head_dim=2,
                cross_attention_dim=12,
                norm_num_groups=8,
            ).save_pretrained(place / "unet")
            AutoencoderKL.from_config(VAE).save_pretrained(place / "vae")
            DDPMScheduler(beta_schedule="scaled_linear").save_pretrained(place / "scheduler")
        return place

    return base


@pytest.fixture
def model(bases: Bases) -> CatVTON:
    return build(bases(9))
