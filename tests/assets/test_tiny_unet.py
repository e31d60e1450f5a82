"""The shipped inpainting UNet: small, stock, and trained."""

import json

import torch
from diffusers import UNet2DConditionModel
from omegaconf import OmegaConf

from leffa.assets.train_tiny_unet import (
    CONFIG,
    HELD_OUT,
    HERE,
    SCHEDULER,
    denoising_error,
    draw_pictures,
    encode,
    take_out_text,
)
from leffa.losses.diffusion import NoiseSchedule
from leffa.models.unets import load_scheduler, load_unet, load_vae
from leffa.run import compose


def test_is_a_stock_unet_of_a_few_megabytes() -> None:
    weights = HERE / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size < 6e6
    _, report = UNet2DConditionModel.from_pretrained(HERE, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_denoises_pictures_that_it_was_not_trained_on() -> None:
    scheduler = load_scheduler(SCHEDULER)
    schedule = NoiseSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    latents, told = encode(load_vae("shipped"), *draw_pictures(HELD_OUT, 5, (96, 72)))
    errors = []
    for source in ("shipped", CONFIG):
        unet = load_unet(source)
        take_out_text(unet)
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            errors.append(denoising_error(unet, schedule, latents, told, generator).mean().item())
    shipped, untrained = errors
    assert shipped < 0.25 < untrained
    assert json.loads((HERE / "training.json").read_text())["held_out_loss"] < 0.2


def test_was_trained_on_the_schedule_of_its_backbone() -> None:
    backbone = OmegaConf.to_container(compose("train", ["backbone=tiny"]).backbone)
    assert {key: backbone["scheduler"][key] for key in SCHEDULER} == SCHEDULER
    assert backbone["unet"] == "shipped"
