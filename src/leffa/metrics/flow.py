"""Flow fields against the true correspondence: end-point error, PCK and spread.

Flows are (B, H, W, 2) as (x, y) in [-1, 1], corner-aligned; stored matches (B, P, 4) as in `Batch`.
EPE alone can flatter a collapsed flow: read it beside the spread, and beside `identity_flow` and
`ConstantFlow`, which need no network.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from leffa.data.batch import Batch
from leffa.losses.flow import coordinates, upsample
from leffa.losses.matches import flow_at, stored_matches
from leffa.metrics.precision import Float64Metric, exact

PCK_PERCENT = 3


class PlaceMetrics(Metric, ABC):
    """End-point error, PCK and spread: means over each image's places, then over images.

    - `epe_px`: distance between predicted and true position, in pixels;
    - `pck_3`: share of places whose error is at most 3 % of the image diagonal, 0 to 1;
    - `spread`: standard deviation of the predicted flow, mean of x and y; 0 where it collapsed.
    """

    full_state_update = False
    key: ClassVar[Literal["flow", "matches"]]  # of a batch that can be scored
    prefix: ClassVar[str] = ""  # of the values' names
    epe_px: list[Tensor]  # this and the next two: each (B,)
    pck: list[Tensor]
    spread: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("epe_px", "pck", "spread"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, pred: Tensor, batch: Batch) -> None:
        """Score the flow (B, h, w, 2) of a batch."""

    @property
    def images(self) -> int:
        """How many images have been scored in this process."""
        return sum(len(each) for each in self.epe_px)

    def per_image(self) -> dict[str, Tensor]:
        """The values so far, each (number of images,)."""
        values = {"epe_px": self.epe_px, f"pck_{PCK_PERCENT}": self.pck, "spread": self.spread}
        return {f"{self.prefix}{name}": dim_zero_cat(each) for name, each in values.items()}

    def compute(self) -> dict[str, Tensor]:
        """The means over images, scalars."""
        return {name: exact(values).mean() for name, values in self.per_image().items()}

    def _add(self, pred: Tensor, true: Tensor, weight: Tensor, size: tuple[int, int]) -> None:
        """Add images of `size` (H, W): places (B, N, M, 2) and weights (B, N, M)."""
        height, width = size
        # The corners' centres are 2 units apart.
        pixels_per_unit = true.new_tensor([(width - 1) / 2, (height - 1) / 2])
        error = torch.linalg.vector_norm((pred - true) * pixels_per_unit, dim=-1)
        close = error <= PCK_PERCENT / 100 * math.hypot(height, width)
        self.epe_px.append(masked_mean(error, weight))
        self.pck.append(masked_mean(close.float(), weight))
        deviation = pred - masked_mean(pred, weight)[:, None, None]
        self.spread.append(masked_mean(deviation.square(), weight).sqrt().mean(dim=-1))


class FlowMetrics(PlaceMetrics):
    """`PlaceMetrics` over the valid pixels of a ground-truth flow.

    A coarser prediction is first upsampled. Images without a valid pixel do not count.
    """

    key = "flow"

    def update(self, pred: Tensor, true: Tensor, valid: Tensor) -> None:
        """Score one batch: pred (B, h, w, 2), true (B, H, W, 2), valid (B, 1, H, W) with 0 or 1."""
        seen = valid.flatten(1).any(dim=1)
        if seen.any():
            pred, true, weight = pred[seen], true[seen].float(), valid[seen, 0].float()
            size = (true.shape[1], true.shape[2])
            self._add(upsample(pred.float(), size), true, weight, size)

    def score(self, pred: Tensor, batch: Batch) -> None:
        """Score a flow (B, h, w, 2) by the ground-truth flow of its batch."""
        self.update(pred, batch["flow"], batch["flow_valid"])


class MatchMetrics(PlaceMetrics):
    """`PlaceMetrics` over stored matches. Images without one do not count."""

    key = "matches"
    prefix = "match_"

    def update(self, pred: Tensor, matches: Tensor, size: tuple[int, int]) -> None:
        """Score one batch: pred (B, h, w, 2), matches (B, P, 4), of images of `size` (H, W)."""
        for flow, known in zip(pred.float(), stored_matches(matches.float()), strict=True):
            if len(known):
                true, weight = match_places(known)
                seen = flow_at(flow, known[:, :2])[None, :, None]
                self._add(seen, true, weight[:, 0], size)

    def score(self, pred: Tensor, batch: Batch) -> None:
        """Score a flow (B, h, w, 2) by the stored matches of its batch."""
        self.update(pred, batch["matches"], (batch["source"].shape[-2], batch["source"].shape[-1]))


KINDS: tuple[type[PlaceMetrics], ...] = (FlowMetrics, MatchMetrics)
"""By what flows are scored, where a batch has it."""


def match_places(known: Tensor) -> tuple[Tensor, Tensor]:
    """Where matches (P, 4) lead, as a ground-truth flow (1, P, 1, 2) that is valid (1, 1, P, 1)."""
    return known[None, :, None, 2:], known.new_ones(1, 1, len(known), 1)


class ConstantFlow(Float64Metric):
    """The mean ground-truth flow of a dataset: the best flow that points to a single position.

    Each image counts once, as in `PlaceMetrics`. Score it as `constant.expand(B, 1, 1, 2)`.
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

    def add(self, batch: Batch, key: Literal["flow", "matches"]) -> None:
        """Add a batch by its ground-truth flow, or its stored matches."""
        if key == "flow":
            self.update(batch["flow"], batch["flow_valid"])
            return
        for known in stored_matches(batch["matches"]):
            if len(known):
                self.update(*match_places(known))

    def compute(self) -> Tensor:
        """(2,) as (x, y) in [-1, 1]."""
        return self.total / self.images


