"""The estimate of a whole run, as a table."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from leffa.estimate.count import Weights
from leffa.estimate.plan import GB, Count, Setting, memory
from leffa.training.report import read_curves
from leffa.training.stages import MicroBatch, Stage


@dataclass(frozen=True)
class Throughput:
    """Pictures per second over all devices, at a picture size."""

    images: float
    height: int
    width: int


def read_throughput(text: str, stages: list[Stage]) -> Throughput:
    """`3.5`, at the first stage's size; `3.5@1024x768`; or the folder of a run, as it logged.

    Raises:
        ValueError: none of these, or a run that has logged none.
    """
    folder = Path(text)
    if folder.is_dir():
        config = folder / "config.yaml"
        points = read_curves(folder / "logs" / "metrics.csv").get("speed/images_per_s", [])
        if not config.is_file() or not points:
            raise ValueError(f"throughput={text}: the run has logged no images per second")
        first = yaml.safe_load(config.read_text())["curriculum"]["stages"][0]
        speeds = sorted(value for step, value in points if step <= first["steps"])
        if not speeds:
            raise ValueError(f"throughput={text}: nothing was logged in the run's first stage")
        return Throughput(speeds[len(speeds) // 2], first["height"], first["width"])
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(?:@(\d+)x(\d+))?", text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(
            f"throughput={text}: is neither images per second (3.5, or 3.5@1024x768) nor a run"
        )
    height, width = (
        (int(found[2]), int(found[3])) if found[2] else (stages[0].height, stages[0].width)
    )
    return Throughput(float(found[1]), height, width)


def to_markdown(
    weights: Weights,
    stages: list[Stage],
    setting: Setting,
    count: Count,
    throughput: Throughput | None,
) -> str:
    """Parameters, then a table with a column for each stage, then the whole run."""
    counts = [count(stage, setting) for stage in stages]
    parts = [
        memory(weights, step, setting, stage) for step, stage in zip(counts, stages, strict=True)
    ]
    splits = [MicroBatch.split(s.batch_size, setting.devices, setting.micro_batch) for s in stages]
    images = [stage.steps * stage.batch_size for stage in stages]
    flops = sum(number * step.flops for number, step in zip(images, counts, strict=True))
    rows = {
        "picture": [f"{stage.height}x{stage.width}" for stage in stages],
        "Leffa loss": ["on" if stage.leffa_loss else "off" for stage in stages],
        "steps": [f"{stage.steps:,}" for stage in stages],
        "images": [f"{number:,}" for number in images],
        "micro-batch x accumulation": [f"{split.size} x {split.accumulate}" for split in splits],
        **{f"{part} (GB)": [f"{each[part] / GB:.1f}" for each in parts] for part in parts[0]},
        "TFLOP per image": [f"{step.flops / 1e12:.3g}" for step in counts],
    }
    if throughput is not None:
        hours = _hours(images, stages, setting, count, throughput)
        rows["hours"] = [f"{each:.1f}" for each in hours]
        whole = f"{math.fsum(hours):.1f} hours at {throughput.images:g} images/s"
    else:
        whole = "hours: give throughput=IMAGES_PER_S, or throughput=RUN"
    device = "not checked" if setting.memory_gb is None else f"{setting.memory_gb:g} GB"
    return "\n".join(
        [
            f"{weights.total / 1e6:,.1f} M parameters: {weights.trained / 1e6:,.1f} M trained, "
            f"{weights.autoencoder / 1e6:,.1f} M in the autoencoder",
            f"hardware={setting.hardware}: {setting.devices} x {device}, {setting.precision}, "
            f"gradient checkpointing {'on' if setting.gradient_checkpointing else 'off'}",
            "",
            "| stage | " + " | ".join(stage.name for stage in stages) + " |",
            "|---|" + "---:|" * len(stages),
            *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
            "",
            f"whole run: {sum(s.steps for s in stages):,} steps, {sum(images):,} images, "
            f"{flops / 1e18:.3g} EFLOP; {whole}",
        ]
    )


def _hours(
    images: list[int],
    stages: list[Stage],
    setting: Setting,
    count: Count,
    throughput: Throughput,
) -> list[float]:
    """A stage's pictures take longer than the measured ones as they need more arithmetic."""
    measured = Stage(
        "measured", 1, throughput.height, throughput.width, setting.devices, 1.0, False
    )
    unit = count(measured, setting).flops
    return [
        number * count(stage, setting).flops / unit / throughput.images / 3600
        for number, stage in zip(images, stages, strict=True)
    ]
