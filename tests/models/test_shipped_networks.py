"""The shipped autoencoder and inpainting UNet: small, stock, and good on synthetic pictures that
they were not trained on."""

import importlib.util
import json
from argparse import Namespace
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


def test_the_training_of_a_wider_autoencoder_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The same weights whether or not it was interrupted; and what it measures can be measured."""
    training = script("train_synthetic_vae")
    pictures = [training.draw_pictures(1, 0, 1, size) for size in ((96, 72), (96, 72), (96, 72))]
    pictures.append(training.letter_sheets(2, seed=1))
    weights = []
    for name, parts in {"whole": (4,), "interrupted": (2, 4)}.items():
        options = Namespace(
            work=tmp_path / name, seed=0, steps=4, batch=2, learning_rate=1e-3, save_every=2
        )
        options.work.mkdir()
        for until in parts:
            torch.manual_seed(0)
            vae = training.new_autoencoder(8)
            training.train(vae, pictures, options, until)
        weights.append(vae.state_dict())
    assert all(torch.equal(*pair) for pair in zip(*(w.values() for w in weights), strict=True))

    linear = training.LinearCode(pictures[:1], 48)
    assert torch.equal(linear.reconstruct(pictures[0]), pictures[0].float())  # all components
    values = training.measure(vae, training.LinearCode(pictures[:1], 8), (96, 72), count=3)
    assert values["linear"]["garment"] > 20
    assert set(values["autoencoder"]) == {"person", "garment", "face"}
    drawn, labels = training.letters(64, seed=0)
    assert drawn.shape == (64, 3, 32, 32)
    assert labels.unique().numel() > 10
