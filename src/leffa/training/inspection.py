"""What the flows of a validation batch are worth, with and without a true one."""

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import warp
from leffa.metrics.flow import FlowMetrics


def warp_values(flow: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What a flow (B, h, w, 2) is worth without the true one, each (B,).

    `warp_error`: the squared error of the warped reference, mean over the loss's region and
    channels as in the Leffa loss, 0 where the region is empty; `spread`: how far apart the places
    looked at are.
    """
    reference, source, region = (
        batch[key].float() for key in ("reference", "source", "loss_region")
    )
    error = (warp(reference, flow) - source).square().mean(dim=1, keepdim=True) * region
    area = region.sum(dim=(1, 2, 3)).clamp_min(1)
    spread = flow.flatten(1, 2).std(dim=1).mean(dim=-1)
    return {"warp_error": error.sum(dim=(1, 2, 3)) / area, "spread": spread}


def ground_truth_flow_values(flow: Tensor, batch: Batch) -> tuple[dict[str, Tensor], int]:
    """The means of `FlowMetrics` over samples with a visible ground-truth flow, and their number.

    With none, the values must not count.
    """
    valid = batch["flow_valid"]
    seen = int(valid.flatten(1).any(dim=1).sum())
    metrics = FlowMetrics().to(flow.device)
    metrics.update(flow, batch["flow"], valid if seen else torch.ones_like(valid))
    return metrics.compute(), seen
