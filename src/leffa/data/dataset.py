"""A layout and a transform make a torch dataset, and samples make a batch."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from leffa.data.batch import Batch, Record
from leffa.data.transforms import PersonTransform, Sample


class PersonDataset(Dataset[Sample]):
    """The samples of a layout.

    An item is an index, or (index, draw) where a sampler wants a fresh augmentation each time it
    draws the same sample. The augmentation depends on (seed, draw) alone, so it is the same
    whatever the workers, the GPUs or a resumed run; for a plain index the draw is the index.

    Args:
        records: a layout class, or part of one.
        transform: makes the tensors.
        seed: of the augmentation.
        latents: what the autoencoder makes of each sample, by name, see `data.latent_cache`.
        reconstruct: every second draw is the `reconstruction` of its sample instead.
    """

    def __init__(
        self,
        records: Sequence[Record],
        transform: PersonTransform,
        seed: int = 0,
        latents: Mapping[str, dict[str, Tensor]] | None = None,
        reconstruct: bool = False,
    ) -> None:
        self.records = records
        self.transform = transform
        self.seed = seed
        self.latents = latents
        self.reconstruct = reconstruct

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, item: int | tuple[int, int]) -> Sample:
        index, draw = item if isinstance(item, tuple) else (item, item)
        record = self.records[index]
        if self.reconstruct and draw % 2:
            record = reconstruction(record)
        sample = self.transform(record, random.Random(f"{self.seed}/{draw}"))
        if self.latents is not None:
            sample["latents"] = self.latents[sample["name"]]
        return sample


def reconstruction(record: Record) -> Record:
    """The reference as its own source: a person painted from the picture in which it stands so."""
    return replace(
        record,
        name=f"{record.name}_reconstruction",
        source=record.reference,
        mask=None,
        densepose=record.reference_densepose,
        parse=None,
        keypoints=record.reference_keypoints,
        flow=None,
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as a batch. It has a pose, latents and a flow where every sample has
    them."""
    parts = cast(Sequence[Mapping[str, Any]], samples)
    keys = [key for key in parts[0] if all(key in part for part in parts)]
    return cast(Batch, {key: _stack([part[key] for part in parts]) for key in keys})


def _stack(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    if isinstance(values[0], Mapping):
        return {name: _stack([value[name] for value in values]) for name in values[0]}
    return values
