"""The estimate of a whole run, as a table."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from leffa.estimate.count import Weights
from leffa.estimate.plan import GB, Count, Setting, memory
from leffa.training.curves import CSV_LOG, read_curves
from leffa.training.stages import Stage

# The share of a device's peak that a training is assumed to reach where its speed is unknown.
ASSUMED = 0.3


@dataclass(frozen=True)
class Throughput:
    """Images per second over all devices, at an image size."""

    images: float
    height: int
    width: int
    basis: str  # what it rests on: "given", or "measured in RUN"


def read_throughput(text: str, stages: list[Stage]) -> Throughput:
    """`3.5`, at the first stage's size; `3.5@1024x768`; or the folder of a run, as it logged.

    Raises:
        ValueError: none of these, or a run that has logged none.
    """
    if Path(text).is_dir():
        return _measured(Path(text))
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:@(\d+)x(\d+))?", text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(
            f"throughput={text}: is neither images per second (3.5, or 3.5@1024x768) nor a run"
        )
    size = found.group(2, 3) if found[2] else (stages[0].height, stages[0].width)
    return Throughput(float(found[1]), int(size[0]), int(size[1]), "given")


def _measured(run: Path) -> Throughput:
    """The median of a run's first stage."""
    config, speeds = run / "config.yaml", []
    if config.is_file():
        first = yaml.safe_load(config.read_text(encoding="utf-8"))["curriculum"]["stages"][0]
        points = read_curves(run / CSV_LOG).get("speed/images_per_s", [])
        speeds = sorted(value for step, value in points if step <= first["steps"])
    if not speeds:
        raise ValueError(f"throughput={run}: the run has logged no images per second")
    speed = speeds[len(speeds) // 2]
    return Throughput(speed, first["height"], first["width"], f"measured in {run}")


def to_markdown(
    weights: Weights,
    stages: list[Stage],
    setting: Setting,
    count: Count,
    throughput: Throughput | None,
    peak_tflops: float | None = None,
) -> str:
    """Parameters, a table with a column for each stage, and the whole run."""
    rows = _rows(weights, stages, setting, count)
    images = [stage.steps * stage.batch_size for stage in stages]
    flops = [n * count(stage, setting).flops for n, stage in zip(images, stages, strict=True)]
    speed, basis = _speed(setting, count, throughput, peak_tflops)
    if speed is not None:
        hours = [each / speed / 3600 for each in flops]
        rows["hours"] = [f"{each:.1f}" for each in hours]
        basis = f"{math.fsum(hours):.1f}, at {basis}"
    device = "not checked" if setting.memory_gb is None else f"{setting.memory_gb:g} GB"
    checkpointing = "on" if setting.gradient_checkpointing else "off"
    return "\n".join(
        [
            f"{weights.total / 1e6:,.1f} M parameters: {weights.trained / 1e6:,.1f} M trained, "
            f"{weights.autoencoder / 1e6:,.1f} M in the autoencoder",
            f"hardware={setting.hardware}: {setting.devices} x {device}, {setting.precision}, "
            f"gradient checkpointing {checkpointing}{', in shards' if setting.sharded else ''}",
            "",
            "| stage | " + " | ".join(stage.name for stage in stages) + " |",
            "|---|" + "---:|" * len(stages),
            *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
            "",
            f"whole run: {sum(s.steps for s in stages):,} steps, {sum(images):,} images, "
            f"{sum(flops) / 1e18:.3g} EFLOP",
            f"hours: {basis}",
            "memory is calculated from counted tensors, not measured on a device; expect it to be "
            "off by tens of percent",
        ]
    )


def _rows(
    weights: Weights, stages: list[Stage], setting: Setting, count: Count
) -> dict[str, list[str]]:
    """The table's cells, a column for each stage."""
    counts = [count(stage, setting) for stage in stages]
    parts = [
        memory(weights, step, setting, stage) for step, stage in zip(counts, stages, strict=True)
    ]
    splits = [setting.split(stage) for stage in stages]
    return {
        "image size": [f"{stage.height}x{stage.width}" for stage in stages],
        "Leffa loss": ["on" if stage.leffa_loss else "off" for stage in stages],
        "steps": [f"{stage.steps:,}" for stage in stages],
        "images": [f"{stage.steps * stage.batch_size:,}" for stage in stages],
        "micro-batch x accumulation": [f"{split.size} x {split.accumulate}" for split in splits],
        **{f"{part} (GB)": [f"{each[part] / GB:.1f}" for each in parts] for part in parts[0]},
        "TFLOP per image": [f"{step.flops / 1e12:.3g}" for step in counts],
    }


def _speed(
    setting: Setting, count: Count, throughput: Throughput | None, peak_tflops: float | None
) -> tuple[float | None, str]:
    """Operations per second of all devices, and what that rests on."""
    if throughput is not None:
        height, width = throughput.height, throughput.width
        stage = Stage("known", 1, height, width, setting.devices, 1.0, False)
        basis = f"{throughput.images:g} images/s at {height}x{width}, {throughput.basis}"
        return throughput.images * count(stage, setting).flops, basis
    if peak_tflops is not None:
        return ASSUMED * peak_tflops * 1e12 * setting.devices, (
            f"{ASSUMED:.0%} of hardware.peak_tflops={peak_tflops:g}, assumed, not measured; "
            "throughput=IMAGES_PER_S or throughput=RUN is better"
        )
    return None, "unknown; give throughput=IMAGES_PER_S, or throughput=RUN"
