"""Train the small inpainting UNet that ships with the package: the base that both UNets start from.

    python benchmarks/train_synthetic_unet.py --work outputs/unet

Leffa starts from a pretrained inpainting network, not from noise, and so do the experiments on the
synthetic dataset: this network knows persons and garments, and fills holes in their pictures. It
has never seen a person beside a garment, so it knows no reference; try-on and pose transfer are
learnt from there.

A stock `diffusers.UNet2DConditionModel` with the inputs of Stable Diffusion's inpainting base:
noisy latent, mask, masked latent. It is trained at a small size first, then at the full one. Rerun
the same command to resume from the last checkpoint in `--work`.

Beside the weights (16 bits) it writes `training.json`: the command, the held-out error, and the
PSNR of held-out holes, filled from one prediction at three timesteps. The latter compares bases on
autoencoders of different widths (`--vae`), whose errors have no common unit.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from rich.progress import track
from torch import Tensor, nn
from train_synthetic_vae import HELD_OUT, resumable

from leffa.io.atomic import write_json
from leffa.losses.diffusion import DiffusionSchedule, TimestepSampling
from leffa.losses.schedule import denoising_loss
from leffa.models.attention import PassthroughAttention, SelfAttention, self_attention_names
from leffa.models.loading import SHIPPED_VAE, Autoencoder, load_scheduler, load_unet, load_vae
from leffa.synthetic.render import CATEGORIES, VERSION, draw_pose_set, draw_tryon

CONFIG: dict[str, Any] = {
    "sample_size": 24,
    "block_out_channels": [32, 64, 96],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 1,
    "attention_head_dim": [1, 2, 3],  # the number of heads, as in the configs of SD1.5 and SDXL
    "use_linear_projection": True,  # a CPU multiplies matrices faster than it convolves one pixel
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
SIZES = ((64, 48), (96, 72))  # in this order
SEED = 1  # the synthetic datasets of the experiments have seed 0
FILLED_AT = (300, 500, 700)  # timesteps from which held-out holes are filled


def config(channels: int) -> dict[str, Any]:
    """Of a base whose latents have so many channels."""
    return {**CONFIG, "in_channels": 2 * channels + 1, "out_channels": channels}


# Pictures


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
        poses = draw_pose_set(SEED, index, *size, poses=2).drawings
        pictures += [tryon.person.image, tryon.garment, *(each.image for each in poses)]
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
    """Clean latents (N, C, h, w), and what an inpainting base is told: mask and masked latent (N,
    1 + C, h, w)."""
    latents, told = [], []
    parts = list(zip(pictures.split(16), masks.split(16), strict=True))
    for images, holes in track(parts, description="encoding"):
        clean, kept = (
            vae.encode(part).latent * vae.config.scaling_factor
            for part in (images, images * (1 - holes))
        )
        latents.append(clean)
        told.append(torch.cat([F.interpolate(holes, clean.shape[-2:], mode="nearest"), kept], 1))
    return torch.cat(latents), torch.cat(told)


# Training


def take_out_text(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """Give the blocks the form that they have in Leffa; returns the text attentions, by place."""
    text = {}
    for name in self_attention_names(unet):
        block = unet.get_submodule(name.removesuffix(".attn1"))
        text[name] = block.attn2
        block.attn2 = PassthroughAttention()
    unet.set_attn_processor({f"{name}.processor": SelfAttention(name) for name in text})
    return text


def draw_batch(known: tuple[Tensor, Tensor], batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """A third of the samples is told nothing, as a reference or a pose is."""
    generator = torch.Generator().manual_seed(seed)
    latents, told = known
    chosen = torch.randint(len(latents), (batch,), generator=generator)
    informed = torch.rand(batch, 1, 1, 1, generator=generator) < 2 / 3
    return latents[chosen], told[chosen] * informed


def train(
    unet: UNet2DConditionModel,
    schedule: DiffusionSchedule,
    known: list[tuple[Tensor, Tensor]],
    options: argparse.Namespace,
    until: int | None = None,
) -> None:
    """Train on the latents of each of `SIZES` in turn, to the end or to step `until`."""
    steps, rate = sum(options.steps), options.learning_rate
    optimizer = torch.optim.AdamW(unet.parameters(), rate, (0.9, 0.99), fused=True)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.02, anneal_strategy="linear"
    )
    parts = {"unet": unet, "optimizer": optimizer, "schedule": rates}
    recent = 1.0
    checkpoint = options.work / "last.pt"
    for step, show in resumable(parts, steps, checkpoint, options.save_every, until):
        seed = (options.seed * steps + step) * 2
        batch = draw_batch(known[step >= options.steps[0]], options.batch, seed)
        generator = torch.Generator().manual_seed(seed + 1)
        loss = denoising_error(unet, schedule, *batch, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        rates.step()
        recent += 0.01 * (loss.item() - recent)
        show(f"loss {recent:.3f}")


def denoising_error(
    unet: UNet2DConditionModel,
    schedule: DiffusionSchedule,
    clean: Tensor,
    told: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Squared error of v, one a sample, at random timesteps."""
    timesteps = TimestepSampling().sample(len(clean), schedule.steps, generator)
    noise = torch.randn(clean.shape, generator=generator)
    noisy = schedule.add_noise(clean, noise, timesteps)
    v = unet(torch.cat([noisy, told], 1), timesteps, None).sample
    return denoising_loss(v, schedule.target(clean, noise, timesteps))


