"""Train the small autoencoder that ships with the package, on synthetic pictures.

    python benchmarks/train_synthetic_vae.py --channels 16 --work outputs/vae16

A stock `diffusers.AutoencoderDC` of 4 x 4 pixels a latent cell, nearly all of whose work is done
at the latent's resolution. Squared error on crops of persons, flat garments and agnostic persons
at three sizes, and of printed letters; a little noise on the latent keeps neighbouring codes close
in pictures. At last the decoder is trained alone: what was trained on the latents stays valid.
Rerun the same command to resume from the last checkpoint in `--work`.

Beside the weights (16 bits) it writes `training.json`: the command, and what the autoencoder is
worth on pictures that it was not trained on, beside a linear code (PCA) of the same width:

- PSNR of persons, garments and faces, mean over pictures, rounded to 8 bits;
- the share of printed letters that a small classifier reads, before and after.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_dc import ResBlock
from PIL import Image, ImageDraw, ImageFont
from rich.progress import Progress, track
from torch import Tensor, nn

from leffa.io.atomic import write_json
from leffa.synthetic.fabric import LETTERS
from leffa.synthetic.render import CATEGORIES, VERSION, draw_tryon

CELL = 4  # pixels of a latent cell, along each side
SIZES = {(96, 72): 1500, (128, 96): 1500, (256, 192): 300}  # drawings of each
SHARES = (5, 4, 1, 1)  # how often a crop is of each size, and of letters
FACE = 13  # of the CIHP labels
HELD_OUT = 1_000_000  # index from which drawings are never trained on
NOISE = 0.02  # on the latent, as a share of its spread


def config(channels: int) -> dict[str, Any]:
    shape = {
        f"{half}_{name}": value
        for half in ("encoder", "decoder")
        for name, value in {
            "block_types": "ResBlock",
            "block_out_channels": (12, 24, 96),
            "layers_per_block": (0, 1, 2 if half == "encoder" else 4),
            "qkv_multiscales": ((), (), ()),
        }.items()
    }
    return {
        **shape,
        "latent_channels": channels,
        "decoder_norm_types": "rms_norm",
        "decoder_act_fns": "silu",
    }


def new_autoencoder(channels: int) -> AutoencoderDC:
    """With residual blocks that change nothing yet."""
    vae = AutoencoderDC.from_config(config(channels))
    for block in vae.modules():
        if isinstance(block, ResBlock):
            nn.init.zeros_(block.norm.weight)
    return vae


# Pictures


def draw_pictures(seed: int, start: int, count: int, size: tuple[int, int]) -> Tensor:
    """(3 * count, 3, H, W) uint8: the person, the flat garment and the agnostic person of each
    drawing."""
    pictures = []
    for index in track(range(start, start + count), description=f"drawing {size[0]}x{size[1]}"):
        drawing = draw_tryon(seed, index, *size, category=CATEGORIES[index % 3])
        pictures += [drawing.person.image, drawing.garment, drawing.agnostic]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def draw_faces(
    seed: int, start: int, count: int, size: tuple[int, int]
) -> list[tuple[Tensor, Any]]:
    """Persons (3, H, W) uint8 of which half a face or more is seen, and the box of their face."""
    faces = []
    for index in range(start, start + count):
        person = draw_tryon(seed, index, *size, category=CATEGORIES[index % 3]).person
        rows, columns = (person.parsing == FACE).nonzero()
        if len(rows) >= 40:
            box = np.s_[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            faces.append((torch.from_numpy(person.image).permute(2, 0, 1), box))
    return faces


def crops(pictures: list[Tensor], batch: int, side: int, rng: random.Random) -> Tensor:
    """(B, 3, side, side) in [-1, 1], randomly cropped and mirrored."""
    cut = []
    for pool in rng.choices(pictures, SHARES, k=batch):
        picture = pool[rng.randrange(len(pool))]
        top = rng.randint(0, picture.shape[1] - side)
        left = rng.randint(0, picture.shape[2] - side)
        crop = picture[:, top : top + side, left : left + side]
        cut.append(crop.flip(-1) if rng.random() < 0.5 else crop)
    return torch.stack(cut).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


# Training


def train(
    vae: AutoencoderDC,
    pictures: list[Tensor],
    options: argparse.Namespace,
    until: int | None = None,
) -> None:
    """Train all of it, then the decoder alone at a third of the rate; from the last checkpoint,
    where there is one, to the end or to step `until` of the first part."""
    _train(vae, vae, pictures, options, until)
    if until is None:
        vae.encoder.requires_grad_(False)
        _train(vae, vae.decoder, pictures, options, None)


def _train(
    vae: AutoencoderDC,
    part: nn.Module,
    pictures: list[Tensor],
    options: argparse.Namespace,
    until: int | None,
) -> None:
    steps, rate, name = options.steps, options.learning_rate, "last.pt"
    if part is not vae:
        steps, rate, name = options.decoder_steps, options.learning_rate / 3, "decoder.pt"
    optimizer = torch.optim.AdamW(
        part.parameters(), rate, (0.9, 0.99), weight_decay=0.0, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.05
    )
    parts = {"vae": vae, "optimizer": optimizer, "schedule": schedule}
    for step, show in resumable(parts, steps, options.work / name, options.save_every, until):
        rng = random.Random(f"{options.seed} {step}" + (" decoder" if part is vae.decoder else ""))
        images = crops(pictures, options.batch, 64, rng)
        generator = torch.Generator().manual_seed(rng.getrandbits(62))
        with torch.autocast("cpu", torch.bfloat16):
            latent = vae.encode(images).latent
            noise = torch.randn(latent.shape, generator=generator)
            latent = latent + NOISE * latent.detach().float().std() * noise
            decoded = vae.decode(latent).sample
        error = F.mse_loss(decoded.float(), images)
        optimizer.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        # Images span 2 units in [-1, 1], so the peak of the PSNR is 2.
        show(f"{10 * torch.log10(4 / error).item():.1f} dB")


def resumable(
    parts: dict[str, Any],
    steps: int,
    checkpoint: Path,
    save_every: int,
    until: int | None,
) -> Iterator[tuple[int, Callable[[str], None]]]:
    """The steps that are left to do, from `checkpoint` where it is there, and what shows a few
    words beside the progress; `parts` are saved in it again and again."""
    done = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        done = state.pop("step")
        for name, part in parts.items():
            part.load_state_dict(state[name])
    with Progress() as progress:
        task = progress.add_task("training", total=steps, completed=done)
        for step in range(done, until or steps):
            yield step, lambda words: progress.update(task, description=f"training, {words}")
            progress.advance(task)
            if (step + 1) % save_every == 0 or step + 1 == steps:
                state = {name: part.state_dict() for name, part in parts.items()}
                torch.save({**state, "step": step + 1}, checkpoint.with_suffix(".new"))
                checkpoint.with_suffix(".new").replace(checkpoint)


# Measuring


def psnr(decoded: Tensor, true: Tensor) -> float:
    """In dB, of pictures in 0..255 of any shape."""
    return (
        10 * torch.log10(255**2 / (decoded - true.float()).square().mean().clamp_min(1e-6)).item()
    )


@torch.no_grad()
def reconstruct(vae: AutoencoderDC, pictures: Tensor) -> Tensor:
    """(N, 3, H, W) in 0..255, rounded to whole numbers, of pictures in uint8."""
    parts = [
        vae.decode(vae.encode(part.float().div(127.5).sub(1)).latent).sample
        for part in pictures.split(16)
    ]
    return torch.cat(parts).clamp(-1, 1).add(1).mul(127.5).round()


@torch.no_grad()
def spread(vae: AutoencoderDC, pictures: Tensor) -> float:
    """The standard deviation of the latents."""
    return (
        torch.cat(
            [vae.encode(part.float().div(127.5).sub(1)).latent for part in pictures.split(16)]
        )
        .std()
        .item()
    )


class LinearCode:
    """The best linear code of 4 x 4 pixels: their first principal components.

    Args:
        pictures: (N, 3, H, W) uint8, that it is fitted to.
        width: how many components.
    """

    def __init__(self, pictures: list[Tensor], width: int) -> None:
        cells = torch.cat([self.cells(each).flatten(0, 1) for each in pictures])
        self.mean = cells.mean(dim=0)
        _, vectors = torch.linalg.eigh(torch.cov((cells - self.mean).T))
        self.basis = vectors[:, -width:]

    @staticmethod
    def cells(pictures: Tensor) -> Tensor:
        return F.unfold(pictures.float(), CELL, stride=CELL).transpose(1, 2)

    def reconstruct(self, pictures: Tensor) -> Tensor:
        code = (self.cells(pictures) - self.mean) @ self.basis
        cells = (code @ self.basis.T + self.mean).transpose(1, 2)
        size = tuple(pictures.shape[-2:])
        return F.fold(cells, size, CELL, stride=CELL).clamp(0, 255).round()


def letters(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, 32, 32) uint8 of a letter of 10 to 16 pixels on plain cloth, in two colours
    that differ, and which letter it is, (N,)."""
    rng = np.random.default_rng(seed)
    pictures, labels = [], rng.integers(len(LETTERS), size=count)
    for label in labels:
        cloth, ink = rng.integers(256, size=(2, 3))
        while np.abs(cloth - ink).mean() < 80:
            cloth, ink = rng.integers(256, size=(2, 3))
        scale = 4  # drawn large, then reduced: a letter of the renderer has soft edges
        font = ImageFont.load_default(scale * rng.uniform(12, 18))
        image = Image.new("RGB", (32 * scale, 32 * scale), tuple(int(each) for each in cloth))
        middle = tuple(scale * rng.uniform(13, 19, size=2))
        ImageDraw.Draw(image).text(
            middle, LETTERS[label], tuple(int(each) for each in ink), font, "mm", stroke_width=1
        )
        pictures.append(np.asarray(image.resize((32, 32), Image.Resampling.BOX)))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), torch.from_numpy(labels)


