"""A model's attention on the reference, read at some timesteps for some points of the person.

The network is asked once at each timestep (`noised_forward`); the request's tap hands over each
layer's queries and keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.rows import Rows, nearest_tokens, read_rows
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import FlowRequest, flow_field
from leffa.models.interface import PersonGenerator

Grid = tuple[int, int]


class LayerShape(NamedTuple):
    """Of an attention layer: the token grids (h, w) of person and reference, and its heads."""

    grid: Grid
    key_grid: Grid
    heads: int


@dataclass(frozen=True)
class LayerLook:
    """What one layer sees at one timestep.

    Args:
        shape: of the layer.
        flows: (N, h, w, 2), the flow of each head; their mean is what `flow_field` gives.
        token: (P,) for each point, which of the R rows is its.
        rows: of the R different tokens that the points fall on.
    """

    shape: LayerShape
    flows: Tensor
    token: Tensor
    rows: Rows


Layers = dict[str, LayerLook]  # by dotted name, in the order of the network


@dataclass(frozen=True)
class ModelLook:
    """What one model sees, by timestep, in `painted`: the picture (1, 3, H, W) that was noised."""

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
) -> ModelLook:
    """Read the attention of a batch of one.

    Args:
        points: (P, 2) of the person, (x, y) in [-1, 1], corner-aligned; each layer's nearest token
            is taken.
        timesteps: to which the picture is noised.
        temperature: tau, at which attention is read; 1 is what the network itself computes.
        painted: (1, 3, H, W), the picture to noise; None: the source.
        layers: names of those wanted; None for all.
        cells: maps have at most so many along a side.
        on_step: is told how many timesteps are done.

    Raises:
        ValueError: a timestep that the schedule does not have, or more than one sample.
    """
    if len(batch["name"]) != 1:
        raise ValueError(f"attention is read of one sample, not of {len(batch['name'])}")
    for timestep in timesteps:
        if not 0 <= timestep < model.schedule.steps:
            raise ValueError(f"timestep {timestep}: give 0 to {model.schedule.steps - 1}")
    painted = batch["source"] if painted is None else painted
    encoded = encode_batch(model, batch, painted)
    seen = ModelLook(title, painted.float().cpu())
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
) -> LayerLook:
    tokens, token = nearest_tokens(points, shape.grid).unique(return_inverse=True)
    rows = read_rows(query, key, tokens.to(query.device), shape.key_grid, temperature, cells)
    # Heads in the place of the batch: the mean over heads is then of one.
    flows = flow_field(query[:, None], key[:, None], shape.key_grid, temperature)
    return LayerLook(shape, flows.unflatten(1, shape.grid).cpu(), token, rows)
