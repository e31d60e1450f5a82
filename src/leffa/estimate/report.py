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

# The share of a device's arithmetic that a training uses where nothing is known of its speed: a
# guess between a half and a fifth, and said to be one wherever it is used.
ASSUMED = 0.3


@dataclass(frozen=True)
class Throughput:
    """Pictures per second over all devices, at a picture size."""

    images: float
    height: int
    width: int
    basis: str  # what it rests on: "given", or "measured in RUN"


def read_throughput(text: str, stages: list[Stage]) -> Throughput:
    """`3.5`, at the first stage's size; `3.5@1024x768`; or the folder of a run, as it logged.

    Raises:
        ValueError: none of these, or a run that has logged none.
    """
    folder = Path(text)
    if folder.is_dir():
        config = folder / "config.yaml"
        points = read_curves(folder / CSV_LOG).get("speed/images_per_s", [])
        if not config.is_file() or not points:
            raise ValueError(f"throughput={text}: the run has logged no images per second")
        first = yaml.safe_load(config.read_text(encoding="utf-8"))["curriculum"]["stages"][0]
        speeds = sorted(value for step, value in points if step <= first["steps"])
        if not speeds:
            raise ValueError(f"throughput={text}: nothing was logged in the run's first stage")
        speed = speeds[len(speeds) // 2]
        return Throughput(speed, first["height"], first["width"], f"measured in {folder}")
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:@(\d+)x(\d+))?", text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(
            f"throughput={text}: is neither images per second (3.5, or 3.5@1024x768) nor a run"
        )
    height, width = (
        (int(found[2]), int(found[3])) if found[2] else (stages[0].height, stages[0].width)
    )
    return Throughput(float(found[1]), height, width, "given")


def to_markdown(
    weights: Weights,
    stages: list[Stage],
    setting: Setting,
    count: Count,
    throughput: Throughput | None,
    peak_tflops: float | None = None,
) -> str:
    """Parameters, then a table with a column for each stage, then the whole run: its hours by the
    throughput, or else assumed from what a device can do at most, where that is known."""
    rows = _rows(weights, stages, setting, count)
    hours, basis = _hours(stages, setting, count, throughput, peak_tflops)
    if hours:
        rows["hours"] = [f"{each:.1f}" for each in hours]
    images = [stage.steps * stage.batch_size for stage in stages]
    flops = sum(n * count(stage, setting).flops for n, stage in zip(images, stages, strict=True))
    device = "not checked" if setting.memory_gb is None else f"{setting.memory_gb:g} GB"
    return "\n".join(
        [
            f"{weights.total / 1e6:,.1f} M parameters: {weights.trained / 1e6:,.1f} M trained, "
            f"{weights.autoencoder / 1e6:,.1f} M in the autoencoder",
            f"hardware={setting.hardware}: {setting.devices} x {device}, {setting.precision}, "
            f"gradient checkpointing {'on' if setting.gradient_checkpointing else 'off'}"
            f"{', in shards' if setting.sharded else ''}",
            "",
            "| stage | " + " | ".join(stage.name for stage in stages) + " |",
            "|---|" + "---:|" * len(stages),
            *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
            "",
            f"whole run: {sum(s.steps for s in stages):,} steps, {sum(images):,} images, "
            f"{flops / 1e18:.3g} EFLOP",
            f"hours: {basis}",
            "memory is calculated from counted tensors, not measured on a device; expect it to be "
            "off by some tenths",
        ]
    )


def _rows(
    weights: Weights, stages: list[Stage], setting: Setting, count: Count
) -> dict[str, list[str]]:
    """What the table tells of each stage."""
    counts = [count(stage, setting) for stage in stages]
    parts = [
        memory(weights, step, setting, stage) for step, stage in zip(counts, stages, strict=True)
    ]
    splits = [setting.split(stage) for stage in stages]
    return {
        "picture": [f"{stage.height}x{stage.width}" for stage in stages],
        "Leffa loss": ["on" if stage.leffa_loss else "off" for stage in stages],
        "steps": [f"{stage.steps:,}" for stage in stages],
        "images": [f"{stage.steps * stage.batch_size:,}" for stage in stages],
        "micro-batch x accumulation": [f"{split.size} x {split.accumulate}" for split in splits],
        **{f"{part} (GB)": [f"{each[part] / GB:.1f}" for each in parts] for part in parts[0]},
        "TFLOP per image": [f"{step.flops / 1e12:.3g}" for step in counts],
    }


def _hours(
    stages: list[Stage],
    setting: Setting,
    count: Count,
    throughput: Throughput | None,
    peak_tflops: float | None,
) -> tuple[list[float], str]:
    """Of each stage, and what they rest on. A stage's pictures take longer than those of the
    throughput as they need more arithmetic. No hours where neither is known."""
    if throughput is not None:
        height, width = throughput.height, throughput.width
        unit = count(Stage("known", 1, height, width, setting.devices, 1.0, False), setting).flops
        speed = throughput.images * unit  # operations per second of all devices
        basis = f"{throughput.images:g} images/s at {height}x{width}, {throughput.basis}"
    elif peak_tflops is not None:
        speed = ASSUMED * peak_tflops * 1e12 * setting.devices
        basis = (
            f"{ASSUMED:.0%} of hardware.peak_tflops={peak_tflops:g}, assumed, not measured; "
            "throughput=IMAGES_PER_S or throughput=RUN is better"
        )
    else:
        return [], "unknown; give throughput=IMAGES_PER_S, or throughput=RUN"
    hours = [
        stage.steps * stage.batch_size * count(stage, setting).flops / speed / 3600
        for stage in stages
    ]
    return hours, f"{math.fsum(hours):.1f}, at {basis}"
