"""The one LightningDataModule: from datasets, a transform and stages to batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from leffa.data.batch import Batch, Record
from leffa.data.dataset import PersonDataset, collate, start_worker
from leffa.data.doctor.quick import check_records
from leffa.data.latent_cache import LatentCache, LatentEncoder
from leffa.data.packed import unpack
from leffa.data.transforms import PersonTransform, Sample
from leffa.io.numbers import check_count
from leffa.io.progress import progress_bar


class LoaderStage(Protocol):
    """The properties of a training stage that a loader needs."""

    @property
    def steps(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...


def micro_batch_draws(index: int, size: int, rank: int = 0, ranks: int = 1) -> range:
    """The draws in the micro-batch `index` of a rank, counted from the start of the stage.

    Micro-batch k of all ranks holds draws [k * size, (k + 1) * size), and rank r of R takes
    micro-batches r, r + R, ...: a step has the same draws however it is split into micro-batches.
    The augmentation of a sample depends on the number of its draw.
    """
    first = (index * ranks + rank) * size
    return range(first, first + size)


@dataclass(eq=False)
class MicroBatchSampler(Sampler[list[tuple[int, int]]]):
    """Yields (index, draw) pairs: every sample once per pass, in an order fixed by the seed.

    Draw g of the stage is sample g mod N of pass g // N; `micro_batch_draws` assigns it to a rank.
    """

    samples: int  # N
    size: int  # images per micro-batch
    count: int  # micro-batches of this rank in the whole stage
    seed: int
    rank: int = 0
    ranks: int = 1
    start: int = 0  # micro-batches of this rank that were given out before (a resumed run)
    repeat: int = 1  # how many draws in a row are of one sample; g above then counts these rows

    def __len__(self) -> int:
        return self.count  # of the whole stage: a resumed Lightning loop counts on from `start`

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order: tuple[int, list[int]] = (-1, [])
        for own in range(self.start, self.count):
            micro_batch = []
            for draw in micro_batch_draws(own, self.size, self.rank, self.ranks):
                turn, place = divmod(draw // self.repeat, self.samples)
                if order[0] != turn:
                    order = (turn, self._order(turn))
                micro_batch.append((order[1][place], draw))
            yield micro_batch

    def _order(self, turn: int) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + turn)
        return torch.randperm(self.samples, generator=generator).tolist()


class PersonDataModule(LightningDataModule):
    """The batches of a curriculum; one stage is one epoch.

    Args:
        train, val: the records; of `val`, `val_samples` evenly spaced ones are used, the same at
            each validation.
        transform: function of a height and a width that returns a transform.
        micro_batches: per stage (images per device and forward pass, passes per optimizer step).
        seed: seed of order and augmentation.
        num_workers: processes that load samples.
        reconstruct: in training, every pair occurs twice in a row, the second time as the
            reconstruction of its reference (`data.dataset.reconstruction`): half of each batch.
    """

    def __init__(
        self,
        train: Sequence[Record],
        val: Sequence[Record],
        transform: Callable[..., PersonTransform],
        stages: Sequence[LoaderStage],
        micro_batches: Sequence[tuple[int, int]],
        val_samples: int = 16,
        seed: int = 0,
        num_workers: int = 0,
        reconstruct: bool = False,
    ) -> None:
        super().__init__()
        check_count("seed", seed, least=0)
        check_count("data.val_samples", val_samples, least=0)
        if not len(train):
            raise ValueError("data.train has no samples")
        self.train_records = train
        # From all over the list: DressCode's has one category after the other.
        count = min(val_samples, len(val))
        self.val_records = [val[index * len(val) // count] for index in range(count)]
        self.transform = transform
        self.stages = stages
        self.micro_batches = micro_batches
        self.seed = seed
        self.num_workers = num_workers
        self.reconstruct = reconstruct
        self._latents: tuple[Path, LatentEncoder] | None = None

    def train_dataloader(self) -> DataLoader[Sample]:
        """This rank's micro-batches of the stage; a resumed run continues where it stopped."""
        epoch, rank, ranks = self._position()
        stage = self.stages[epoch]
        size, accumulate = self.micro_batches[epoch]
        sampler = MicroBatchSampler(
            len(self.train_records),
            size,
            stage.steps * accumulate,
            self.seed + epoch,
            rank,
            ranks,
            self._dealt(),
            repeat=2 if self.reconstruct else 1,
        )
        transform = self._transform(stage)
        latents = self._cached(stage, transform)
        dataset = PersonDataset(self.train_records, transform, self.seed, latents, self.reconstruct)
        return self._loader(dataset, batch_sampler=sampler)

    def cache_latents(self, folder: Path, encoder: LatentEncoder) -> None:
        """Encode every training image once, into `folder`, when a stage first needs it."""
        if self.reconstruct:
            raise ValueError(
                "latent_cache: holds the latents of pairs, and data.reconstruct trains on "
                "reconstructions too; switch one of them off"
            )
        self._latents = folder, encoder

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """This rank's share of the validation samples, not augmented; [] if it has none."""
        epoch, rank, ranks = self._position()
        records = self.val_records[rank::ranks]
        if not records:
            return []
        stage = self.stages[epoch]
        dataset = PersonDataset(records, self._transform(stage).without_augmentation(), self.seed)
        share = len(self.val_records) / ranks
        count = min(math.ceil(math.ceil(share) / self.micro_batches[epoch][0]), math.floor(share))
        return self._loader(dataset, batch_sampler=_split(len(records), max(count, 1)))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Images become floats in [-1, 1] on the device (`data.packed.unpack`)."""
        assert self.trainer is not None
        # Lightning has converted what were floats before, to float64 for example.
        unpacked: Batch = self.trainer.precision_plugin.convert_input(unpack(batch))
        return unpacked

    def check(self) -> None:
        """The quick part of the doctor, and one sample of each kind: a broken folder is found
        before the model is built."""
        transform = self._transform(self.stages[0]).without_augmentation()
        for records in (self.train_records, self.val_records):
            if not len(records):
                continue
            check_records(records, transform)
            if self.reconstruct and records is self.train_records:
                PersonDataset(records, transform, self.seed, reconstruct=True)[0, 1]

    def check_ranks(self, ranks: int) -> None:
        """Raise ValueError unless every process has samples to validate: none may wait."""
        if 0 < len(self.val_records) < ranks:
            raise ValueError(
                f"data.val_samples={len(self.val_records)}: fewer than the {ranks} processes; "
                f"give at least {ranks}, or 0 for no validation"
            )

    def _transform(self, stage: LoaderStage) -> PersonTransform:
        return self.transform(height=stage.height, width=stage.width)

    def _cached(self, stage: LoaderStage, transform: PersonTransform) -> LatentCache | None:
        if self._latents is None:
            return None
        folder = self._latents[0] / f"train_{stage.height}x{stage.width}"
        with progress_bar(f"encoding {folder}") as bar:
            return LatentCache(
                folder, self.train_records, transform, self._latents[1], progress=bar
            )

    def _position(self) -> tuple[int, int, int]:
        """Stage, rank and number of ranks; the first stage of a single process outside a
        trainer."""
        if self.trainer is None:
            return 0, 0, 1
        epoch = min(self.trainer.current_epoch, len(self.stages) - 1)
        return epoch, self.trainer.global_rank, self.trainer.world_size

    def _dealt(self) -> int:
        """Micro-batches of this stage that a resumed run has already used."""
        if self.trainer is None:
            return 0
        epoch, _, _ = self._position()
        steps = self.trainer.global_step - sum(stage.steps for stage in self.stages[:epoch])
        return steps * self.micro_batches[epoch][1]

    def _loader(
        self,
        dataset: PersonDataset,
        batch_sampler: Sampler[list[tuple[int, int]]] | list[list[int]],
    ) -> DataLoader[Sample]:
        return DataLoader(
            replace(dataset, packed=True),
            batch_sampler=batch_sampler,
            collate_fn=collate,
            num_workers=self.num_workers,
            worker_init_fn=start_worker,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _split(count: int, parts: int) -> list[list[int]]:
    """The numbers below `count` in order, in parts whose sizes differ by at most one.

    The processes share the samples so that theirs differ by at most one too; each has the same
    number of parts, since the model is evaluated by all of them together.
    """
    bounds = [part * count // parts for part in range(parts + 1)]
    return [list(range(start, end)) for start, end in pairwise(bounds)]
