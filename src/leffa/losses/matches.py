"""Matches of a picture with its reference as tensors: from a flow field, or stored ones.

Of each sample they are (P, 4): (x, y) in the picture, then in the reference, in [-1, 1],
corner-aligned.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_tokens(points: Tensor, grid: tuple[int, int] | torch.Size) -> Tensor:
    """The tokens (P,) of a grid (h, w) that are nearest to points (P, 2), (x, y) in [-1, 1]."""
    height, width = grid
    sides = points.new_tensor([width - 1, height - 1])
    column, row = ((points + 1) / 2 * sides).round().long().unbind(dim=-1)
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


def thin(known: Tensor, points: int) -> Tensor:
    """At most so many pixels of each mask (B, 1, H, W), spread over it, as a mask.

    Which ones depends on the mask alone, so that a picture keeps its points in all steps.
    """
    pixels = known.flatten(1) > 0
    # Multiples of the golden ratio, modulo 1, are spread evenly (Knuth's multiplicative hash).
    rank = torch.arange(pixels.shape[1], device=known.device) * 2654435761 % 2**32
    rank = rank.where(pixels, 2**32)
    first = rank.topk(min(points, pixels.shape[1]), largest=False).indices
    return torch.zeros_like(pixels).scatter(1, first, True).logical_and(pixels).view_as(known)


def flow_matches(flow: Tensor, chosen: Tensor) -> list[Tensor]:
    """The matches of each sample's pixels that are chosen, (B, 1, H, W), by a flow (B, H, W, 2)."""
    sides = flow.new_tensor([flow.shape[2] - 1, flow.shape[1] - 1]).clamp_min(1)
    found = []
    for own, mask in zip(flow, chosen[:, 0], strict=True):
        y, x = mask.nonzero(as_tuple=True)
        found.append(torch.cat([torch.stack([x, y], dim=-1) / sides * 2 - 1, own[y, x]], dim=1))
    return found


def stored_matches(matches: Tensor, region: Tensor | None = None) -> list[Tensor]:
    """Each sample's rows of stored matches (B, P, 4) that are no filling (NaN), of those whose
    point lies in the region (B, 1, H, W) where one is given."""
    found = [rows[rows.isfinite().all(dim=1)] for rows in matches]
    if region is None:
        return found
    return [
        rows[mask.flatten()[nearest_tokens(rows[:, :2], mask.shape)] > 0]
        for rows, mask in zip(found, region[:, 0], strict=True)
    ]


def match_distance(flow: Tensor, matches: Sequence[Tensor]) -> Tensor:
    """Squared distance (B,) of a flow (B, h, w, 2) from matches: the mean over each sample's, 0
    where there is none."""
    distances = [
        (flow_at(own, rows[:, :2]) - rows[:, 2:]).square().sum() / max(len(rows), 1)
        for own, rows in zip(flow, matches, strict=True)
    ]
    return torch.stack(distances)
