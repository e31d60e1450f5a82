"""Float32 for what must stay exact while networks compute in 16 bits."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The same numbers in float32; float64 stays float64."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def without_autocast(like: Tensor) -> torch.autocast:
    """A context in which nothing is computed in fewer bits than its tensors have."""
    device = like.device.type
    return torch.autocast("cpu" if device == "meta" else device, enabled=False)
