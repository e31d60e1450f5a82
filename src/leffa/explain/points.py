"""Which points of the person a page can offer, and how fine its maps are.

A page holds a row of attention for every point, layer, head and timestep, so its size is what
bounds them: a small model gets each of its tokens, a large one a lattice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.look import LayerShape
from leffa.explain.rows import nearest_tokens
from leffa.losses.flow import coordinates

CELLS = (32, 24, 16, 12, 8)  # along a side of a map, finest first
STRIDES = (1, 2, 3, 4, 6, 8, 12)  # of the lattice, in tokens of the finest layer
FEW = 24  # points; rather than fewer, coarser maps


@dataclass(frozen=True)
class Plan:
    """What a page holds.

    Args:
        points: (P, 2), (x, y) in [-1, 1]; those asked for come first.
        cells: along a side of a map, at most.
        size: bytes of all numbers before they are packed.
    """

    points: Tensor
    cells: int
    size: int


def plan_points(
    batch: Batch,
    shapes: Mapping[str, LayerShape],
    looks: int,
    budget: int,
    asked: Iterable[tuple[float, float]] = (),
) -> Plan:
    """The finest lattice on the painted part of the person that keeps within the budget.

    Args:
        looks: timesteps times models.
        budget: bytes; exceeded only by what is asked for.
        asked: points (x, y) in [-1, 1] to have in any case.
    """
    finest = max((shape.grid for shape in shapes.values()), key=lambda grid: grid[0])
    wanted = torch.tensor(list(asked), dtype=torch.float32).reshape(-1, 2)
    plan = None
    for cells in CELLS:
        for stride in STRIDES:
            points = torch.cat([wanted, _lattice(batch, finest, stride)])
            plan = Plan(points, cells, page_bytes(points, shapes, looks, cells))
            if plan.size <= budget and (len(points) >= FEW or stride == 1):
                return plan
    assert plan is not None
    return plan


def page_bytes(points: Tensor, shapes: Mapping[str, LayerShape], looks: int, cells: int) -> int:
    """How many bytes the numbers of these points take on the page."""
    total = 0
    for shape in shapes.values():
        rows = len(nearest_tokens(points, shape.grid).unique())
        row = min(shape.key_grid[0], cells) * min(shape.key_grid[1], cells) + 16
        field = 4 * min(shape.grid[0], cells) * min(shape.grid[1], cells)
        total += shape.heads * (rows * row + field)
    return total * looks


def start_point(batch: Batch, points: Tensor) -> int:
    """The point that is nearest to the middle of the painted part, and has a true match if any."""
    region = _region(batch)
    place = coordinates((region.shape[0], region.shape[1]), device=region.device, dtype=torch.float)
    middle = place[region.flatten()].mean(dim=0) if region.any() else torch.zeros(2)
    distance = (points - middle.cpu()).square().sum(dim=-1)
    if "flow_valid" in batch:
        known = batch["flow_valid"][0, 0].flatten().cpu() > 0
        matched = known[nearest_tokens(points, (region.shape[0], region.shape[1]))]
        distance = distance + 100.0 * ~matched
    return int(distance.argmin())


def _lattice(batch: Batch, grid: tuple[int, int], stride: int) -> Tensor:
    place = coordinates(grid, device=torch.device("cpu"), dtype=torch.float32)
    height, width = grid
    first = (stride - 1) // 2
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    on_lattice = ((row - first) % stride == 0) & ((column - first) % stride == 0)
    region = _region(batch).cpu()
    inside = region.flatten()[nearest_tokens(place, (region.shape[0], region.shape[1]))]
    chosen = on_lattice.flatten() & inside
    return place[chosen if chosen.any() else on_lattice.flatten()]


def _region(batch: Batch) -> Tensor:
    """(H, W), True where the model paints: the mask, or the body where the mask is everything."""
    mask = batch["mask"][0, 0] > 0.5
    return batch["loss_region"][0, 0] > 0.5 if bool(mask.all()) else mask
