"""Images from disk in batches of one size, decoded ahead by worker processes; memory stays flat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leffa.io.pictures import check_upright, marked_region
from leffa.io.pictures import decode as decode_file
from leffa.io.processes import ignore_interrupts
from leffa.io.progress import progress_bar
from leffa.metrics.plan import Picture

PictureGroup = tuple[Picture, ...]  # what belongs together: a prediction, its true image, its mask
Views = list[Tensor]  # the views of one batch of pictures, each (B, 3, H, W)


@dataclass(frozen=True)
class ImageReader:
    """Reads groups of pictures as a protocol wants them.

    Attributes:
        batch_size: groups at a time.
        workers: processes that decode; 0 = this one.
        progress: show a bar on stderr.
    """

    batch_size: int = 16
    workers: int = 0
    progress: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: give a number from 1")

    def __call__(
        self, groups: Sequence[PictureGroup], title: str
    ) -> Iterator[tuple[list[str], list[Views]]]:
        """Yield the names of each group's first picture, and the views of each of its pictures.

        Only equal sizes stack, so groups come ordered by size, then as they were given. Views are
        uint8, or floats in [0, 255]; a mask has one, (B, 1, H, W) uint8 with 0 or 1.
        """
        batches = self._batches_of_one_size(groups)
        loader = DataLoader(
            _Decoder(groups),
            batch_sampler=batches,
            num_workers=self.workers,
            worker_init_fn=ignore_interrupts,
        )
        with progress_bar(title, len(batches), self.progress) as bar:
            for done, (batch, pictures) in enumerate(zip(batches, loader, strict=True), start=1):
                yield [groups[index][0].file.name for index in batch], pictures
                bar(done)

    def _batches_of_one_size(self, groups: Sequence[PictureGroup]) -> list[list[int]]:
        by_size: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, group in enumerate(groups):
            by_size.setdefault(tuple(picture.size for picture in group), []).append(index)
        return [
            indices[start : start + self.batch_size]
            for _, indices in sorted(by_size.items())
            for start in range(0, len(indices), self.batch_size)
        ]


class _Decoder(Dataset[list[Views]]):
    def __init__(self, groups: Sequence[PictureGroup]) -> None:
        self.groups = groups

    def __getitem__(self, index: int) -> list[Views]:
        return [decode(picture) for picture in self.groups[index]]


def decode(picture: Picture) -> Views:
    """The views of one picture, each (3, H, W).

    Raises:
        FileNotFoundError, ValueError: the file is damaged, or stored turned; or no mask.
    """
    path = picture.file.path
    if picture.is_mask:
        return [torch.from_numpy(marked_region(path).astype(np.uint8))[None]]
    image = check_upright(decode_file(path), path)
    pixels = np.array(image if picture.prepare is None else picture.prepare.apply(image, path))
    start = Image.fromarray(pixels) if len(picture.views) > 1 else None
    arrays = [pixels if view is None else view.apply(start, path) for view in picture.views]  # type: ignore[arg-type]
    return [torch.from_numpy(np.array(array)).permute(2, 0, 1) for array in arrays]
