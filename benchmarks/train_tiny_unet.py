"""Train the small inpainting UNet that ships with the package: the base that both UNets start from.

    python benchmarks/train_tiny_unet.py

Leffa starts from a pretrained inpainting network, not from noise, and so do the experiments on the
synthetic dataset: this network knows persons and garments, and fills holes in their pictures. It
has never seen a person beside a garment, so it knows no reference; try-on and pose transfer are
learnt from there.

A stock `diffusers.UNet2DConditionModel` with the nine channels of Stable Diffusion's inpainting
base: noisy latent 4, mask 1, masked latent 4. Beside the weights it writes `training.json`: this
command, the seed and the held-out error.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from rich.progress import Progress, track
from torch import Tensor, nn

from leffa.losses.diffusion import NoiseSchedule, TimestepSampling, diffusion_loss
from leffa.models.attention import PassthroughAttention, SelfAttention, self_attention_names
from leffa.models.loading import (
    SHIPPED_UNET,
    Autoencoder,
    load_scheduler,
    load_unet,
    load_vae,
)
from leffa.synthetic.render import CATEGORIES, draw_pose_pair, draw_tryon

CONFIG: dict[str, Any] = {
    "in_channels": 9,
    "out_channels": 4,
    "sample_size": 24,
    "block_out_channels": [32, 64, 96],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 1,
    "attention_head_dim": [1, 2, 3],  # the number of heads, as in the configs of SD1.5 and SDXL
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
}
SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
}
SEED = 1  # the synthetic datasets of the experiments have seed 0
HELD_OUT = 1_000_000  # index from which drawings are never trained on


def draw_pictures(start: int, count: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pictures (4*count, 3, H, W) in [-1, 1], and a mask of each (4*count, 1, H, W).

    Of each drawing: a person with the garment masked, the flat garment, and a person in two poses;
    what has no mask of its own gets a random box.
    """
    pictures, masks = [], []
    rng = np.random.default_rng([SEED, start])
    for index in track(range(start, start + count), description="drawing"):
        # Half of them upper-body, as in VITON-HD.
        category = CATEGORIES[0] if index % 2 else CATEGORIES[index // 2 % 3]
        tryon = draw_tryon(SEED, index, *size, category=category)
        pair = draw_pose_pair(SEED, index, *size)
        pictures += [tryon.person.image, tryon.garment, pair.source.image, pair.reference.image]
        masks += [tryon.agnostic_mask, *(_box(rng, size) for _ in range(3))]
    return (
        torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1),
        torch.from_numpy(np.stack(masks))[:, None].float(),
    )


def _box(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A mask of between a quarter and all of each side."""
    mask = np.zeros(size, np.bool_)
    sides = [int(side * rng.uniform(0.25, 1.0)) for side in size]
    top, left = (rng.integers(0, whole - part + 1) for whole, part in zip(size, sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = True
    return mask


@torch.no_grad()
def encode(vae: Autoencoder, pictures: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Clean latents (N, 4, h, w), and what an inpainting base is told: mask and masked latent (N,
    5, h, w)."""
    latents, told = [], []
    parts = list(zip(pictures.split(16), masks.split(16), strict=True))
    for images, holes in track(parts, description="encoding"):
        clean, kept = (
            vae.encode(part).latent_dist.mode() * vae.config.scaling_factor
            for part in (images, images * (1 - holes))
        )
        latents.append(clean)
        told.append(torch.cat([F.interpolate(holes, clean.shape[-2:], mode="nearest"), kept], 1))
    return torch.cat(latents), torch.cat(told)


def take_out_text(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """Give the blocks the form that they have in Leffa; returns the text attentions, by place."""
    text = {}
    for name in self_attention_names(unet):
        block = unet.get_submodule(name.removesuffix(".attn1"))
        text[name] = block.attn2
        block.attn2 = PassthroughAttention()
    unet.set_attn_processor({f"{name}.processor": SelfAttention(name) for name in text})
    return text


def draws(latents: Tensor, told: Tensor, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches. A third of the samples is told nothing, as a reference or a pose is."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        chosen = torch.randint(len(latents), (batch,), generator=generator)
        informed = torch.rand(batch, 1, 1, 1, generator=generator) < 2 / 3
        yield latents[chosen], told[chosen] * informed


def train(
    unet: UNet2DConditionModel,
    schedule: NoiseSchedule,
    batches: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(unet.parameters(), learning_rate, (0.9, 0.99), fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.02, anneal_strategy="linear"
    )
    recent = 1.0
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for _ in range(steps):
            loss = denoising_error(unet, schedule, *next(batches), generator).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            rates.step()
            recent += 0.01 * (loss.item() - recent)
            progress.update(task, advance=1, description=f"training, loss {recent:.3f}")


def denoising_error(
    unet: UNet2DConditionModel,
    schedule: NoiseSchedule,
    clean: Tensor,
    told: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Squared error of v, one a sample, at random timesteps."""
    timesteps = TimestepSampling().sample(len(clean), schedule.steps, generator)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = schedule.add_noise(clean, noise, timesteps)
    v = unet(torch.cat([noisy, told], 1), timesteps, None).sample
    return diffusion_loss(v, schedule.target(clean, noise, timesteps))


def save(unet: UNet2DConditionModel, text: dict[str, nn.Module], folder: Path) -> None:
    """Write a folder that stock diffusers opens: text attention of zeros fills the gaps that
    training left, half precision."""
    for name, attention in text.items():
        for parameter in attention.parameters():
            nn.init.zeros_(parameter)
        unet.get_submodule(name.removesuffix(".attn1")).attn2 = attention
    unet.half().save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED_UNET)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--drawings", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    unet = load_unet(CONFIG)
    text = take_out_text(unet)
    scheduler = load_scheduler(SCHEDULER)
    schedule = NoiseSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    vae, size = load_vae("shipped"), (96, 72)
    known = encode(vae, *draw_pictures(0, options.drawings, size))
    unseen = encode(vae, *draw_pictures(HELD_OUT, 50, size))
    batches = draws(*known, options.batch, options.seed)
    begun = time.monotonic()
    train(unet, schedule, batches, options.steps, options.learning_rate, options.seed)

    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        parts = zip(unseen[0].split(20), unseen[1].split(20), strict=True)
        errors = [denoising_error(unet, schedule, clean, told, generator) for clean, told in parts]
    save(unet, text, options.out)
    report = {
        "command": f"python benchmarks/train_tiny_unet.py {' '.join(sys.argv[1:])}".strip(),
        **{name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "parameters": sum(p.numel() for p in unet.parameters()),
        "held_out_loss": round(torch.cat(errors).mean().item(), 4),
        "minutes": round((time.monotonic() - begun) / 60),
        "torch": torch.__version__,
    }
    (options.out / "training.json").write_text(
        json.dumps(report, indent=2) + "\n", encoding="utf-8"
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
