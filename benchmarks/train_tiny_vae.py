"""Train the small autoencoder that ships with the package, on synthetic pictures.

    python benchmarks/train_tiny_vae.py

A stock `diffusers.AutoencoderKL` with 4 latent channels, 4 pixels per latent cell. Crops of
persons, flat garments and agnostic persons at two resolutions; squared error plus a slight pull of
the posterior to the unit Gaussian. Beside the weights it writes `training.json`: this command, the
seed and the held-out PSNR.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from rich.progress import Progress, track
from torch import Tensor

from leffa.models.loading import SHIPPED_VAE
from leffa.synthetic.render import CATEGORIES, draw_tryon

CONFIG = {
    "block_out_channels": (16, 32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "sample_size": 128,
}
SIZES = ((256, 192), (128, 96))
HELD_OUT = 1_000_000  # index from which drawings are never trained on


def draw_pictures(seed: int, start: int, count: int, size: tuple[int, int]) -> Tensor:
    """(3*count, 3, H, W) uint8: the person, the flat garment and the agnostic person of each
    drawing."""
    pictures = []
    for index in track(range(start, start + count), description=f"drawing {size[0]}x{size[1]}"):
        drawing = draw_tryon(seed, index, *size, category=CATEGORIES[index % 3])
        pictures += [drawing.person.image, drawing.garment, drawing.agnostic]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def crops(pictures: list[Tensor], batch: int, side: int, rng: random.Random) -> Iterator[Tensor]:
    """Endless batches (B, 3, side, side) in [-1, 1], randomly cropped and mirrored."""
    while True:
        cut = []
        for _ in range(batch):
            pool = rng.choice(pictures)
            picture = pool[rng.randrange(len(pool))]
            top = rng.randint(0, picture.shape[1] - side)
            left = rng.randint(0, picture.shape[2] - side)
            crop = picture[:, top : top + side, left : left + side]
            cut.append(crop.flip(-1) if rng.random() < 0.5 else crop)
        yield torch.stack(cut).float().div(127.5).sub(1)


def train(
    vae: AutoencoderKL,
    batches: Iterator[Tensor],
    steps: int,
    learning_rate: float,
    kl_weight: float,
) -> None:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.05
    )
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for _ in range(steps):
            images = next(batches)
            posterior = vae.encode(images).latent_dist
            error = F.mse_loss(vae.decode(posterior.sample()).sample, images)
            loss = error + kl_weight * posterior.kl().mean() / posterior.mean[0].numel()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            # Images span 2 units in [-1, 1], so the peak of the PSNR is 2.
            progress.update(
                task,
                advance=1,
                description=f"training, {10 * torch.log10(4 / error).item():.1f} dB",
            )


@torch.no_grad()
def measure(vae: AutoencoderKL, pictures: Tensor) -> tuple[float, float]:
    """Mean PSNR in dB over pictures, after rounding to 8 bits, and the spread of the latents."""
    psnr, latents = [], []
    for part in pictures.split(16):
        images = part.float().div(127.5).sub(1)
        latent = vae.encode(images).latent_dist.mode()
        decoded = vae.decode(latent).sample.clamp(-1, 1).add(1).mul(127.5).round()
        mse = (decoded - part).square().mean(dim=(1, 2, 3)).clamp_min(1e-6)
        psnr.append(10 * torch.log10(255**2 / mse))
        latents.append(latent)
    return torch.cat(psnr).mean().item(), torch.cat(latents).std().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=SHIPPED_VAE)
    parser.add_argument("--start-from", type=Path, help="weights of an earlier run to train on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--drawings", type=int, default=200, help="drawings a size")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--kl-weight", type=float, default=1e-4)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    vae = AutoencoderKL.from_config(CONFIG)
    if options.start_from is not None:
        vae = AutoencoderKL.from_pretrained(options.start_from)
    pictures = [draw_pictures(options.seed, 0, options.drawings, size) for size in SIZES]
    batches = crops(pictures, options.batch, side=64, rng=random.Random(options.seed))
    train(vae, batches, options.steps, options.learning_rate, options.kl_weight)

    held_out = {size: draw_pictures(options.seed, HELD_OUT, 60, size) for size in SIZES}
    psnr = {f"{size[0]}x{size[1]}": measure(vae, pictures) for size, pictures in held_out.items()}
    spread = measure(vae, held_out[SIZES[1]])[1]
    # As in Stable Diffusion: latents of unit spread are what the noise schedule expects.
    vae.register_to_config(scaling_factor=1 / spread, force_upcast=False)
    vae.save_pretrained(options.out)
    report = {
        "command": f"python benchmarks/train_tiny_vae.py {' '.join(sys.argv[1:])}".strip(),
        **{name: value for name, value in vars(options).items() if not isinstance(value, Path)},
        "parameters": sum(p.numel() for p in vae.parameters()),
        "held_out_psnr_db": {size: round(value[0], 2) for size, value in psnr.items()},
        "torch": torch.__version__,
    }
    (options.out / "training.json").write_text(
        json.dumps(report, indent=2) + "\n", encoding="utf-8"
    )
    print(json.dumps(report["held_out_psnr_db"]))


if __name__ == "__main__":
    main()
