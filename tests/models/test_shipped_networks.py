"""The shipped autoencoder and inpainting UNet: small, stock, and good on synthetic pictures that
they were not trained on."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderDC, UNet2DConditionModel

from leffa.losses.diffusion import DiffusionSchedule
from leffa.models.latent import cell_size
from leffa.models.loading import (
    SHIPPED,
    SHIPPED_UNET,
    SHIPPED_VAE,
    load_scheduler,
    load_unet,
    load_vae,
)


def test_both_are_stock_networks_of_a_few_megabytes() -> None:
    vae = load_vae(SHIPPED)
    assert type(vae) is AutoencoderDC
    assert cell_size(vae) == 4
    assert (SHIPPED_VAE / "diffusion_pytorch_model.safetensors").stat().st_size <= 4e6
    assert (SHIPPED_UNET / "diffusion_pytorch_model.safetensors").stat().st_size < 6e6
    _, report = UNet2DConditionModel.from_pretrained(SHIPPED_UNET, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


@pytest.mark.parametrize("load", [load_vae, load_unet])
@pytest.mark.parametrize("name", ["shipped", "shipped@1", "shipped@3"])
def test_networks_of_another_version_are_refused_by_name(
    load: Callable[[Any], Any], name: str
) -> None:
    with pytest.raises(ValueError, match=f"{name}: .* another version of leffa.* has {SHIPPED}"):
        load(name)


def test_the_autoencoder_beats_a_linear_code_of_its_width_on_held_out_drawings(
    script: Callable[[str], Any],
) -> None:
    training = script("train_synthetic_vae")
    vae = load_vae(SHIPPED)
    fitted_to = [training.draw_pictures(1, 0, 10, (96, 72))]
    linear = training.LinearCode(fitted_to, vae.config.latent_channels)
    values = training.measure(vae, linear, (96, 72), count=6)
    for kind, reached in values["autoencoder"].items():
        assert reached >= values["linear"][kind] + 0.5, kind
    # Latents of about unit spread are what the noise schedule expects.
    latents = training.spread(vae, fitted_to[0]) * vae.config.scaling_factor
    assert 0.7 < latents < 1.4


def test_the_report_of_the_autoencoder_says_that_letters_stay_legible() -> None:
    report = json.loads((SHIPPED_VAE / "training.json").read_text())
    letters = report["letters_read"]
    assert letters["decoded"] >= 0.95 * letters["original"]
    for size in ("96x72", "128x96"):
        values = report["held_out_psnr_db"][size]
        for kind, reached in values["autoencoder"].items():
            assert reached >= values["linear"][kind] + 0.5


def test_the_unet_denoises_pictures_that_it_was_not_trained_on(
    script: Callable[[str], Any],
) -> None:
    training = script("train_synthetic_unet")
    scheduler = load_scheduler(training.SCHEDULER)
    schedule = DiffusionSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    pictures = training.draw_pictures(training.HELD_OUT, 3, (96, 72))
    vae = load_vae(SHIPPED)
    latents, told = training.encode(vae, *pictures)
    errors = []
    for source in (SHIPPED, training.config(vae.config.latent_channels)):
        unet = load_unet(source)
        training.take_out_text(unet)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            error = training.denoising_error(unet, schedule, latents, told, generator)
            errors.append(error.mean().item())
    shipped, untrained = errors
    report = json.loads((SHIPPED_UNET / "training.json").read_text())
    assert shipped < 1.3 * report["held_out_loss"] < 0.5 * untrained


def test_the_training_of_a_wider_autoencoder_goes_on_where_it_stopped(
    script: Callable[[str], Any], tmp_path: Path
) -> None:
    """The same weights whether or not it was interrupted; and what it measures can be measured."""
    training = script("train_synthetic_vae")
    pictures = [training.draw_pictures(1, 0, 1, size) for size in ((96, 72), (96, 72), (96, 72))]
    pictures.append(training.letter_sheets(2, seed=1))
    weights = []
    for name, parts in {"whole": (None,), "interrupted": (2, None)}.items():
        options = Namespace(
            work=tmp_path / name, seed=0, batch=2, learning_rate=1e-3, save_every=2,
            steps=4, decoder_steps=3,
        )  # fmt: skip
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
