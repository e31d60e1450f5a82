"""One view of a model's attention: a timestep, a layer or all, a head or their mean.

The page's script does the same with the short numbers that it is given.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.attention import LayerReading, Layers
from leffa.losses.flow import upsample
from leffa.losses.matches import nearest_tokens, stored_matches
from leffa.metrics.flow import KINDS

FADED = 0.2  # what is left of a colour where an image says little


@dataclass(frozen=True)
class View:
    """Which attention is shown.

    Args:
        layer: a dotted name; None for the mean over layers.
        head: from 0; None for the mean over heads.
    """

    timestep: int
    layer: str | None = None
    head: int | None = None

    def of(self, layers: Layers) -> list[LayerReading]:
        return list(layers.values()) if self.layer is None else [layers[self.layer]]

    def heads(self, values: Tensor) -> Tensor:
        """The chosen one of N heads, or their mean; (N, ...) to (...)."""
        return values.mean(dim=0) if self.head is None else values[self.head]


def attention(layers: Layers, view: View, point: int) -> Tensor:
    """The attention (h', w') of a point, as many times what flat attention would give."""
    chosen = view.of(layers)
    size = max((seen.rows.maps.shape[-2:] for seen in chosen), key=lambda shape: shape[0])
    maps = [
        F.interpolate(
            view.heads(seen.rows.maps[seen.token[point]])[None, None],
            size=tuple(size),
            mode="bilinear",
            align_corners=True,
        )[0, 0]
        for seen in chosen
    ]
    return torch.stack(maps).mean(dim=0)


def attended_position(layers: Layers, view: View, point: int) -> Tensor:
    """The place (2,) that a point looks at, (x, y) in [-1, 1]."""
    places = [view.heads(seen.rows.at[seen.token[point]]) for seen in view.of(layers)]
    return torch.stack(places).mean(dim=0)


def peak_mass(layers: Layers, view: View, point: int) -> float:
    """The largest weight of a point's row; the mean over layers and heads where asked for."""
    peaks = [view.heads(seen.rows.peak[seen.token[point]]) for seen in view.of(layers)]
    return torch.stack(peaks).mean().item()


def flow(layers: Layers, view: View, size: tuple[int, int]) -> Tensor:
    """The flow field at a size (H, W), (1, H, W, 2)."""
    fields = [upsample(view.heads(seen.flows)[None], size) for seen in view.of(layers)]
    return torch.stack(fields).mean(dim=0)


def has_truth(batch: Batch) -> bool:
    """Whether the ground-truth flow is known of any pixel."""
    return "flow" in batch and bool(batch["flow_valid"].any())


def has_matches(batch: Batch) -> bool:
    return any(map(len, stored_matches(batch["matches"]))) if "matches" in batch else False


def flow_scores(layers: Layers, view: View, batch: Batch) -> dict[str, float]:
    """EPE, PCK and spread of a batch of one: against its ground-truth flow, and as `match_...` at
    its stored matches; nothing where it has neither."""
    size = (batch["source"].shape[-2], batch["source"].shape[-1])
    one = None if view.layer is None else view.heads(layers[view.layer].flows)[None]
    seen = flow(layers, view, size) if one is None else one  # an evaluation's flows are as coarse
    scores: dict[str, float] = {}
    for metric in (kind() for kind in KINDS if kind.key in batch):
        metric.score(seen, batch)
        if metric.images:
            scores |= {key: value.item() for key, value in metric.compute().items()}
    return scores


def flow_error(layers: Layers, view: View, batch: Batch) -> float | None:
    """EPE in pixels against the ground-truth flow of a batch of one, else at its stored matches;
    None where it has neither."""
    scores = flow_scores(layers, view, batch)
    return scores.get("epe_px", scores.get("match_epe_px"))


def true_matches(batch: Batch, points: Tensor) -> list[list[float] | None]:
    """Where each point (P, 2) truly is in the reference, (x, y) in [-1, 1]; None: not known."""
    if "flow" not in batch:
        return [None] * len(points)
    tokens = nearest_tokens(points, (batch["flow"].shape[1], batch["flow"].shape[2]))
    places = batch["flow"][0].cpu().flatten(0, 1)[tokens].tolist()
    known = batch["flow_valid"][0, 0].cpu().flatten()[tokens] > 0
    return [place if valid else None for place, valid in zip(places, known, strict=True)]


def flow_region(batch: Batch) -> Tensor:
    """(1, 1, H, W) 0 or 1: where the true match is known, else where the model paints."""
    return batch.get("flow_valid", batch["mask"]).float().cpu()


def faded(image: Tensor, region: Tensor) -> Tensor:
    """An image (1, 3, H, W) in [-1, 1], nearly white outside of a region (1, 1, H, W)."""
    strength = region + FADED * (1 - region)
    return image * strength + (1 - strength)


def best_layer(layers: Layers, view: View, batch: Batch) -> str:
    """The layer whose flow is nearest to the ground truth, else the last of the finest ones."""
    errors = {name: flow_error(layers, replace(view, layer=name), batch) for name in layers}
    known = {name: error for name, error in errors.items() if error is not None}
    if known:
        return min(known, key=lambda name: known[name])
    finest = max(seen.shape.grid[0] for seen in layers.values())
    return [name for name, seen in layers.items() if seen.shape.grid[0] == finest][-1]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Dotted names of layers as the few characters that tell them apart: "up 2.1"."""
    names = list(names)
    blocks = {name: [part for part in name.split(".") if part.isdigit()] for name in names}
    # The transformer block's number is the last; most networks have one block a layer.
    single = all(numbers and numbers[-1] == "0" for numbers in blocks.values())
    short = {}
    for name, numbers in blocks.items():
        kind = name.split("_", 1)[0].split(".", 1)[0]
        short[name] = f"{kind} {'.'.join(numbers[:-1] if single else numbers)}".strip()
    return short if len(set(short.values())) == len(names) else {name: name for name in names}