def identity_flow(height: int, width: int) -> Tensor:
    """The flow that maps every position to itself, (H, W, 2)."""
    places = coordinates((height, width), device=torch.device("cpu"), dtype=torch.float32)
    return places.view(height, width, 2)


def flow_baselines(batches: Callable[[], Iterable[Batch]]) -> dict[str, float]:
    """Scores of flows that need no network, and the spread of the ground truth; empty without one.

    `flow_identity/...`: every position maps to itself; `flow_constant/...`: all to the best single
    point; both with `match_...` at stored matches; `flow_true/spread`; `flow/match_pairs`: the
    number of pairs with a match. `batches` is called twice, so that memory stays flat.
    """
    identity, constant = {kind: kind() for kind in KINDS}, {kind: ConstantFlow() for kind in KINDS}
    itself, best = FlowMetrics(), {kind: kind() for kind in KINDS}
    known: list[type[PlaceMetrics]] = []
    for batch in batches():
        known = [kind for kind in KINDS if kind.key in batch]
        if not known:
            return {}
        for kind in known:
            unmoved = identity_flow(*batch["source"].shape[-2:])
            identity[kind].score(unmoved.expand(len(batch["name"]), -1, -1, -1), batch)
            constant[kind].add(batch, kind.key)
        if "flow" in batch:
            itself.score(batch["flow"], batch)
    points = {kind: constant[kind].compute().float() for kind in KINDS if identity[kind].images}
    for batch in batches() if points else ():
        for kind, point in points.items():
            best[kind].score(point.expand(len(batch["name"]), 1, 1, 2), batch)
    result: dict[str, float] = {}
    for name, metrics in (("identity", identity), ("constant", best)):
        for kind in points:
            values = metrics[kind].compute()
            result |= {f"flow_{name}/{key}": value.item() for key, value in values.items()}
    if itself.images:
        result["flow_true/spread"] = itself.compute()["spread"].item()
    if MatchMetrics in known:
        result["flow/match_pairs"] = float(identity[MatchMetrics].images)
    return result


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over pixels of (B, H, W) or (B, H, W, C) where weight (B, H, W) is 1: (B,) or (B, C)."""
    if values.ndim == 4:
        weight = weight[..., None]
    return (values * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2))