# Measuring


@torch.no_grad()
def psnr_of_holes(
    unet: UNet2DConditionModel,
    vae: Autoencoder,
    schedule: DiffusionSchedule,
    pictures: Tensor,
    masks: Tensor,
) -> dict[str, float]:
    """In dB inside the mask, mean over pictures, of the clean picture that one prediction says, by
    the timestep of the noise that it was given."""
    clean, told = encode(vae, pictures, masks)
    values = {}
    for timestep in FILLED_AT:
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(timestep))
        timesteps = torch.full((len(clean),), timestep)
        noisy = schedule.add_noise(clean, noise, timesteps)
        v = unet(torch.cat([noisy, told], 1), timesteps, None).sample
        signal = schedule.alphas_cumprod[timestep].float()
        said = signal.sqrt() * noisy - (1 - signal).sqrt() * v
        decoded = vae.decode(said / vae.config.scaling_factor).sample.clamp(-1, 1)
        error = ((decoded - pictures).square() * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3)) / 3
        values[f"t={timestep}"] = round((10 * torch.log10(4 / error)).mean().item(), 2)
    return values


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
    parser.add_argument("--work", type=Path, required=True, help="checkpoint, weights and report")
    parser.add_argument("--vae", type=Path, default=SHIPPED_VAE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=2, default=[3000, 1200], help="at each size")
    parser.add_argument("--drawings", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(options.seed)
    vae = load_vae(options.vae)
    unet = load_unet(config(vae.config.latent_channels))
    text = take_out_text(unet)
    scheduler = load_scheduler(SCHEDULER)
    schedule = DiffusionSchedule(scheduler.alphas_cumprod, scheduler.config.prediction_type)
    known = [encode(vae, *draw_pictures(0, options.drawings, size)) for size in SIZES]
    unseen = draw_pictures(HELD_OUT, 50, SIZES[-1])
    begun = time.monotonic()
    train(unet, schedule, known, options)

    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        error = denoising_error(unet, schedule, *encode(vae, *unseen), generator).mean().item()
    holes = psnr_of_holes(unet, vae, schedule, *unseen)
    report = {
        "command": " ".join(["python benchmarks/train_synthetic_unet.py", *sys.argv[1:]]),
        "synthetic_version": VERSION,
        "latent_channels": vae.config.latent_channels,
        "parameters": sum(p.numel() for p in unet.parameters()),
        "held_out_loss": round(error, 4),
        "held_out_psnr_db": holes,
        "minutes": round((time.monotonic() - begun) / 60),
        "torch": torch.__version__,
    }
    save(unet, text, options.work / "weights")
    write_json(options.work / "weights" / "training.json", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
