"""Images from disk in batches of one size, decoded ahead by worker processes; memory stays flat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leffa.metrics.folders import ImageFile

ImageGroup = tuple[ImageFile, ...]  # images that belong together: a prediction and its true image


@dataclass(frozen=True)
class ImageReader:
    """Reads groups of images.

    Attributes:
        batch_size: groups at a time.
        workers: processes that decode; 0 = this one.
        progress: show a bar.
    """

    batch_size: int = 16
    workers: int = 0
    progress: bool = False

    def __call__(
        self, groups: Sequence[ImageGroup], title: str
    ) -> Iterator[tuple[list[str], list[Tensor]]]:
        """Yield the names of each group's first image, and for each place a uint8 (B, 3, H, W).

        Only equal sizes stack, so groups come ordered by size.
        """
        batches = self._batches_of_one_size(groups)
        loader = DataLoader(_Decoder(groups), batch_sampler=batches, num_workers=self.workers)
        bar = track(loader, title, total=len(batches), disable=not self.progress)
        for batch, images in zip(batches, bar, strict=True):
            yield [groups[index][0].name for index in batch], list(images)

    def _batches_of_one_size(self, groups: Sequence[ImageGroup]) -> list[list[int]]:
        by_size: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for index, group in enumerate(groups):
            by_size.setdefault(tuple(image.size for image in group), []).append(index)
        return [
            indices[start : start + self.batch_size]
            for _, indices in sorted(by_size.items())
            for start in range(0, len(indices), self.batch_size)
        ]


class _Decoder(Dataset[tuple[Tensor, ...]]):
    def __init__(self, groups: Sequence[ImageGroup]) -> None:
        self.groups = groups

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(_decode(image) for image in self.groups[index])


def _decode(file: ImageFile) -> Tensor:
    """(3, H, W) uint8."""
    try:
        with Image.open(file.path) as image:
            pixels = np.array(image)
    except (OSError, SyntaxError) as error:  # truncated data; a damaged PNG chunk
        raise ValueError(f"{file.path}: cannot be decoded ({error}); save it again") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)
