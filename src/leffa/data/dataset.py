"""A layout and a transform make a torch dataset, and samples make a batch."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

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
    batch = Batch(
        source=torch.stack([sample["source"] for sample in samples]),
        reference=torch.stack([sample["reference"] for sample in samples]),
        mask=torch.stack([sample["mask"] for sample in samples]),
        densepose=torch.stack([sample["densepose"] for sample in samples]),
        loss_region=torch.stack([sample["loss_region"] for sample in samples]),
        name=[sample["name"] for sample in samples],
        category=[sample["category"] for sample in samples],
    )
    if all("pose" in sample for sample in samples):
        batch["pose"] = torch.stack([sample["pose"] for sample in samples])
    if all("latents" in sample for sample in samples):
        batch["latents"] = {
            picture: torch.stack([sample["latents"][picture] for sample in samples])
            for picture in samples[0]["latents"]
        }
    if all("flow" in sample and "flow_valid" in sample for sample in samples):
        batch["flow"] = torch.stack([sample["flow"] for sample in samples])
        batch["flow_valid"] = torch.stack([sample["flow_valid"] for sample in samples])
    return batch
