"""The Leffa loss: who takes part, where it looks, and how it is averaged."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from leffa.losses.flow import LeffaLoss, coordinates, flow_field
from leffa.losses.request import FlowRequest


def identity_flow(samples: int, grid: tuple[int, int]) -> Tensor:
    places = coordinates(grid, device=torch.device("cpu"), dtype=torch.float32)
    return places.view(1, *grid, 2).expand(samples, -1, -1, -1).clone()


def images(samples: int, seed: int, size: tuple[int, int] = (8, 6)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, 3, *size, generator=generator) * 2 - 1


def test_is_zero_where_the_warped_reference_equals_the_target() -> None:
    picture = images(2, seed=0)
    flows = {"layer": identity_flow(2, (8, 6))}
    loss = LeffaLoss()(flows, picture, picture, torch.ones(2, 1, 8, 6), 2)
    assert loss.total < 1e-10


def test_masked_pixels_do_not_count() -> None:
    reference, target = images(1, seed=0), images(1, seed=1)
    region = torch.zeros(1, 1, 8, 6)
    region[..., 2:5, 1:4] = 1
    elsewhere = torch.where(region.bool(), target, torch.full_like(target, 100.0))
    flows = {"layer": identity_flow(1, (4, 3))}
    losses = [LeffaLoss()(flows, reference, goal, region, 1).total for goal in (target, elsewhere)]
    assert losses[0] > 0
    assert torch.equal(*losses)


def test_an_empty_region_costs_nothing_and_has_finite_gradients() -> None:
    flow = identity_flow(1, (4, 3)).requires_grad_()
    region = torch.zeros(1, 1, 8, 6)
    loss = LeffaLoss()({"layer": flow}, images(1, seed=0), images(1, seed=1), region, 1).total
    loss.backward()
    assert loss == 0
    assert torch.equal(flow.grad, torch.zeros_like(flow))


def test_averages_over_the_region_and_the_expected_samples_and_sums_over_layers() -> None:
    # A constant reference warps to itself, so every squared error is known.
    reference = torch.zeros(2, 3, 8, 6)
    target = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 3, 8, 6)
    region = torch.zeros(2, 1, 8, 6)
    region[0, :, :1, :1] = 1  # one pixel of error 1
    region[1] = 1  # forty-eight pixels of error 9
    flows = {"coarse": identity_flow(2, (4, 3)), "fine": identity_flow(2, (8, 6))}
    loss = LeffaLoss()(flows, reference, target, region, expected_samples=2.5)
    torch.testing.assert_close(loss.layers, {name: torch.tensor(4.0) for name in flows})  # 10/2.5
    torch.testing.assert_close(loss.total, torch.tensor(8.0))


def test_reduction_sum_adds_up_pixels_and_channels() -> None:
    reference, target = torch.zeros(2, 3, 8, 6), torch.ones(2, 3, 8, 6)
    region = torch.zeros(2, 1, 8, 6)
    region[0, :, :2, :2] = 1  # 4 pixels x 3 channels; the other sample has none
    flows = {"layer": identity_flow(2, (4, 3))}
    loss = LeffaLoss(reduction="sum")(flows, reference, target, region, 2)
    torch.testing.assert_close(loss.total, torch.tensor(6.0))  # (12 + 0) / 2


def test_returns_the_loss_without_its_weight() -> None:
    arguments = ({"layer": identity_flow(1, (4, 3))}, images(1, 0), images(1, 1))
    region = torch.ones(1, 1, 8, 6)
    light, heavy = (LeffaLoss(weight=w)(*arguments, region, 1).total for w in (1e-3, 10.0))
    assert torch.equal(light, heavy)


@pytest.mark.parametrize("blur", [0.0, 0.1])
def test_mixed_precision_changes_neither_the_loss_nor_its_gradient(blur: float) -> None:
    found = []
    for mixed in (False, True):
        flow = (identity_flow(2, (4, 3)) * 0.8).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            pictures = (images(2, seed=0), images(2, seed=1), torch.ones(2, 1, 8, 6))
            total = LeffaLoss(blur=blur)({"layer": flow}, *pictures, 2).total
        total.backward()
        found.append((total.detach(), flow.grad))
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_with_no_early_timestep_costs_nothing(reduction: Literal["mean", "sum"]) -> None:
    loss = LeffaLoss(max_timestep=500, reduction=reduction)
    chosen = loss.select(torch.tensor([500, 700, 999]))
    assert len(chosen) == 0
    pictures = (images(3, 0)[chosen], images(3, 1)[chosen], torch.ones(0, 1, 8, 6))
    assert loss({}, *pictures, expected_samples=1.5).total == 0


def test_a_batch_with_no_early_timestep_keeps_the_graph_valid() -> None:
    query, key = (torch.randn(3, 2, 12, 8, requires_grad=True) for _ in range(2))
    loss = LeffaLoss()
    chosen = loss.select(torch.tensor([500, 700, 999]))
    flow = flow_field(query[chosen], key[chosen], (4, 3), loss.temperature).unflatten(1, (4, 3))
    region = torch.ones(3, 1, 8, 6)
    pictures = (images(3, 0)[chosen], images(3, 1)[chosen], region[chosen])
    total = loss({"layer": flow}, *pictures, expected_samples=1.5).total
    total.backward()
    assert total == 0
    assert torch.equal(query.grad, torch.zeros_like(query))


def test_selects_early_timesteps_and_excludes_the_threshold() -> None:
    timesteps = torch.tensor([0, 499, 500, 100])
    assert LeffaLoss(max_timestep=500).select(timesteps).tolist() == [0, 1, 3]


def test_selects_only_samples_that_are_usable() -> None:
    usable = torch.tensor([True, False, True])
    assert LeffaLoss().select(torch.tensor([1, 2, 900]), usable).tolist() == [0]


@pytest.mark.parametrize("layers", [None, 3, [], "", [None]])
def test_layers_are_names_or_one_line_says_so(layers: Any) -> None:
    with pytest.raises(ValueError, match=r"leffa_loss\.layers must be all, auto, or names of"):
        LeffaLoss(layers=layers)


def test_min_resolution_is_inclusive_unless_strict() -> None:
    inclusive = FlowRequest(min_resolution=1 / 32)
    strict = FlowRequest(min_resolution=1 / 32, strict=True)
    assert [inclusive.wants("mid", height, 512) for height in (32, 16, 8)] == [True, True, False]
    assert [strict.wants("mid", height, 512) for height in (32, 16, 8)] == [True, False, False]


@pytest.mark.parametrize(
    ("layers", "taking_part"),
    [
        ("all", ["down_blocks.0.attn1", "up_blocks.0.attn1", "up_blocks.10.attn1"]),
        ("up_blocks.10.attn1", ["up_blocks.10.attn1"]),
        ("up_blocks.1", []),  # no beginning of up_blocks.10's name
        ("*.0.attn1", ["down_blocks.0.attn1", "up_blocks.0.attn1"]),
        (["down_blocks", "up_blocks.0"], ["down_blocks.0.attn1", "up_blocks.0.attn1"]),
    ],
)
def test_layers_take_part_by_name_beginning_or_pattern(
    layers: str | list[str], taking_part: list[str]
) -> None:
    request = LeffaLoss(layers=layers).request()
    names = ["down_blocks.0.attn1", "up_blocks.0.attn1", "up_blocks.10.attn1"]
    assert [name for name in names if request.wants(name, 32, 512)] == taking_part
    assert not any(request.wants(name, 8, 512) for name in names)  # min_resolution holds too


@pytest.mark.parametrize("off", [{"enabled": False}, {"weight": 0.0}])
def test_a_loss_that_is_off_still_says_how_flows_are_read(off: dict[str, float]) -> None:
    """A weight of 0 is what runs have that were trained before there was a switch."""
    loss = LeffaLoss(temperature=0.7, **off)
    assert not loss.active
    assert loss.request() == LeffaLoss(temperature=0.7).request()


def test_asks_the_model_for_what_it_was_configured_with() -> None:
    samples = torch.tensor([1])
    loss = LeffaLoss(temperature=0.7, min_resolution=1 / 16, strict=True)
    request = loss.request(samples, sharpness=True)
    assert request == FlowRequest(0.7, 1 / 16, True, samples, True)


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        ("temperature", {"temperature": 0.0}),
        ("auto_layers", {"layers": "auto", "auto_layers": 0}),
        ("weight", {"weight": -1.0}),
        ("enabled", {"enabled": "off"}),
        ("reduction", {"reduction": "median"}),
    ],
)
def test_names_the_setting_that_is_wrong(key: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"leffa_loss.{key} must"):
        LeffaLoss(**arguments)


def test_no_expected_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected_samples must be positive, got 0"):
        LeffaLoss()({}, images(1, 0), images(1, 1), torch.ones(1, 1, 8, 6), expected_samples=0)
