"""Images from records: the only place where a model generates the samples of a dataset or a list.

how = Generation(transform, sampler, even_batch_size(len(records), 8))
for records, batch, images in generate_batches(model, records, how): ...

An image depends only on the weights, the settings and the sample's name.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from leffa.data.batch import Batch, Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.inference.devices import to_device
from leffa.io.processes import ignore_interrupts
from leffa.models.interface import PersonGenerator
from leffa.models.memory import RunMemory
from leffa.models.placement import compute_device
from leffa.models.sampler import SamplerSettings, generate

PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}

OnStep = Callable[[int, int], None]  # (denoising steps done, steps in all)


@dataclass(frozen=True)
class Generation:
    """How images are generated from records.

    Args:
        transform: a transform without augmentation.
        batch_size: see `even_batch_size`. With `noise="global"`, noise is drawn per batch.
        precision: a key of `PRECISIONS`, or of `models.placement.DTYPES` if the weights use it.
        workers: processes that load the next files.
    """

    transform: PersonTransform
    sampler: SamplerSettings
    batch_size: int
    precision: str = "32-true"
    workers: int = 0

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the networks are evaluated."""
        dtype = PRECISIONS.get(self.precision)
        return torch.autocast(device.type, dtype, enabled=dtype is not None)

    def open_batches(
        self, records: Sequence[Record], batch_size: int, device: torch.device
    ) -> Iterator[Batch]:
        """Batches of these records on the device."""
        loader = open_batches(
            records, self.transform, batch_size, self.workers, device.type == "cuda"
        )
        return (to_device(batch, device) for batch in loader)


class GeneratedBatch(NamedTuple):
    """Generated images and their inputs; an incomplete batch repeats its last sample."""

    records: Sequence[Record]
    batch: Batch  #: on the model's device
    images: Tensor  #: (B, 3, H, W) in [-1, 1], at least float32, there as well


def generate_batches(
    model: PersonGenerator,
    records: Sequence[Record],
    how: Generation,
    memory: RunMemory | None = None,
    on_step: OnStep | None = None,
) -> Iterator[GeneratedBatch]:
    """Generate the images of these records on the model's device.

    Args:
        on_step: called after each step with the overall progress; an exception from it stops the
            generation.
    """
    device, memory = compute_device(model), memory or RunMemory()
    size = how.batch_size
    total = len(records) * how.sampler.steps
    for number, batch in enumerate(how.open_batches(records, size, device)):
        chosen = records[number * size : (number + 1) * size]

        def tell(step: int, steps: int, done: int = number * size, more: int = len(chosen)) -> None:
            if on_step is not None:
                on_step(done * how.sampler.steps + step * more, total)

        if how.sampler.noise == "per_name":
            batch = fill_batch(batch, size)
        with how.autocast(device):
            images = generate_batch(model, batch, how.sampler, tell, memory)
        yield GeneratedBatch(chosen, batch, images)


def generate_batch(
    model: PersonGenerator,
    batch: Batch,
    sampler: SamplerSettings,
    on_step: OnStep | None = None,
    memory: RunMemory | None = None,
) -> Tensor:
    """The images of one batch, (B, 3, H, W) in [-1, 1].

    With `noise="global"`, as released, the noise comes from torch's global generator, which is
    seeded, and restored afterwards.
    """
    if sampler.noise != "global":
        return generate(model, batch, sampler, on_step, memory)
    device = batch["source"].device
    kind = "cuda" if device.type == "cpu" else device.type
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=kind):
        torch.manual_seed(sampler.seed)
        return generate(model, batch, sampler, on_step, memory)


def open_batches(
    records: Sequence[Record],
    transform: PersonTransform,
    batch_size: int,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterable[Batch]:
    """Packed batches (`data.packed`) in the order of the records, on the CPU; workers load the next
    ones in the background."""
    return DataLoader(
        PersonDataset(records, transform, packed=True),
        batch_size=batch_size,
        collate_fn=collate,
        num_workers=workers if len(records) > batch_size else 0,
        worker_init_fn=ignore_interrupts,
        pin_memory=pin_memory,
    )


def even_batch_size(samples: int, most: int) -> int:
    """The batch size, at most `most`, that fills all batches as equally as possible."""
    return math.ceil(samples / max(1, math.ceil(samples / most)))


def fill_batch(batch: Batch, size: int) -> Batch:
    """The batch with its last sample repeated up to `size`.

    Kernels round differently for different batch sizes; with equal ones, an image is bit-identical
    for any number of processes or interruptions.
    """
    lacking = size - len(batch["name"])
    if lacking <= 0:
        return batch
    return {key: _repeat_last(value, lacking) for key, value in batch.items()}  # type: ignore[return-value]  # the same keys


def _repeat_last(value: Any, more: int) -> Any:
    if isinstance(value, dict):
        return {key: _repeat_last(part, more) for key, part in value.items()}
    if isinstance(value, Tensor):
        return torch.cat([value, value[-1:].expand(more, *value.shape[1:])])
    return value + value[-1:] * more
