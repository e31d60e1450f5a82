"""Single rows of an attention, head by head: what the flow field is the mean of.

A row says how much one token of the person looks at each token of the reference. Only the rows of
the chosen tokens are computed, at most `CHUNK` at a time: memory is N * CHUNK * L, never N * L * L.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from leffa.losses.flow import coordinates
from leffa.losses.precision import at_least_float32

CHUNK = 128  # rows computed together


class Rows(NamedTuple):
    """What R tokens see in the reference, with each of N heads."""

    maps: Tensor  # (R, N, h', w') attention per cell; 1 is what attention that is flat would give
    peak: Tensor  # (R, N) the largest weight of the row, in [1/L, 1]
    at: Tensor  # (R, N, 2) the mean place looked at, (x, y) in [-1, 1]: the flow of this token


def attention_rows(query: Tensor, key: Tensor, tokens: Tensor, temperature: float) -> Tensor:
    """The attention of some tokens on the reference; each row sums to 1.

    Args:
        query, key: (B, N, L, D) as in `flow_field`.
        tokens: (R,) indices of queries.
        temperature: tau > 0; it divides the logits.

    Returns:
        (B, N, R, L), at least float32.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    chosen, key = at_least_float32(query[:, :, tokens]), at_least_float32(key)
    scale = 1.0 / (temperature * math.sqrt(key.shape[-1]))
    return (chosen @ key.transpose(-1, -2) * scale).softmax(dim=-1)


def read_rows(
    query: Tensor,
    key: Tensor,
    tokens: Tensor,
    key_grid: tuple[int, int],
    temperature: float,
    cells: int,
) -> Rows:
    """The rows of one sample, query and key (N, L, D), with maps of at most `cells` a side."""
    place = coordinates(key_grid, device=key.device, dtype=torch.float32)
    parts = []
    for chunk in tokens.split(CHUNK):
        weights = attention_rows(query[None], key[None], chunk, temperature)[0].float()
        weights = weights.transpose(0, 1)  # (R, N, L)
        relative = weights.unflatten(-1, key_grid) * weights.shape[-1]
        parts.append((coarser(relative, cells), weights.amax(dim=-1), weights @ place))
    return Rows(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def coarser(maps: Tensor, cells: int) -> Tensor:
    """Maps (..., h, w) with at most `cells` along a side; corners stay on corners.

    A cell of the result is the mean of the cells that are nearest to it.
    """
    for side in (-1, -2):
        length = maps.shape[side]
        if length <= cells:
            continue
        kept = max(cells, 2)
        nearest = (torch.arange(length) * (kept - 1) / (length - 1)).round().long()
        share = torch.zeros(length, kept)
        share[torch.arange(length), nearest] = 1.0
        share = (share / share.sum(dim=0)).to(maps)
        maps = (maps.movedim(side, -1) @ share).movedim(-1, side)
    return maps


def nearest_tokens(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """The tokens (P,) of a grid (h, w) that are nearest to points (P, 2), (x, y) in [-1, 1]."""
    height, width = grid
    sides = points.new_tensor([width - 1, height - 1])
    column, row = ((points + 1) / 2 * sides).round().long().unbind(dim=-1)
    return row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
