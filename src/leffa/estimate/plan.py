"""From the count of a step to memory on a device, and to the nearest setting that fits.

The formula, in bytes per device:

    weights       4 for each parameter: mixed precision keeps them in 32 bits
    16-bit copies 2 for each trained one, under mixed precision
    gradients     4 for each trained one; 8 with several devices, whose buckets are a second copy
    AdamW         8 for each trained one: two moments
    average       4 for each trained one, with callbacks=ema
    activations   what autograd keeps, counted, times the micro-batch; or the autoencoder's, if more
    reserve       1 GB for the libraries, and a tenth of all the rest for fragmentation
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from leffa.estimate.count import StepCount, Weights
from leffa.training.stages import MicroBatch, Stage

GB = 1e9
LIBRARIES, FRAGMENTATION = 1 * GB, 0.1


@dataclass(frozen=True)
class Setting:
    """What decides about memory; never about the mathematics."""

    hardware: str
    memory_gb: float | None  # of a device; None: not checked
    micro_batch: int
    precision: str
    gradient_checkpointing: bool
    devices: int = 1
    average: bool = False

    @property
    def half(self) -> bool:
        return "16" in self.precision


Count = Callable[[Stage, Setting], StepCount]


def memory(weights: Weights, step: StepCount, setting: Setting, stage: Stage) -> dict[str, float]:
    """Bytes on each device by part, in the order of the table; "all" is their sum."""
    micro = MicroBatch.split(stage.batch_size, setting.devices, setting.micro_batch).size
    parts = {
        "weights": 4.0 * weights.total,
        "16-bit copies": 2.0 * weights.trained * setting.half,
        "gradients": (8.0 if setting.devices > 1 else 4.0) * weights.trained,
        "AdamW": 8.0 * weights.trained,
        "average": 4.0 * weights.trained * setting.average,
        "activations": float(micro * max(step.activations, step.encoding)),
    }
    parts["reserve"] = LIBRARIES + FRAGMENTATION * sum(parts.values())
    return parts | {"all": sum(parts.values())}


def largest_stage(
    weights: Weights, stages: list[Stage], setting: Setting, count: Count
) -> tuple[Stage, float]:
    """The stage that needs most, and how much, in bytes."""
    needs = [(memory(weights, count(s, setting), setting, s)["all"], s) for s in stages]
    most, stage = max(needs, key=lambda need: need[0])
    return stage, most


def fits(weights: Weights, stages: list[Stage], setting: Setting, count: Count) -> bool:
    """Whether every stage fits on a device."""
    return (
        setting.memory_gb is None
        or largest_stage(weights, stages, setting, count)[1] <= setting.memory_gb * GB
    )


def nearest_fit(
    weights: Weights, stages: list[Stage], setting: Setting, others: list[Setting], count: Count
) -> Setting | None:
    """The setting that changes least: a half or a quarter of the micro-batch, gradient
    checkpointing, both, or the next larger device of `others`; None where nothing fits."""
    on = replace(setting, gradient_checkpointing=True)
    larger = sorted(
        (other for other in others if (other.memory_gb or 0) > (setting.memory_gb or 0)),
        key=lambda other: other.memory_gb or 0,
    )
    for candidate in (setting, on, *larger):
        smaller = candidate
        while smaller.micro_batch > 0:
            if fits(weights, stages, smaller, count):
                return smaller
            smaller = replace(smaller, micro_batch=smaller.micro_batch // 2)
    return None


def overrides(before: Setting, after: Setting, presets: list[Setting]) -> str:
    """What to add to the command line to get from one setting to the other."""
    words = [f"hardware={after.hardware}"] if after.hardware != before.hardware else []
    if words:  # the preset says the rest
        before = next(preset for preset in presets if preset.hardware == after.hardware)
    for key in ("micro_batch", "gradient_checkpointing"):
        if getattr(after, key) != getattr(before, key):
            words.append(f"hardware.{key}={str(getattr(after, key)).lower()}")
    return " ".join(words)
