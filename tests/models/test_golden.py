"""Parity with recorded outputs of the official network, SD1.5- and SDXL-shaped."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from leffa.models.checkpoints import load_official
from leffa.models.latent import reference_features
from leffa.models.leffa import Conditioning, LeffaModel

# All that the files of Stable Diffusion 1.5 inpainting have, written by diffusers 0.6 in 2022.
BLOCKS = ("block_out_channels", "down_block_types", "up_block_types", "layers_per_block", "act_fn")
KEYS_OF_2022 = {
    "unet/config.json": (
        *("_class_name", "attention_head_dim", "center_input_sample", "cross_attention_dim"),
        *("downsample_padding", "flip_sin_to_cos", "freq_shift", "in_channels", "out_channels"),
        *("mid_block_scale_factor", "norm_eps", "norm_num_groups", "sample_size", *BLOCKS),
    ),
    "vae/config.json": (
        *("_class_name", "in_channels", "latent_channels", "norm_num_groups", "out_channels"),
        *("sample_size", *BLOCKS),
    ),
    "scheduler/scheduler_config.json": (
        *("beta_start", "beta_end", "beta_schedule", "num_train_timesteps", "steps_offset"),
        *("trained_betas", "clip_sample"),
    ),
}
BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}


@pytest.fixture(scope="module", params=BASES)
def recorded(
    request: pytest.FixtureRequest, recordings: Callable[[str], Path]
) -> tuple[LeffaModel, dict[str, Tensor]]:
    """A tiny official model and what the official code returned for it."""
    folder = recordings(request.param)
    model = load_official(folder / BASES[request.param], folder / "official.pth")
    return model, load_file(folder / "golden.safetensors")


@torch.no_grad()
def test_reference_features_are_the_official_ones(
    recorded: tuple[LeffaModel, dict[str, Tensor]],
) -> None:
    model, golden = recorded
    expected = [golden[key] for key in sorted(golden) if key.startswith("reference_feature_")]
    latent, timesteps = golden["ref_latent"], golden["timesteps"]
    features = reference_features(model.reference_unet, latent, timesteps)
    assert len(features) == len(expected)
    torch.testing.assert_close(list(features.values()), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_noise_prediction_is_the_official_one(
    recorded: tuple[LeffaModel, dict[str, Tensor]],
) -> None:
    model, golden = recorded
    noisy, concat = golden["unet_input"].split([4, 8], dim=1)
    conditioning = Conditioning(concat, golden["ref_latent"])
    prediction = model.predict_noise(noisy, golden["timesteps"], conditioning)
    torch.testing.assert_close(prediction.noise, golden["noise_pred"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_configs_of_2022_give_the_same_network(
    recordings: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = recordings("sd15")
    shutil.copytree(folder / BASES["sd15"], tmp_path, dirs_exist_ok=True)
    for name, keys in KEYS_OF_2022.items():
        config = json.loads((tmp_path / name).read_text())
        old = {key: config[key] for key in keys if key in config} | {
            "_diffusers_version": "0.6.0.dev0"
        }
        if name.startswith("scheduler"):
            old |= {"_class_name": "PNDMScheduler", "set_alpha_to_one": False}
            old |= {"skip_prk_steps": True}
        (tmp_path / name).write_text(json.dumps(old))
    model = load_official(tmp_path, folder / "official.pth")
    golden = load_file(folder / "golden.safetensors")
    noisy, concat = golden["unet_input"].split([4, 8], dim=1)
    conditioning = Conditioning(concat, golden["ref_latent"])
    prediction = model.predict_noise(noisy, golden["timesteps"], conditioning)
    torch.testing.assert_close(prediction.noise, golden["noise_pred"], atol=1e-5, rtol=0)
    assert model.vae.config.scaling_factor == 0.18215
    assert model.schedule.prediction_type == "epsilon"
