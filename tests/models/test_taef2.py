"""TAEF2 with its published weights: photographs come back, and a saved one is the same."""

from pathlib import Path

import torch
from torchvision.transforms.functional import pil_to_tensor

from leffa.io.pictures import open_photograph
from leffa.models.loading import load_vae


def test_a_photograph_comes_back(shared: Path, tmp_path: Path) -> None:
    vae = load_vae(shared / "weights" / "taef2")
    photograph = shared / "samples" / "viton_hd_pairs" / "test" / "image" / "00006_00.jpg"
    small = pil_to_tensor(open_photograph(photograph).resize((192, 256)))[None] / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(small).latents
        decoded = vae.decode(latents).sample
    assert latents.shape == (1, 32, 32, 24)
    error = ((decoded.clamp(-1, 1) - small) / 2).square().mean()
    assert -10 * error.log10() > 34  # dB

    vae.save_pretrained(tmp_path / "vae")
    again = load_vae(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.encode(small).latents, latents)
    assert again.config.scaling_factor == vae.config.scaling_factor
