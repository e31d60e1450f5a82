"""A torch dataset of records with a transform, and the collation of samples."""

import ctypes
import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, default_collate

from leffa.data.batch import Batch, Record
from leffa.data.transforms import PersonTransform, Sample
from leffa.io.processes import ignore_interrupts

MIRRORED = "/"  # before a name, where no file has it: the latents of the mirrored sample
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGEST = 32 << 20  # bytes, the highest threshold that glibc takes on 64 bits
_NEVER = (1 << 31) - 1


@dataclass(eq=False)
class PersonDataset(Dataset[Sample]):
    """The samples of some records.

    An item is an index, or (index, draw) if a sampler needs a new augmentation each time it draws
    the same sample. The augmentation depends only on (seed, draw), not on workers, GPUs or
    resuming; for a plain index, the draw is the index.
    """

    records: Sequence[Record]
    transform: PersonTransform
    seed: int = 0
    # What the autoencoder makes of each sample, by name (`data.latent_cache`).
    latents: Mapping[str, dict[str, Tensor]] | None = None
    reconstruct: bool = False  #: every second draw is the `reconstruction` of its sample instead
    packed: bool = False  #: images stay bytes (`data.packed`), as loaders hand them on

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        index, draw = item if isinstance(item, tuple) else (item, item)
        record = self.records[index]
        if self.reconstruct and draw % 2:
            record = reconstruction(record)
        transform = self.transform.packed if self.packed else self.transform
        seed = f"{self.seed}/{draw}"
        sample = transform(record, random.Random(seed))
        if self.latents is not None:
            mirrored = self.transform.augmentation.draw(random.Random(seed)).mirror
            sample["latents"] = self.latents[MIRRORED * mirrored + record.name]
        return sample


def reconstruction(record: Record) -> Record:
    """The reference as its own source: a person reconstructed from the image itself."""
    return replace(
        record,
        name=f"{record.name}_reconstruction",
        source=record.reference,
        mask=None,
        densepose=record.reference_densepose,
        parse=None,
        keypoints=record.reference_keypoints,
        flow=None,
        matches=None,
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Collate samples of equal size into a batch, with the keys that all of them have."""
    keys = [key for key in samples[0] if all(key in sample for sample in samples)]
    alike = [key for key in keys if key != "matches"]
    # In a worker it stacks where the other process reads.
    batch = default_collate([{key: sample[key] for key in alike} for sample in samples])
    if "matches" in keys:  # of as many rows as the longest
        rows = [sample["matches"] for sample in samples]
        batch["matches"] = pad_sequence(rows, batch_first=True, padding_value=math.nan)
    return cast(Batch, batch)


def start_worker(worker: int) -> None:
    """A `worker_init_fn` of a `DataLoader` that makes samples."""
    ignore_interrupts(worker)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let this process use its freed memory again instead of giving it back to the system.

    A sample at 1024x768 is 34 MB, which glibc gives back as soon as it is freed. For the next one
    the system clears every page again, which takes as long as the arithmetic on it.
    Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _NEVER)
