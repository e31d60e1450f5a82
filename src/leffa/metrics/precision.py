"""Numbers that do not depend on the device: float32 is float32 while pictures are scored, and
float64 is computed on the CPU where the device has none."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

HAVE_FLOAT64 = ("cpu", "cuda")  # Apple's MPS has none


def exact(values: Tensor) -> Tensor:
    """The values in float64; on the CPU where their device has none."""
    return (values if values.device.type in HAVE_FLOAT64 else values.cpu()).double()


class Float64Metric(Metric):
    """A metric whose states are float64: on a device without it they stay on the CPU."""

    def _apply(self, fn: Callable[..., Any], exclude_state: Sequence[str] = "") -> nn.Module:
        target = fn(torch.zeros(1)).device
        return super()._apply(fn, exclude_state) if target.type in HAVE_FLOAT64 else self


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
