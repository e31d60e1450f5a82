"""Parity with recorded outputs of the official network, SD1.5- and SDXL-shaped."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from leffa.models.checkpoints import load_official
from leffa.models.leffa import Conditioning, LeffaModel

BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}


@pytest.fixture(scope="module", params=BASES)
def recorded(request: pytest.FixtureRequest, shared: Path) -> tuple[LeffaModel, dict[str, Tensor]]:
    """A tiny official model and what the official code returned for it."""
    folder = shared / "golden" / request.param
    model = load_official(folder / BASES[request.param], folder / "official.pth")
    return model, load_file(folder / "golden.safetensors")


@torch.no_grad()
def test_reference_features_are_the_official_ones(
    recorded: tuple[LeffaModel, dict[str, Tensor]],
) -> None:
    model, golden = recorded
    expected = [golden[key] for key in sorted(golden) if key.startswith("reference_feature_")]
    features = model.reference_features(golden["ref_latent"], golden["timesteps"])
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
