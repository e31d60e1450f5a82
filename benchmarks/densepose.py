"""DensePose from its weights against an ONNX export of the same network, by onnxruntime.

    python benchmarks/densepose.py [--weights model_final_162be9.pkl] [--photos 3]

Without weights they are random, and everything is a person; the charts of one are made on both
sides, of the same photo each time. Each side is a process of its own on one core. Processor time is
compared, since a machine has other work; memory is the process's at its peak, with its libraries.
Needs onnx and onnxruntime.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from leffa.io.atomic import write_json, write_text
from leffa.preprocess.densepose.chart import ChartDensePose, ChartOutput
from leffa.preprocess.densepose.r50_fpn import ChartRCNN, densepose_r50_fpn, load_network, prepare
from leffa.preprocess.onnx import OnnxModel
from leffa.training.callbacks.throughput import peak_memory

RESULTS = Path(__file__).parent / "results"
SIDES = {"weights": "the weights (`.pkl`)", "onnx": "an ONNX export, by onnxruntime"}
WIDTH, HEIGHT = 768, 1024
SIZE = (1067, 800)  # at which the network looks at it


class FixedSize(nn.Module):
    """What an export is of: pictures of one size, prepared before."""

    def __init__(self, network: ChartRCNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, prepared: Tensor) -> tuple[Tensor, ...]:
        levels, heads = self.network.backbone(prepared), self.network.roi_heads
        proposals, _ = self.network.proposal_generator(levels, SIZE)
        boxes, scores = heads.people(levels[:4], proposals, SIZE)
        boxes, scores = boxes[:1], scores[:1]
        return boxes, *heads.charts(levels[:4], boxes), scores


def draw() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def random_weights(path: Path) -> None:
    torch.manual_seed(0)
    network = ChartRCNN()
    network.roi_heads.box_predictor.cls_score.bias.data = torch.tensor([3.0, 0.0])
    model = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path.write_bytes(pickle.dumps({"model": model}, protocol=2))


def export(weights: Path, path: Path) -> None:
    if not weights.exists():
        random_weights(weights)
    prepared = prepare(torch.from_numpy(np.array(draw())).permute(2, 0, 1))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: sizes that become constants
        torch.onnx.export(
            FixedSize(load_network(weights)),
            (prepared,),
            str(path),
            dynamo=False,
            opset_version=17,
            output_names=["pred_boxes", "coarse_segm", "fine_segm", "u", "v", "scores"],
        )


def by_onnx(path: Path) -> ChartDensePose:
    model = OnnxModel(path)

    def network(picture: Tensor) -> ChartOutput:
        prepared = prepare(picture).numpy()
        boxes, *rest = (torch.from_numpy(one) for one in model(prepared))
        return ChartOutput(boxes * (WIDTH / SIZE[1]), *rest)

    return ChartDensePose(network)


def run_side(side: str, path: Path, photos: int) -> None:
    """Prints what one side took: to load, and for a photo after the first."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    begin = time.process_time()
    model = densepose_r50_fpn(path) if side == "weights" else by_onnx(path)
    loaded = time.process_time()
    surfaces = [model.find_surface(draw())]
    first = time.process_time()
    surfaces += [model.find_surface(draw()) for _ in range(photos)]
    seconds = (time.process_time() - first) / photos
    print(
        json.dumps(
            {
                "load_seconds": round(loaded - begin, 2),
                "seconds": round(seconds, 2),
                "memory_mb": round(peak_memory(torch.device("cpu")) / 2**20),
                "on_body": [int((surface[..., 0] > 0).sum()) for surface in surfaces],
            }
        )
    )


def compare(weights: Path | None, photos: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights, exported = weights or Path(folder) / "random.pkl", Path(folder) / "densepose.onnx"
        # In a process of its own, too: a child's peak begins at its parent's.
        alone("export", weights, exported)
        sides = {
            side: json.loads(alone(side, path, photos=photos))
            for side, path in (("weights", weights), ("onnx", exported))
        }
    packages = ("torch", "torchvision", "onnxruntime")
    return {"photos": photos, **sides, "versions": {name: version(name) for name in packages}}


def alone(step: str, *paths: Path, photos: int = 0) -> str:
    """What a step prints, run as a process."""
    files = [part for path in paths for part in ("--file", str(path))]
    command = [sys.executable, __file__, "--step", step, *files, "--photos", str(photos)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def markdown(result: dict[str, Any]) -> str:
    lines = [
        f"A photo of {WIDTH}x{HEIGHT}, {result['photos']} times; one person's charts, one core.",
        "",
        "| | processor seconds a photo | to load | peak memory (MB) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for side, title in SIDES.items():
        one = result[side]
        lines.append(
            f"| {title} | {one['seconds']:.2f} | {one['load_seconds']:.2f} | {one['memory_mb']:,} |"
        )
    ratios = [result["weights"][k] / result["onnx"][k] for k in ("seconds", "memory_mb")]
    lines.append(f"| ratio | {ratios[0]:.2f} | | {ratios[1]:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", type=Path, help="default: random")
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--step", choices=("export", *SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, action="append", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step == "export":
        return export(*chosen.file)
    if chosen.step:
        return run_side(chosen.step, *chosen.file, chosen.photos)
    result = compare(chosen.weights, chosen.photos)
    chosen.out.mkdir(parents=True, exist_ok=True)
    write_json(chosen.out / "densepose.json", result)
    write_text(chosen.out / "densepose.md", markdown(result))
    print(markdown(result))


if __name__ == "__main__":
    main()
