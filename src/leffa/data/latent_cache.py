"""The latents of a dataset, cached on disk, so that no epoch encodes the same images again.

A cache holds, for each sample, what `PersonGenerator.latents` computes, in single precision. A run
with a cache equals one without up to the rounding of another batch size and, in mixed precision,
of an autoencoder that computes in 16 bits. Where the transform mirrors, each sample is there twice.
The images themselves are still read: the Leffa loss compares pixels.

    <folder>/<split>_<height>x<width>/cache.json                 whose latents these are
    <folder>/<split>_<height>x<width>/latents_00000.safetensors  of the first 256 samples, ...

A cache made of another autoencoder, transform or files is refused.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache, cached_property, partial
from inspect import isfunction
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from leffa.data.batch import Batch, Record
from leffa.data.dataset import MIRRORED, PersonDataset, collate
from leffa.data.keypoints import Annotation
from leffa.data.transforms import PersonTransform, Sample
from leffa.io.atomic import replacing, write_json
from leffa.io.files import exclusive_lock

log = logging.getLogger(__name__)

# Of a record: what the autoencoder never sees.
_NOT_ENCODED = ("reference_densepose", "reference_keypoints")
SHARD = 256  # samples in a file: what an interrupted run may have to repeat

Latents = dict[str, Tensor]  # image -> (C, h, w), or with a leading B


class LatentEncoder(Protocol):
    """The part of a `PersonGenerator` that a cache replaces."""

    vae: nn.Module

    def latents(self, batch: Batch) -> Latents: ...


class LatentCache(Mapping[str, Latents]):
    """The latents of a dataset's samples, by name; made on first use.

    Args:
        folder: of this dataset at this size.
        encoder: works on the device of its autoencoder, on `batch_size` images at a time.
        progress: called with (samples done, samples in all).

    Raises:
        ValueError: the transform is random, the folder holds latents of another autoencoder,
            transform or data, or the disk has too little space for them.
    """

    def __init__(
        self,
        folder: Path,
        records: Sequence[Record],
        transform: PersonTransform,
        encoder: LatentEncoder,
        batch_size: int = 8,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        as_stored = transform.without_augmentation()
        if transform != replace(as_stored, flip=transform.flip):
            raise ValueError(
                "latent_cache: a cache keeps every image as it is and mirrored, and data.transform "
                "augments in other ways too; switch the augmentation or the cache off"
            )
        versions = {"": as_stored}
        if transform.flip:
            versions[MIRRORED] = replace(as_stored, flip=1.0)
        names = [f"{version}{record.name}" for version in versions for record in records]
        self.folder = folder
        self._places = {name: place for place, name in enumerate(names)}
        self._shards: dict[Path, Any] = {}
        _claim(folder, _origin(records, [*versions.values()][-1], encoder))  # of any share mirrored
        dataset = ConcatDataset[Sample]([PersonDataset(records, v) for v in versions.values()])
        encode = partial(_encode, dataset, names, encoder)
        lacking = [f for f in range(0, len(names), SHARD) if not self._shard(f).is_file()]
        if lacking:
            samples = sum(min(SHARD, len(names) - first) for first in lacking)
            _check_disk(folder, samples, encode(range(1)))
        # Several processes share the work: first each takes what no other one is at.
        for patience in (0.0, -1.0):
            for first in range(0, len(names), SHARD):
                last = min(first + SHARD, len(names))
                path = self._shard(first)
                with exclusive_lock(Path(f"{path}.lock"), patience) as mine:
                    if mine and not path.is_file():
                        _write(path, encode, range(first, last), batch_size)
                if progress is not None:
                    progress(last, len(names))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, name: str) -> Latents:
        path = self._shard(self._places[name])
        if path not in self._shards:
            self._shards[path] = safe_open(path, framework="pt")
        return {
            picture: self._shards[path].get_tensor(f"{name}/{picture}")
            for picture in self._pictures
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # open files do not travel to loader processes

    @cached_property
    def _pictures(self) -> list[str]:
        start = f"{next(iter(self._places))}/"
        with safe_open(self._shard(0), framework="pt") as shard:
            keys = shard.keys()
        return sorted(key.removeprefix(start) for key in keys if key.startswith(start))

    def _shard(self, index: int) -> Path:
        return self.folder / f"latents_{index // SHARD:05d}.safetensors"


def _write(path: Path, encode: Callable[[range], Latents], indices: range, batch_size: int) -> None:
    tensors: Latents = {}
    for first in range(indices.start, indices.stop, batch_size):
        tensors |= encode(range(first, min(first + batch_size, indices.stop)))
    with replacing(path) as temporary:
        save_file(tensors, temporary)


def _encode(
    dataset: Dataset[Sample], names: Sequence[str], encoder: LatentEncoder, indices: range
) -> Latents:
    """The latents of these samples by `<name>/<picture>`, each (C, h, w), on the CPU."""
    weight = next(encoder.vae.parameters())  # of the precision that a training runs in
    batch = collate([dataset[index] for index in indices])
    moved = {
        key: value.to(weight.device, weight.dtype if value.is_floating_point() else None)
        if isinstance(value, Tensor)
        else value
        for key, value in batch.items()
    }
    with torch.no_grad():
        latents = encoder.latents(moved)  # type: ignore[arg-type]  # the same keys
    return {
        f"{names[index]}/{picture}": values.clone(memory_format=torch.contiguous_format)
        for picture, each in latents.items()
        for index, values in zip(indices, each.float().cpu(), strict=True)
    }


def _check_disk(folder: Path, samples: int, one: Latents) -> None:
    """Say what a cache takes, by the latents of one sample; ValueError where that is not free."""
    size = samples * sum(tensor.nbytes for tensor in one.values()) / 1e9
    free = shutil.disk_usage(folder).free / 1e9
    if size > free:
        raise ValueError(
            f"{folder}: the latents of {samples:,} samples need {size:.1f} GB, and {free:.1f} GB "
            "are free; free some space, give a latent_cache on another disk, or latent_cache=null"
        )
    log.info("encoding %d samples into %s: %.1f GB", samples, folder, size)


def _origin(
    records: Sequence[Record], transform: PersonTransform, encoder: LatentEncoder
) -> dict[str, str]:
    """Everything the latents depend on, by the names that messages use."""
    files = hashlib.sha256()
    described = cache(_file)  # an image is in several pairs
    for record in records:
        for field in fields(record):
            if field.name in _NOT_ENCODED:
                continue
            value = getattr(record, field.name)
            if isinstance(value, Path):
                value = described(value)
            elif isinstance(value, Annotation):
                value = f"{described(value.path)},{value.frame},{value.row},{value.left}"
            files.update(f"{field.name}={value}".encode())
    return {
        "autoencoder": fingerprint(encoder.vae),
        "transform": ", ".join(
            f"{field.name}={_described(getattr(transform, field.name))}"
            for field in fields(transform)
        ),
        "files": files.hexdigest(),
        "samples": str(len(records)),
    }


def _file(path: Path) -> str:
    """Not its folder: files that were moved, or named from elsewhere, are the same."""
    status = path.stat()
    return f"{path.name},{status.st_size},{status.st_mtime_ns}"


def fingerprint(module: nn.Module) -> str:
    """A hash of a module's weights, which identifies an autoencoder."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _described(value: object) -> str:
    """A value's text that is the same in every process, which a function's own is not."""
    if isinstance(value, partial):
        return f"{_described(value.func)}{value.args}{sorted(value.keywords.items())}"
    return f"{value.__module__}.{value.__qualname__}" if isfunction(value) else repr(value)


def _claim(folder: Path, origin: dict[str, str]) -> None:
    path = folder / "cache.json"
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        if changed := [part for part in origin if known.get(part) != origin[part]]:
            raise ValueError(
                f"{folder}: holds other latents (changed: {', '.join(changed)}); "
                "delete this folder or give another latent_cache"
            )
        return
    write_json(path, origin)
