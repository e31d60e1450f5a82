"""A model's attention on the reference, read at some timesteps for some points of the person.

The network runs once per timestep (`noised_forward`), and the request's tap records each layer's
queries and keys. A row of the attention holds the weights that one token of the person gives to the
tokens of the reference. Only the rows of the chosen tokens are computed, at most `CHUNK` at a time:
memory is N * CHUNK * L, never N * L * L.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from leffa.data.batch import Batch, target
from leffa.inference.forward import check_timesteps, encode_batch, noised_forward
from leffa.losses.flow import coordinates, flow_field
from leffa.losses.matches import nearest_tokens
from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.models.interface import PersonGenerator

CHUNK = 128  # rows computed together

Grid = tuple[int, int]


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
    key_grid: Grid,
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


class LayerShape(NamedTuple):
    """Of an attention layer: the token grids (h, w) of person and reference, and its heads."""

    grid: Grid
    key_grid: Grid
    heads: int


@dataclass(frozen=True)
class LayerReading:
    """The attention of one layer at one timestep.

    Args:
        flows: (N, h, w, 2), the flow of each head; their mean is what `flow_field` gives.
        token: (P,) for each point, which of the R rows is its.
        rows: of the R different tokens that the points fall on.
    """

    shape: LayerShape
    flows: Tensor
    token: Tensor
    rows: Rows


Layers = dict[str, LayerReading]  # by dotted name, in the order of the network


@dataclass(frozen=True)
class ModelReading:
    """One model's attention by timestep; `painted` is the image (1, 3, H, W) that was noised."""

    title: str
    painted: Tensor
    layers: dict[int, Layers] = field(default_factory=dict)


def layer_shapes(model: PersonGenerator, batch: Batch) -> dict[str, LayerShape]:
    """The layers that look at the reference, in the order of the network."""
    shapes: dict[str, LayerShape] = {}

    def tap(name: str, query: Tensor, key: Tensor, grid: Grid, key_grid: Grid) -> None:
        shapes[name] = LayerShape(grid, key_grid, query.shape[1])

    noised_forward(model, encode_batch(model, batch), 0, FlowRequest(min_resolution=0.0, tap=tap))
    return shapes


def read_attention(
    model: PersonGenerator,
    batch: Batch,
    points: Tensor,
    timesteps: Sequence[int],
    temperature: float,
    title: str = "",
    painted: Tensor | None = None,
    layers: Sequence[str] | None = None,
    cells: int = 32,
    seed: int = 0,
    on_step: Callable[[int], object] = lambda done: None,
) -> ModelReading:
    """Read the attention of a batch of one.

    Args:
        points: (P, 2) of the person, (x, y) in [-1, 1], corner-aligned; each layer's nearest token
            is taken.
        timesteps: to which the image is noised.
        temperature: tau, at which attention is read; 1 is what the network itself computes.
        painted: (1, 3, H, W), the image to noise; None: the true one.
        layers: names of layers; None for all.
        cells: maps have at most so many along a side.
        on_step: called with the number of timesteps done.

    Raises:
        ValueError: a timestep that the schedule does not have, or more than one sample.
    """
    if len(batch["name"]) != 1:
        raise ValueError(f"attention is read of one sample, not of {len(batch['name'])}")
    check_timesteps("timestep", timesteps, model)
    painted = target(batch) if painted is None else painted
    encoded = encode_batch(model, batch, painted)
    seen = ModelReading(title, painted.float().cpu())
    for done, timestep in enumerate(timesteps, start=1):
        found: Layers = {}

        def tap(
            name: str,
            query: Tensor,
            key: Tensor,
            grid: Grid,
            key_grid: Grid,
            found: Layers = found,
        ) -> None:
            if layers is None or name in layers:
                shape = LayerShape(grid, key_grid, query.shape[1])
                found[name] = _read(query[0], key[0], shape, points, temperature, cells)

        noised_forward(model, encoded, timestep, FlowRequest(min_resolution=0.0, tap=tap), seed)
        seen.layers[timestep] = found
        on_step(done)
    return seen


def _read(
    query: Tensor, key: Tensor, shape: LayerShape, points: Tensor, temperature: float, cells: int
) -> LayerReading:
    tokens, token = nearest_tokens(points, shape.grid).unique(return_inverse=True)
    rows = read_rows(query, key, tokens.to(query.device), shape.key_grid, temperature, cells)
    # Heads in the place of the batch: the mean over heads is then of one.
    flows = flow_field(query[:, None], key[:, None], shape.key_grid, temperature)
    return LayerReading(shape, flows.unflatten(1, shape.grid).cpu(), token, rows)
