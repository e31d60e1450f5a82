"""The shipped autoencoder and inpainting UNet: small, stock, and good on synthetic pictures that
they were not trained on."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from leffa.losses.diffusion import NoiseSchedule
from leffa.models.loading import SHIPPED_UNET, SHIPPED_VAE, load_scheduler, load_unet, load_vae


def script(name: str) -> Any:
    """The program that trained a network, as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_both_are_stock_networks_of_a_few_megabytes() -> None:
    vae = load_vae("shipped")
    assert type(vae) is AutoencoderKL
    assert vae.config.latent_channels == 4
    assert (SHIPPED_VAE / "diffusion_pytorch_model.safetensors").stat().st_size <= 4e6
    assert (SHIPPED_UNET / "diffusion_pytorch_model.safetensors").stat().st_size < 6e6
    _, report = UNet2DConditionModel.from_pretrained(SHIPPED_UNET, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_the_autoencoder_reconstructs_held_out_drawings_at_28_db() -> None:
    training = script("train_tiny_vae")
    vae = load_vae("shipped")
    pictures = training.draw_pictures(0, training.HELD_OUT, 3, (256, 192))
    psnr, spread = training.measure(vae, pictures)
    assert psnr >= 28
    # Latents of about unit spread are what the noise schedule expects.
    assert 0.7 < spread * vae.config.scaling_factor < 1.4
    report = json.loads((SHIPPED_VAE / "training.json").read_text())
    assert {"commands", "seeds", "held_out_psnr_db"} <= report.keys()


def test_the_unet_denoises_pictures_that_it_was_not_trained_on() -> None:
    training = script("train_tiny_unet")
    scheduler = load_scheduler(training.SCHEDULER)
    schedule = NoiseSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    pictures = training.draw_pictures(training.HELD_OUT, 3, (96, 72))
    latents, told = training.encode(load_vae("shipped"), *pictures)
    errors = []
    for source in ("shipped", training.CONFIG):
        unet = load_unet(source)
        training.take_out_text(unet)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            error = training.denoising_error(unet, schedule, latents, told, generator)
            errors.append(error.mean().item())
    shipped, untrained = errors
    assert shipped < 0.25 < untrained
    assert json.loads((SHIPPED_UNET / "training.json").read_text())["held_out_loss"] < 0.2