def letter_sheets(count: int, seed: int) -> Tensor:
    """(N, 3, 64, 64) uint8, four `letters` each."""
    tiles = letters(4 * count, seed)[0].unflatten(0, (count, 2, 2))
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(count, 3, 64, 64)


def train_reader(seed: int = 0, count: int = 6000, epochs: int = 12) -> nn.Module:
    """A small classifier of `letters`."""
    torch.manual_seed(seed)
    pictures, labels = letters(count, seed)
    reader = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 96, 3, 2, 1), nn.BatchNorm2d(96), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(96 * 16, len(LETTERS)),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(reader.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in track(range(epochs), description="learning to read letters"):
        for chosen in torch.randperm(count).split(64):
            loss = F.cross_entropy(
                reader(pictures[chosen].float().div(127.5).sub(1)), labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    return reader.eval()


@torch.no_grad()
def read_letters(vae: AutoencoderDC, reader: nn.Module, count: int = 1000) -> dict[str, float]:
    """The share of letters that are read right, as drawn and as decoded."""
    pictures, labels = letters(count, seed=HELD_OUT)
    return {
        name: (reader(each.float().div(127.5).sub(1)).argmax(1) == labels).float().mean().item()
        for name, each in {"original": pictures, "decoded": reconstruct(vae, pictures)}.items()
    }


def measure(
    vae: AutoencoderDC, linear: LinearCode, size: tuple[int, int], count: int = 60
) -> dict[str, dict[str, float]]:
    """Mean PSNR of held-out persons, garments and faces, by either code."""
    pictures = draw_pictures(0, HELD_OUT, count, size)
    faces = draw_faces(0, HELD_OUT, count, size)
    result: dict[str, dict[str, float]] = {}
    for name, code in {
        "autoencoder": lambda p: reconstruct(vae, p),
        "linear": linear.reconstruct,
    }.items():
        decoded = code(pictures)
        values = [psnr(*pair) for pair in zip(decoded, pictures, strict=True)]
        seen = [psnr(code(face[None])[0][box], face[box]) for face, box in faces]
        result[name] = {
            "person": round(float(np.mean(values[0::3])), 2),
            "garment": round(float(np.mean(values[1::3])), 2),
            "face": round(float(np.mean(seen)), 2),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="checkpoint, weights and report")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--decoder-steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(options.seed)
    start = time.time()
    pictures = [draw_pictures(1, 0, count, size) for size, count in SIZES.items()]
    pictures.append(letter_sheets(600, seed=1))
    vae = new_autoencoder(options.channels).to(memory_format=torch.channels_last)
    train(vae, pictures, options)

    # As in Stable Diffusion: latents of unit spread are what the noise schedule expects.
    vae.register_to_config(scaling_factor=1 / spread(vae, pictures[0][:600]))
    vae.half().save_pretrained(options.work / "weights")
    vae.float()  # what is measured is what is shipped
    linear = LinearCode(pictures[:2], options.channels)
    report = {
        "command": " ".join(["python benchmarks/train_synthetic_vae.py", *sys.argv[1:]]),
        "synthetic_version": VERSION,
        "parameters": sum(p.numel() for p in vae.parameters()),
        "held_out_psnr_db": {f"{h}x{w}": measure(vae, linear, (h, w)) for h, w in list(SIZES)[:2]},
        "letters_read": read_letters(vae, train_reader()),
        "minutes": round((time.time() - start) / 60),
        "torch": torch.__version__,
    }
    write_json(options.work / "weights" / "training.json", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
