"""Flow fields against the true correspondence: end-point error, PCK and spread.

Flows are (B, H, W, 2) as (x, y) in [-1, 1], corner-aligned. EPE alone can flatter a collapsed flow:
read it beside the spread, and beside `identity_flow` and `ConstantFlow`, which need no network.
"""

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leffa.losses.flow import upsample
from leffa.metrics.precision import Float64Metric, exact

PCK_PERCENT = 3


class FlowMetrics(Metric):
    """End-point error, PCK and spread: means over each image's valid pixels, then over images.

    - `epe_px`: distance between predicted and true position, in pixels of the ground truth;
    - `pck_3`: share of pixels whose error is at most 3 % of the image diagonal, 0 to 1;
    - `spread`: standard deviation of the predicted flow, mean of x and y; 0 where it collapsed.

    A coarser prediction is first upsampled. Images without a valid pixel do not count.
    """

    full_state_update = False
    epe_px: list[Tensor]  # this and the next two: each (B,)
    pck: list[Tensor]
    spread: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("epe_px", "pck", "spread"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, pred: Tensor, true: Tensor, valid: Tensor) -> None:
        """Score one batch: pred (B, h, w, 2), true (B, H, W, 2), valid (B, 1, H, W) with 0 or 1."""
        seen = valid.flatten(1).any(dim=1)
        if not seen.any():
            return
        pred, true, weight = pred[seen], true[seen].float(), valid[seen, 0].float()
        height, width = true.shape[1:3]
        pred = upsample(pred.float(), (height, width))
        # The corners' centres are 2 units apart.
        pixels_per_unit = true.new_tensor([(width - 1) / 2, (height - 1) / 2])
        error = torch.linalg.vector_norm((pred - true) * pixels_per_unit, dim=-1)
        close = error <= PCK_PERCENT / 100 * math.hypot(height, width)
        self.epe_px.append(masked_mean(error, weight))
        self.pck.append(masked_mean(close.float(), weight))
        deviation = pred - masked_mean(pred, weight)[:, None, None]
        self.spread.append(masked_mean(deviation.square(), weight).sqrt().mean(dim=-1))

    def per_image(self) -> dict[str, Tensor]:
        """The values so far, each (number of images,)."""
        values = {"epe_px": self.epe_px, f"pck_{PCK_PERCENT}": self.pck, "spread": self.spread}
        return {name: dim_zero_cat(each) for name, each in values.items()}

    def compute(self) -> dict[str, Tensor]:
        """The means over images, scalars."""
        return {name: exact(values).mean() for name, values in self.per_image().items()}


class ConstantFlow(Float64Metric):
    """The mean ground-truth flow of a data set: the best one that points to a single position.

    Each image counts once, as in `FlowMetrics`. Score it as `constant.expand(B, 1, 1, 2)`.
    """

    full_state_update = False
    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, true: Tensor, valid: Tensor) -> None:
        """Add one batch: true (B, H, W, 2), valid (B, 1, H, W) with 0 or 1."""
        seen = valid.flatten(1).any(dim=1)
        self.total += masked_mean(exact(true[seen]), exact(valid[seen, 0])).sum(dim=0)
        self.images += seen.sum().to(self.images.device)

    def compute(self) -> Tensor:
        """(2,) as (x, y) in [-1, 1]."""
        return self.total / self.images


def identity_flow(height: int, width: int) -> Tensor:
    """The flow that maps every position to itself, (H, W, 2)."""
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over pixels of (B, H, W) or (B, H, W, C) where weight (B, H, W) is 1: (B,) or (B, C)."""
    if values.ndim == 4:
        weight = weight[..., None]
    return (values * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))
