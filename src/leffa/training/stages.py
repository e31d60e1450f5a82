"""Training stages as data. One stage is one Lightning epoch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from leffa.io.numbers import check_count, check_number

Largest = int | Mapping[str, int]  # micro-batch that fits, at any size or by size ("1024x768")


@dataclass(frozen=True)
class Stage:
    """One part of a curriculum."""

    name: str
    steps: int  # of the optimiser
    height: int  # of the images, in pixels
    width: int
    batch_size: int  # images per step over all devices and accumulated micro-batches
    learning_rate: float  # after the warm-up
    leffa_loss: bool = False  # whether it is added (Leffa, section 3.2: only in the last stage)

    def __post_init__(self) -> None:
        name = f"curriculum: stage {self.name!r} has"
        check_number(f"{name} learning_rate", self.learning_rate)
        if self.learning_rate < 0:
            raise ValueError(f"{name} learning_rate={self.learning_rate}: is negative")
        if not isinstance(self.leffa_loss, bool):
            raise ValueError(f"{name} leffa_loss={self.leffa_loss}: give true or false")
        for key in ("steps", "height", "width", "batch_size"):
            check_count(f"{name} {key}", getattr(self, key))

    def describe(self) -> str:
        return f"{self.name}: {self.steps} steps at {self.height}x{self.width}"

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> "Stage":
        """From plain values; raises ValueError where a key or a value is wrong."""
        keys = {field.name: field.default is MISSING for field in fields(cls)}
        name = f"curriculum: stage {given.get('name', '?')!r}"
        if unknown := [key for key in given if key not in keys]:
            raise ValueError(f"{name} has an unknown {unknown[0]}; choose from {', '.join(keys)}")
        if missing := [key for key, needed in keys.items() if needed and key not in given]:
            raise ValueError(f"{name} lacks {', '.join(missing)}")
        return cls(**given)


class Curriculum:
    """Stages in order.

    Args:
        stages: at least one.
        warmup_steps: linear rise of the learning rate at the start of the run.
        max_steps: caps the whole run; None or -1 for no cap.
        cooldown_steps: linear fall of the learning rate to zero at the end of the run.
        warmup_start: share of the learning rate from which the warm-up rises.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        warmup_steps: int = 0,
        max_steps: int | None = None,
        cooldown_steps: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        if not stages:
            raise ValueError("curriculum: needs at least one stage")
        check_count("curriculum.warmup_steps", warmup_steps, least=0)
        check_count("curriculum.cooldown_steps", cooldown_steps, least=0)
        check_number("curriculum.warmup_start", warmup_start)
        if not 0 <= warmup_start <= 1:
            raise ValueError(f"curriculum.warmup_start must lie in [0, 1], got {warmup_start}")
        if max_steps is not None:
            check_number("trainer.max_steps", max_steps, int)
        cap = None if max_steps in (None, -1) else max_steps
        if cap is not None and cap < 1:
            raise ValueError(f"trainer.max_steps must be at least 1, got {cap}")
        self.stages = _capped(stages, cap)
        self.warmup_steps = warmup_steps
        self.cooldown_steps = cooldown_steps
        self.warmup_start = warmup_start

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def position(self, step: int) -> tuple[int, int]:
        """The number of the stage that `step` steps lead to, and how many of them lie in it.

        At the end of the run this is (number of stages, 0).
        """
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        return len(self.stages), 0

    def learning_rate(self, step: int) -> float:
        """Of an optimiser step, counted from 0; beyond the end, that of the last stage."""
        stage, _ = self.position(step)
        full = self.stages[min(stage, len(self.stages) - 1)].learning_rate
        begun = (step + 1) / self.warmup_steps if self.warmup_steps else 1.0
        begun = self.warmup_start + (1 - self.warmup_start) * begun
        left = (self.steps - step) / self.cooldown_steps if self.cooldown_steps else 1.0
        return full * max(0.0, min(1.0, begun, left))


def rehearsal(stages: Sequence[Stage]) -> list[Stage]:
    """Every stage for a step of one image, and the last one for what is left of three."""
    *before, last = [replace(stage, steps=1, batch_size=1) for stage in stages]
    return [*before, replace(last, steps=max(1, 3 - len(before)))]


def _capped(stages: Sequence[Stage], cap: int | None) -> tuple[Stage, ...]:
    kept, left = [], cap
    for stage in stages:
        if left is None:
            kept.append(stage)
        elif left > 0:
            kept.append(replace(stage, steps=min(stage.steps, left)))
            left -= kept[-1].steps
    return tuple(kept)


def largest_at(largest: Largest, height: int, width: int) -> int:
    """How many images of a size fit on a device at once.

    A number applies to every size. Of several sizes the next larger one applies; beyond the largest
    the number falls with the number of pixels.
    """
    if not isinstance(largest, Mapping):
        check_count("hardware.micro_batch", largest)
        return largest
    by_pixels = {}
    for size, number in largest.items():
        found = re.fullmatch(r"(\d+)x(\d+)", str(size))
        if found is None:
            raise ValueError(f"hardware.micro_batch.{size}: is not a size, such as 1024x768")
        check_count(f"hardware.micro_batch.{size}", number)
        by_pixels[int(found[1]) * int(found[2])] = number
    if not by_pixels:
        raise ValueError("hardware.micro_batch: give a number, or one for each size")
    enough = [pixels for pixels in by_pixels if pixels >= height * width]
    if enough:
        return by_pixels[min(enough)]
    most = max(by_pixels)
    return max(1, by_pixels[most] * most // (height * width))


@dataclass(frozen=True)
class MicroBatch:
    """How a global batch is split among devices."""

    size: int  # images per device and forward pass
    accumulate: int  # forward passes per optimiser step

    @classmethod
    def split(cls, batch_size: int, devices: int, largest: int) -> "MicroBatch":
        """The fewest accumulation steps whose micro-batches are at most `largest` images."""
        if batch_size % devices:
            raise ValueError(
                f"curriculum: a batch of {batch_size} is not divisible by {devices} devices"
            )
        share = batch_size // devices
        accumulate = next(
            n for n in range(1, share + 1) if share % n == 0 and share // n <= max(largest, 1)
        )
        return cls(share // accumulate, accumulate)
