"""Matches of an image with its reference as tensors: from a flow field, or stored ones.

They are (B, P, 4): (x, y) in the image, then in the reference, in [-1, 1], corner-aligned. Rows
of NaN are padding: only the device knows how many matches a sample has, and no loss waits for it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_tokens(points: Tensor, grid: tuple[int, int] | torch.Size) -> Tensor:
    """The tokens (..., P) of a grid (h, w) nearest to points (..., P, 2), (x, y) in [-1, 1]."""
    height, width = grid
    x, y = ((points + 1) / 2).unbind(dim=-1)
    column, row = ((at * (side - 1)).round().long() for at, side in ((x, width), (y, height)))
    return row.clamp(0, height - 1) * width + column.clamp(0, width - 1)


def flow_at(flow: Tensor, points: Tensor) -> Tensor:
    """A flow (h, w, 2) read at points (P, 2), bilinear as `upsample` is: (P, 2)."""
    read = F.grid_sample(
        flow.movedim(-1, 0)[None],
        points[None, None].to(flow.dtype),
        padding_mode="border",
        align_corners=True,
    )
    return read[0, :, 0].mT


def spread(known: Tensor, points: int) -> Tensor:
    """At most `points` pixels of each mask (B, H * W), spread over it: their indices (B, P), the
    known ones first.

    They depend on the mask only, so an image keeps its points in all steps.
    """
    # Multiples of the golden ratio, modulo 1, are spread evenly (Knuth's multiplicative hash).
    rank = torch.arange(known.shape[1], device=known.device) * 2654435761 % 2**32
    rank = rank.where(known, 2**32)
    return rank.topk(min(points, known.shape[1]), largest=False).indices


def flow_matches(flow: Tensor, chosen: Tensor, points: int | None = None) -> Tensor:
    """The matches (B, P, 4) of the chosen pixels (B, 1, H, W) by a flow (B, H, W, 2): of at most
    `points` of them (`spread`), or all."""
    height, width = flow.shape[1:3]
    known = chosen.flatten(1) > 0
    every = torch.arange(height * width, device=flow.device).expand(len(flow), -1)
    pixel = every if points is None else spread(known, points)
    column, row = (at.to(flow.dtype) for at in (pixel % width, pixel // width))
    here = torch.stack([column / max(width - 1, 1), row / max(height - 1, 1)], dim=-1) * 2 - 1
    there = flow.flatten(1, 2).gather(1, pixel[..., None].expand(-1, -1, 2))
    return _without(torch.cat([here, there], dim=-1), known.gather(1, pixel))


def matches_in_region(matches: Tensor, region: Tensor) -> Tensor:
    """Those whose point lies in the region (B, 1, H, W)."""
    pixel = nearest_tokens(matches[..., :2].nan_to_num(), region.shape[-2:])
    return _without(matches, region.flatten(1).gather(1, pixel) > 0)


def stored_matches(matches: Tensor) -> list[Tensor]:
    """Each sample's matches (P, 4), without padding."""
    return [rows[rows.isfinite().all(dim=1)] for rows in matches]


def match_distance(flow: Tensor, matches: Tensor) -> Tensor:
    """Squared distance (B,) of a flow (B, h, w, 2) from matches: the mean over each sample's, 0
    where there is none."""
    known, rows = matches.isfinite().all(dim=-1), matches.nan_to_num()
    read = torch.stack([flow_at(*each) for each in zip(flow, rows[..., :2], strict=True)])
    distance = (read - rows[..., 2:]).square().sum(dim=-1) * known
    return distance.sum(dim=1) / known.sum(dim=1).clamp_min(1)


def _without(matches: Tensor, kept: Tensor) -> Tensor:
    """The matches with NaN for those rows that are not kept, (B, P)."""
    return matches.masked_fill(~kept[..., None], torch.nan)
