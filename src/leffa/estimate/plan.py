"""From the count of a step to memory on a device, and to the nearest setting that fits.

The formula, in bytes per device:

    weights       4 for each trained one: mixed precision keeps them in 32 bits; others as they are
    16-bit copies 2 for each trained one, under mixed precision
    gradients     4 for each trained one; 8 with several devices, whose buckets are a second copy
    AdamW         8 for each trained one: two moments
    average       4 for each trained one, with callbacks=ema
    activations   what autograd keeps, counted, times the micro-batch; or the autoencoder's, if more
    reserve       1 GB for the libraries, and a tenth of all the rest for fragmentation

With trainer=fsdp a device holds its share of the trained weights, their gradients, moments and
average. Beside them: 4 for each weight that is gathered at once, and 8 for its gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from leffa.estimate.count import StepCount, Weights
from leffa.training.stages import Largest, MicroBatch, Stage, largest_at

GB = 1e9
LIBRARIES, FRAGMENTATION = 1 * GB, 0.1


@dataclass(frozen=True)
class Setting:
    """What decides about memory; never about the mathematics."""

    hardware: str
    memory_gb: float | None  # of a device; None: not checked
    micro_batch: Largest
    precision: str
    gradient_checkpointing: bool
    devices: int = 1
    average: bool = False
    node: int = 1  # devices of a node
    sharded: bool = False  # trainer=fsdp, within a node

    @property
    def half(self) -> bool:
        return "16" in self.precision

    def split(self, stage: Stage) -> MicroBatch:
        largest = largest_at(self.micro_batch, stage.height, stage.width)
        return MicroBatch.split(stage.batch_size, self.devices, largest)

    def halved(self) -> "Setting | None":
        """With half the micro-batch; None where it is 1 already."""
        if isinstance(self.micro_batch, int):
            smaller: Largest = self.micro_batch // 2
            return replace(self, micro_batch=smaller) if smaller else None
        smaller = {size: max(1, number // 2) for size, number in self.micro_batch.items()}
        return replace(self, micro_batch=smaller) if smaller != self.micro_batch else None


Count = Callable[[Stage, Setting], StepCount]


def memory(weights: Weights, step: StepCount, setting: Setting, stage: Stage) -> dict[str, float]:
    """Bytes on each device by part, in the order of the table; "all" is their sum."""
    micro = setting.split(stage).size
    held = weights.trained / (setting.node if setting.sharded else 1)
    gathered = weights.gathered if setting.sharded else 0
    copies = 8.0 if setting.devices > 1 and not setting.sharded else 4.0
    parts = {
        "weights": weights.frozen_bytes + 4.0 * (held + gathered),
        "16-bit copies": 2.0 * weights.trained * setting.half,
        "gradients": copies * held + 8.0 * gathered,
        "AdamW": 8.0 * held,
        "average": 4.0 * held * setting.average,
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
    if setting.memory_gb is None:
        return True
    return largest_stage(weights, stages, setting, count)[1] <= setting.memory_gb * GB


def nearest_fit(
    weights: Weights, stages: list[Stage], setting: Setting, others: list[Setting], count: Count
) -> Setting | None:
    """The setting that changes least: a smaller micro-batch, gradient checkpointing, both, shards
    where a node has several devices, or the next larger device of `others`; None: nothing fits."""
    on = replace(setting, gradient_checkpointing=True)
    shards = [replace(on, sharded=True)] if setting.node > 1 else []
    here = setting.memory_gb or 0
    sizes = [(other.memory_gb, other) for other in others if other.memory_gb is not None]
    larger = [other for size, other in sorted(sizes, key=lambda pair: pair[0]) if size > here]
    for candidate in (setting, on, *shards, *larger):
        smaller: Setting | None = candidate
        while smaller is not None:
            if fits(weights, stages, smaller, count):
                return smaller
            smaller = smaller.halved()
    return None


def overrides(before: Setting, after: Setting, presets: list[Setting]) -> str:
    """What to add to the command line to get from one setting to the other."""
    words = []
    if after.hardware != before.hardware:
        words.append(f"hardware={after.hardware}")
        before = next(preset for preset in presets if preset.hardware == after.hardware)
    if after.sharded and not before.sharded:
        words.append("trainer=fsdp")
    if after.micro_batch != before.micro_batch:
        size = str(after.micro_batch).replace("'", "")
        words.append(f"hardware.micro_batch={size if size.isdigit() else repr(size)}")
    if after.gradient_checkpointing and not before.gradient_checkpointing:
        words.append("hardware.gradient_checkpointing=true")
    return " ".join(words)
