"""The blur that gives the flow of an untrained attention a useful gradient (`leffa_loss.blur`)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur (B, C, H, W) with a Gaussian of `sigma` pixels, cut at 3 sigma; 0 changes nothing."""
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return image
    offsets = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    planes = image.flatten(0, 1).unsqueeze(1)
    planes = F.conv2d(F.pad(planes, (radius, radius, 0, 0), "replicate"), weights.view(1, 1, 1, -1))
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), "replicate"), weights.view(1, 1, -1, 1))
    return planes.view_as(image)
