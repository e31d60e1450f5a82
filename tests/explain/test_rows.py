"""Rows of attention: hand-computed cases, and their mean is the flow field."""

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import leffa.explain.attention as rows_module
from leffa.explain.attention import attention_rows, coarser, read_rows
from leffa.losses.flow import coordinates, flow_field
from leffa.losses.matches import nearest_tokens

GRID = (5, 4)
TOKENS = GRID[0] * GRID[1]


def place() -> torch.Tensor:
    return coordinates(GRID, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def attention() -> tuple[torch.Tensor, torch.Tensor]:
    """Random query and key of 3 heads, (1, N, L, D)."""
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 3, TOKENS, 8, generator=generator)
    return 3 * query, key


def test_a_row_is_the_softmax_of_the_scaled_products() -> None:
    query = torch.tensor([2.0, 0.0]).view(1, 1, 1, 2)
    key = torch.tensor([[1.0, 5.0], [3.0, -1.0]]).view(1, 1, 2, 2)
    row = attention_rows(query, key, torch.tensor([0]), temperature=4.0)
    first = 1 / (1 + math.exp((6 - 2) / (4 * math.sqrt(2))))
    assert row.flatten().tolist() == pytest.approx([first, 1 - first])


def test_rows_sum_to_one_and_follow_the_order_asked_for(
    attention: tuple[torch.Tensor, torch.Tensor],
) -> None:
    rows = attention_rows(*attention, torch.tensor([7, 2]), 0.5)
    assert rows.shape == (1, 3, 2, TOKENS)
    torch.testing.assert_close(rows.sum(dim=-1), torch.ones(1, 3, 2))
    torch.testing.assert_close(
        rows[:, :, 1:], attention_rows(*attention, torch.tensor([2]), 0.5), rtol=0, atol=1e-7
    )


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_mean_of_the_rows_over_heads_gives_the_flow_field(
    attention: tuple[torch.Tensor, torch.Tensor], temperature: float
) -> None:
    every = torch.arange(TOKENS)
    rows = attention_rows(*attention, every, temperature)
    flow = flow_field(*attention, GRID, temperature)
    torch.testing.assert_close((rows @ place()).mean(dim=1), flow, rtol=0, atol=1e-5)
    query, key = (part[0] for part in attention)
    read = read_rows(query, key, every, GRID, temperature, cells=32)
    torch.testing.assert_close(read.at.mean(dim=1), flow[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(read.peak, rows[0].amax(dim=-1).T)


def test_a_token_that_looks_at_one_place_is_read_there() -> None:
    mirror = torch.arange(TOKENS).unflatten(0, GRID).flip(1).flatten()
    key = torch.eye(TOKENS)[None]
    query = 60 * math.sqrt(TOKENS) * key[:, mirror]
    read = read_rows(query, key, torch.tensor([0, 6]), GRID, 1.0, cells=32)
    torch.testing.assert_close(read.at[:, 0], place()[mirror[[0, 6]]])
    torch.testing.assert_close(read.peak, torch.ones(2, 1))
    assert read.maps[1, 0].flatten().argmax() == mirror[6]
    assert read.maps[1, 0].max() == pytest.approx(TOKENS)  # times what flat attention gives


def test_flat_attention_is_one_everywhere_and_looks_at_the_middle() -> None:
    key = torch.randn(2, TOKENS, 8, generator=torch.Generator().manual_seed(1))
    read = read_rows(torch.zeros(2, TOKENS, 8), key, torch.tensor([3]), GRID, 1.0, cells=32)
    torch.testing.assert_close(read.maps, torch.ones(1, 2, *GRID))
    torch.testing.assert_close(read.peak, torch.full((1, 2), 1 / TOKENS))
    torch.testing.assert_close(read.at, torch.zeros(1, 2, 2), rtol=0, atol=1e-6)


def test_the_chunk_changes_nothing(
    attention: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key = (part[0] for part in attention)
    whole = read_rows(query, key, torch.arange(TOKENS), GRID, 1.0, cells=32)
    monkeypatch.setattr(rows_module, "CHUNK", 3)
    parts = read_rows(query, key, torch.arange(TOKENS), GRID, 1.0, cells=32)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that was made."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for made in result if isinstance(result, list | tuple) else [result]:
            if torch.is_tensor(made):
                self.numel = max(self.numel, made.numel())
        return result


def test_memory_is_that_of_a_chunk_however_many_tokens_there_are() -> None:
    grid, heads = (48, 32), 2
    tokens = grid[0] * grid[1]
    query, key = torch.randn(2, heads, tokens, 4, generator=torch.Generator().manual_seed(0))
    with Largest() as largest:
        read_rows(query, key, torch.arange(200), grid, 1.0, cells=16)
    assert largest.numel <= heads * rows_module.CHUNK * tokens < tokens * tokens


def test_coarser_maps_keep_corners_on_corners() -> None:
    maps = torch.zeros(1, 9, 7)
    maps[0, 0, 0], maps[0, -1, -1] = 1.0, 2.0
    small = coarser(maps, 4)
    assert small.shape == (1, 4, 4)
    assert small[0, 0, 0] > 0
    assert small[0, -1, -1] > small[0, 0, 0]
    assert small[0, 1:3].count_nonzero() == 0


def test_coarser_leaves_flat_maps_flat_and_small_maps_alone() -> None:
    torch.testing.assert_close(coarser(torch.ones(2, 40, 30), 16), torch.ones(2, 16, 16))
    small = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    assert coarser(small, 16) is small


def test_points_find_their_nearest_token() -> None:
    points = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [0.0, 0.0], [-0.4, 0.3]])
    assert nearest_tokens(points, (5, 3)).tolist() == [0, 14, 2, 7, 10]
    assert nearest_tokens(place(), GRID).tolist() == list(range(TOKENS))


def test_refuses_a_temperature_that_is_not_positive(
    attention: tuple[torch.Tensor, torch.Tensor],
) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        attention_rows(*attention, torch.tensor([0]), 0.0)
