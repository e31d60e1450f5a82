"""Metrics of the flows of a validation batch, with and without a ground-truth flow."""

from collections.abc import Iterable

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import warp
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import FlowMetrics
from leffa.models.interface import PersonGenerator


def warp_values(flow: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What a flow (B, h, w, 2) is worth without the true one, each (B,).

    `warp_error`: squared error of the warped reference, as in the Leffa loss; 0 where the region is
    empty. `spread`: how far apart the places looked at are.
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


def error_by_layer(
    model: PersonGenerator,
    batches: Iterable[Batch],
    request: FlowRequest,
    timestep: int,
    seed: int = 0,
) -> dict[str, float]:
    """The end-point error in pixels of each layer that `request` asks for, over all samples of all
    processes whose ground-truth flow is visible; their noise comes from (seed, name)."""
    metrics: dict[str, FlowMetrics] = {}
    for batch in batches:
        seen = noised_forward(model, encode_batch(model, batch), timestep, request, seed)
        for name, flow in seen.prediction.flows.items():
            metric = metrics.setdefault(name, FlowMetrics().to(flow.device))
            metric.update(flow, batch["flow"], batch["flow_valid"])
    return {name: float(metric.compute()["epe_px"]) for name, metric in metrics.items()}
