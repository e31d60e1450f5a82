"""Images as bytes on their way from the files to the device.

Loader processes send packed samples, a quarter of the size of floats; on the device a batch is
unpacked to the floats that `Batch` specifies, bit-identical.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Packed(NamedTuple):
    """An image whose byte v stands for v / half - 1."""

    pixels: Tensor  #: (..., H, W, C) bytes; of one channel that stands for all of them, C is 1
    half: Tensor  #: (..., 3) by channel

    def unpack(self) -> Tensor:
        """(..., 3, H, W), contiguous."""
        values = self.pixels.movedim(-1, -3)
        values = values.to(torch.float32, memory_format=torch.contiguous_format)
        return values.div(self.half[..., None, None]).sub_(1)

    def mirrored(self) -> "Packed":
        """Left for right."""
        return self._replace(pixels=self.pixels.flip(-2))


def pack(pixels: NDArray[np.uint8], *half: float) -> Packed:
    """An image (H, W, C); by default 127.5, for values in [-1, 1]."""
    divisors = torch.tensor(half or (127.5, 127.5, 127.5))
    return Packed(torch.from_numpy(np.require(pixels, requirements="W")), divisors)


def unpack(sample: Any) -> Any:
    """The sample, or batch, with images as floats, and masks as 0.0 or 1.0."""
    return {key: _unpacked(value) for key, value in sample.items()}


def _unpacked(value: Any) -> Any:
    if isinstance(value, Packed):
        return value.unpack()
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bool else value
