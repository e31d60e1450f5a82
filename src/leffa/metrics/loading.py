"""Images from disk in batches of one size, decoded ahead by worker processes; memory stays flat."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from leffa.io.pictures import check_upright, marked_region
from leffa.io.pictures import decode as decode_file
from leffa.io.processes import ignore_interrupts
from leffa.io.progress import progress_bar
from leffa.metrics.plan import Group, Picture

Views = list[Tensor]  # the views of one batch, each (B, 3, H, W)


def read_batches(
    groups: Sequence[Group],
    title: str = "",
    batch_size: int = 16,
    workers: int = 0,
    progress: bool = False,
) -> Iterator[tuple[list[str], list[Views]]]:
    """Yield the names of each group's first image, and the views of each of its images.

    Only equal sizes stack, so groups come ordered by size, then as they were given. Views are
    uint8, or floats in [0, 255]; a mask has one, (B, 1, H, W) uint8 with 0 or 1.
    """
    by_size: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for index, group in enumerate(groups):
        by_size.setdefault(tuple(picture.size for picture in group), []).append(index)
    batches = [
        indices[start : start + batch_size]
        for _, indices in sorted(by_size.items())
        for start in range(0, len(indices), batch_size)
    ]
    loader: DataLoader[list[Views]] = DataLoader(
        groups,  # type: ignore[arg-type]  # a list is all that it needs
        batch_sampler=batches,
        collate_fn=_decode_batch,
        num_workers=workers,
        worker_init_fn=ignore_interrupts,
    )
    with progress_bar(title, len(batches), progress) as bar:
        for done, (batch, pictures) in enumerate(zip(batches, loader, strict=True), start=1):
            yield [groups[index][0].file.name for index in batch], pictures
            bar(done)


def _decode_batch(groups: Sequence[Group]) -> list[Views]:
    batch: list[Views] = default_collate([[decode(each) for each in group] for group in groups])
    return batch


def decode(picture: Picture) -> Views:
    """The views of one image, each (3, H, W)."""
    path = picture.file.path
    if picture.is_mask:
        return [torch.from_numpy(marked_region(path).astype(np.uint8))[None]]
    image = check_upright(decode_file(path), path)
    pixels = np.array(image if picture.prepare is None else picture.prepare.apply(image, path))
    start = Image.fromarray(pixels) if len(picture.views) > 1 else None
    arrays = [pixels if view is None else view.apply(start, path) for view in picture.views]  # type: ignore[arg-type]
    return [torch.from_numpy(np.array(array)).permute(2, 0, 1) for array in arrays]
