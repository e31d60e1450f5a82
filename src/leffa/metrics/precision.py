"""Numbers that do not depend on the device: full float32, and float64 on the CPU where needed."""

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
    """Convolutions on a GPU keep all digits of float32; by default cuDNN rounds to TF32."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]  # it replaces its module
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before
