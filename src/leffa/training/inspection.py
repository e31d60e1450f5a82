"""Metrics of the flows of a validation batch, with and without a ground-truth flow."""

from collections.abc import Iterable

from torch import Tensor

from leffa.data.batch import Batch
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import warp
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import PCK_PERCENT, FlowMetrics, MatchMetrics, PlaceMetrics
from leffa.models.interface import PersonGenerator


def warp_values(flow: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Metrics of a flow (B, h, w, 2) that need no ground truth, each (B,).

    `warp_error`: squared error of the warped reference, as in the Leffa loss; 0 where the region is
    empty. `spread`: how far apart the places looked at are.
    """
    reference, source, region = (
        batch[key].float() for key in ("reference", "source", "loss_region")
    )
    error = (warp(reference, flow) - source).square().mean(dim=1, keepdim=True) * region
    area = region.sum(dim=(1, 2, 3)).clamp_min(1)
    places = flow.flatten(1, 2)
    spread = places.std(dim=1, correction=min(1, places.shape[1] - 1)).mean(dim=-1)  # of one: 0
    return {"warp_error": error.sum(dim=(1, 2, 3)) / area, "spread": spread}


def true_flow_values(
    kind: type[PlaceMetrics], flow: Tensor, batch: Batch
) -> tuple[dict[str, Tensor], int]:
    """The means of `FlowMetrics` over samples with a visible ground-truth flow, or of
    `MatchMetrics` over those with stored matches, and their number.

    With none, the values must not count.
    """
    metrics = kind().to(flow.device)
    metrics.score(flow, batch)
    if metrics.images:
        return metrics.compute(), metrics.images
    names = (f"{kind.prefix}{name}" for name in ("epe_px", f"pck_{PCK_PERCENT}", "spread"))
    return {name: flow.new_zeros(()) for name in names}, 0


def error_by_layer(
    model: PersonGenerator,
    batches: Iterable[Batch],
    request: FlowRequest,
    timestep: int,
    seed: int = 0,
) -> dict[str, float]:
    """The end-point error in pixels of each layer that `request` asks for, over all samples of all
    processes whose ground-truth flow is visible, or that have stored matches where there is
    none; their noise comes from (seed, name)."""
    metrics: dict[str, PlaceMetrics] = {}
    for batch in batches:
        seen = noised_forward(model, encode_batch(model, batch), timestep, request, seed)
        for name, flow in seen.prediction.flows.items():
            kind = FlowMetrics if "flow" in batch else MatchMetrics
            metrics.setdefault(name, kind().to(flow.device)).score(flow, batch)
    return {
        name: float(metric.compute()[f"{metric.prefix}epe_px"]) for name, metric in metrics.items()
    }
