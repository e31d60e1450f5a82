"""The flow field: known answers of attention whose values are coordinates."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from leffa.losses.flow import coordinates, flow_field, upsample, warp
from leffa.losses.monitoring import attention_sharpness, reference_share

SHARP = 60.0  # a logit so much larger than the others that softmax is one-hot


def written_out(query: Tensor, key: Tensor, grid: tuple[int, int], temperature: float) -> Tensor:
    """mean_heads(softmax(Q K^T / (tau sqrt(d)))) C, to the letter."""
    logits = query @ key.transpose(-1, -2) / (temperature * math.sqrt(query.shape[-1]))
    places = coordinates(grid, device=key.device, dtype=key.dtype)
    return logits.softmax(dim=-1).mean(dim=1) @ places


def one_hot_attention(target: list[int]) -> tuple[Tensor, Tensor]:
    """Queries and keys (1, 2, L, L) with which query i looks at key target[i] alone, at tau = 1."""
    tokens = len(target)
    scale = SHARP * math.sqrt(tokens)
    key = torch.eye(tokens).expand(1, 2, -1, -1)
    return key[:, :, target] * scale, key


def random_heads(batch: int, heads: int, tokens: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, heads, tokens, width, generator=generator)


def test_coordinates_are_x_then_y_with_corners_at_one() -> None:
    places = coordinates((2, 3), device=torch.device("cpu"), dtype=torch.float32)
    expected = [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]
    assert torch.equal(places, torch.tensor(expected, dtype=torch.float32))


def test_identity_attention_warps_to_the_same_image() -> None:
    grid = (4, 3)
    query, key = one_hot_attention(list(range(12)))
    flow = flow_field(query, key, grid, temperature=1.0).unflatten(1, grid)
    for size in (grid, (16, 12)):  # at the tokens' own size, and upsampled
        image = torch.rand(1, 3, *size)
        torch.testing.assert_close(warp(image, flow), image, atol=1e-5, rtol=0)


def test_permutation_attention_permutes_the_image() -> None:
    grid = (4, 3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1)).tolist()
    query, key = one_hot_attention(order)
    flow = flow_field(query, key, grid, temperature=1.0).unflatten(1, grid)
    image = torch.rand(1, 3, *grid)
    expected = image.flatten(2)[:, :, order].unflatten(2, grid)
    torch.testing.assert_close(warp(image, flow), expected, atol=1e-5, rtol=0)


def test_uniform_attention_looks_at_the_centre() -> None:
    flow = flow_field(torch.zeros(2, 2, 5, 8), random_heads(2, 2, 12, 8), (4, 3), temperature=0.5)
    torch.testing.assert_close(flow, torch.zeros(2, 5, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    query, key = random_heads(2, 3, 12, 8, seed=0) * 3, random_heads(2, 3, 12, 8, seed=1)
    flow = flow_field(query, key, (4, 3), temperature)
    torch.testing.assert_close(flow, written_out(query, key, (4, 3), temperature))
    multiplied = written_out(query, key, (4, 3), 1 / temperature)
    assert (flow - multiplied).abs().max() > 0.1


def test_x_comes_before_y() -> None:
    grid = (2, 5)  # height 2, width 5: the last column of the first row is token 4
    query, key = one_hot_attention([4] * 10)
    flow = flow_field(query, key, grid, temperature=1.0)
    torch.testing.assert_close(flow, torch.tensor([1.0, -1.0]).expand(1, 10, 2))


def test_flow_is_absolute_and_not_an_offset() -> None:
    query, key = one_hot_attention([11] * 12)
    flow = flow_field(query, key, (4, 3), temperature=1.0).unflatten(1, (4, 3))
    torch.testing.assert_close(flow, torch.ones(1, 4, 3, 2))  # all look at the last corner
    image = torch.rand(1, 3, 8, 6)
    torch.testing.assert_close(warp(image, flow), image[:, :, -1:, -1:].expand_as(image))


@given(
    batch=st.integers(1, 3),
    heads=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    queries=st.integers(1, 9),
    channels=st.sampled_from([1, 2, 5, 8, 16]),
    temperature=st.floats(0.1, 10.0),
    seed=st.integers(0, 2**16),
)
def test_equals_the_softmax_written_out(
    batch: int,
    heads: int,
    height: int,
    width: int,
    queries: int,
    channels: int,
    temperature: float,
    seed: int,
) -> None:
    query = random_heads(batch, heads, queries, channels, seed).double()
    key = random_heads(batch, heads, height * width, channels, seed + 1).double()
    flow = flow_field(query, key, (height, width), temperature)
    expected = written_out(query, key, (height, width), temperature)
    torch.testing.assert_close(flow, expected, atol=1e-6, rtol=0)


def test_the_references_share_is_the_softmax_over_all_tokens_summed_over_the_references() -> None:
    query, own, key = (random_heads(2, 3, tokens, 8, tokens) for tokens in (5, 6, 12))
    logits = query @ torch.cat([own, key], dim=2).transpose(-1, -2) / math.sqrt(8)
    expected = logits.softmax(dim=-1)[..., 6:].sum(dim=-1).mean(dim=1)
    torch.testing.assert_close(reference_share(query, own, key), expected)


def test_gradients_of_flow_and_warp_are_right_in_float64() -> None:
    generator = torch.Generator().manual_seed(3)
    query, key = (
        torch.randn(1, 2, 6, 4, dtype=torch.float64, generator=generator).requires_grad_()
        for _ in range(2)
    )
    image = torch.rand(1, 1, 6, 4, dtype=torch.float64, generator=generator)

    def warped(query: Tensor, key: Tensor) -> Tensor:
        flow = flow_field(query, key, (3, 2), temperature=2.0).unflatten(1, (3, 2))
        return warp(image, flow)

    assert torch.autograd.gradcheck(warped, (query, key))


def test_bfloat16_stays_close_to_float32() -> None:
    query, key = random_heads(2, 4, 48, 16, seed=0), random_heads(2, 4, 48, 16, seed=1)
    exact = flow_field(query, key, (8, 6), temperature=1.0)
    rough = flow_field(query.bfloat16(), key.bfloat16(), (8, 6), temperature=1.0)
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.02


def test_a_picture_in_bfloat16_is_warped_by_a_flow_in_float32() -> None:
    generator = torch.Generator().manual_seed(1)
    picture = torch.rand(1, 3, 8, 512, generator=generator).bfloat16()
    size = (8, 512)  # columns 1/256 apart, which 8 bits do not tell from each other
    flow = coordinates(size, device=torch.device("cpu"), dtype=torch.float32).view(1, *size, 2)
    warped = warp(picture, flow)
    assert warped.dtype == torch.bfloat16
    torch.testing.assert_close(warped, picture)


def test_flow_is_upsampled_with_corners_on_corners() -> None:
    grid = (3, 2)
    flow = coordinates(grid, device=torch.device("cpu"), dtype=torch.float32).view(1, *grid, 2)
    finer = coordinates((12, 8), device=torch.device("cpu"), dtype=torch.float32).view(1, 12, 8, 2)
    torch.testing.assert_close(upsample(flow, (12, 8)), finer)


def test_what_lies_outside_the_image_takes_its_border() -> None:
    image = torch.rand(1, 3, 4, 4)
    outside = torch.full((1, 4, 4, 2), -1.7)
    torch.testing.assert_close(warp(image, outside), image[:, :, :1, :1].expand_as(image))


def test_uniform_attention_has_full_entropy_and_the_smallest_peak() -> None:
    sharpness = attention_sharpness(torch.zeros(1, 2, 5, 8), random_heads(1, 2, 12, 8), 1.0)
    torch.testing.assert_close(sharpness.entropy, torch.tensor(1.0))
    torch.testing.assert_close(sharpness.peak_mass, torch.tensor(1 / 12))


def test_one_hot_attention_has_no_entropy_and_a_peak_of_one() -> None:
    sharpness = attention_sharpness(*one_hot_attention(list(range(12))), temperature=1.0)
    torch.testing.assert_close(sharpness.entropy, torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(sharpness.peak_mass, torch.tensor(1.0))


def test_sharpness_does_not_depend_on_the_chunk() -> None:
    query, key = random_heads(2, 2, 12, 8, seed=0), random_heads(2, 2, 12, 8, seed=1)
    whole = attention_sharpness(query, key, 2.0, chunk=100)
    parts = attention_sharpness(query, key, 2.0, chunk=5)
    torch.testing.assert_close(torch.stack(parts), torch.stack(whole))


def test_sharpness_is_measured_in_float32_under_mixed_precision() -> None:
    query, key = random_heads(2, 2, 12, 8, seed=0), random_heads(2, 2, 12, 8, seed=1)
    exact = attention_sharpness(query, key, 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attention_sharpness(query, key, 2.0)
    torch.testing.assert_close(torch.stack(mixed), torch.stack(exact), atol=0, rtol=1e-6)


def test_says_which_grid_does_not_fit_the_keys() -> None:
    heads = random_heads(1, 2, 12, 8)
    with pytest.raises(ValueError, match=r"key_grid \(4, 4\) does not fit the keys, which have 12"):
        flow_field(heads, heads, (4, 4), temperature=1.0)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    heads = random_heads(1, 2, 12, 8)
    with pytest.raises(ValueError, match="temperature must be positive"):
        flow_field(heads, heads, (4, 3), temperature)
