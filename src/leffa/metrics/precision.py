"""Numbers that do not depend on the graphics card: float32 is float32 while pictures are scored."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """While it lasts, convolutions on a GPU keep all digits of float32.

    By default cuDNN rounds their inputs to the 10 bits of TF32 on Ampere and newer cards, and
    Inception and LPIPS would see less of a picture than on a CPU. Matrix products are not rounded
    by default.
    """
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # it replaces its module
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
