"""Which points of the person a page can offer, and how fine its maps are.

A page holds a row of attention for every point, layer, head and timestep, so its size is what
bounds them: a small model gets each of its tokens, a large one a lattice.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.attention import LayerShape
from leffa.losses.flow import coordinates
from leffa.losses.matches import nearest_tokens

CELLS = (32, 24, 16, 12, 8)  # along a side of a map, finest first
STRIDES = (1, 2, 3, 4, 6, 8, 12)  # of the lattice, in tokens of the finest layer
FEW = 24  # points; rather than fewer, coarser maps


class Plan(NamedTuple):
    """What a page holds."""

    points: Tensor  # (P, 2), (x, y) in [-1, 1]; those asked for come first
    cells: int  # along a side of a map, at most
    size: int  # bytes of all numbers before they are packed


def plan_points(
    batch: Batch,
    shapes: Mapping[str, LayerShape],
    passes: int,
    budget: int,
    asked: Iterable[tuple[float, float]] = (),
) -> Plan:
    """The finest lattice on the painted part of the person that keeps within the budget.

    Args:
        passes: timesteps times models.
        budget: bytes; exceeded only by what is asked for.
        asked: points (x, y) in [-1, 1] to have in any case.
    """
    finest = max((shape.grid for shape in shapes.values()), key=lambda grid: grid[0])
    wanted = torch.tensor(list(asked), dtype=torch.float32).reshape(-1, 2)
    for cells in CELLS:
        for stride in STRIDES:
            points = torch.cat([wanted, _lattice(batch, finest, stride)])
            plan = Plan(points, cells, passes * _pass_bytes(points, shapes, cells))
            if plan.size <= budget and (len(points) >= FEW or stride == 1):
                return plan
    return plan


def _pass_bytes(points: Tensor, shapes: Mapping[str, LayerShape], cells: int) -> int:
    """How many bytes the numbers of one model at one timestep take on the page."""
    total = 0
    for shape in shapes.values():
        rows = len(nearest_tokens(points, shape.grid).unique())
        row = min(shape.key_grid[0], cells) * min(shape.key_grid[1], cells) + 16
        field = 4 * min(shape.grid[0], cells) * min(shape.grid[1], cells)
        total += shape.heads * (rows * row + field)
    return total


def start_point(batch: Batch, points: Tensor) -> int:
    """The point nearest to the middle of the painted part, of those with a known match if any."""
    region = _region(batch)
    size = region.shape[0], region.shape[1]
    place = coordinates(size, device=region.device, dtype=torch.float)
    middle = place[region.flatten()].mean(dim=0) if region.any() else torch.zeros(2)
    distance = (points - middle.cpu()).square().sum(dim=-1)
    if "flow_valid" in batch:
        known = batch["flow_valid"][0, 0].flatten().cpu() > 0
        distance = distance + 100.0 * ~known[nearest_tokens(points, size)]
    return int(distance.argmin())


def _lattice(batch: Batch, grid: tuple[int, int], stride: int) -> Tensor:
    """Every `stride`-th token in both directions, of those on the painted part."""
    place = coordinates(grid, device=torch.device("cpu"), dtype=torch.float32)
    first = (stride - 1) // 2
    on_lattice = torch.zeros(grid, dtype=torch.bool)
    on_lattice[first::stride, first::stride] = True
    region = _region(batch).cpu()
    inside = region.flatten()[nearest_tokens(place, (region.shape[0], region.shape[1]))]
    chosen = on_lattice.flatten() & inside
    return place[chosen if chosen.any() else on_lattice.flatten()]


def _region(batch: Batch) -> Tensor:
    """(H, W), True where the model paints: the mask, or the body where the mask is everything."""
    mask = batch["mask"][0, 0] > 0.5
    return batch["loss_region"][0, 0] > 0.5 if bool(mask.all()) else mask
