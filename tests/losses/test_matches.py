"""Stored matches as labels of the attention: the same as those of a ground-truth flow."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from leffa.losses.attention import AttentionLoss
from leffa.losses.flow import flow_field, upsample
from leffa.losses.matches import flow_at, flow_matches, match_distance, stored_matches
from leffa.losses.request import LayerTokens

GRID, SIZE = (4, 3), (9, 7)
SPACES = ["tokens", "coordinates"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled(matches: list[Tensor]) -> Tensor:
    """As a batch has them."""
    return torch.nn.utils.rnn.pad_sequence(matches, batch_first=True, padding_value=math.nan)


def evaluate(loss: AttentionLoss, query: Tensor, region: Tensor, **labels: Any) -> Tensor:
    key = random(2, 2, 12, 4, seed=1)
    flow = flow_field(query, key, GRID, loss.temperature).unflatten(1, GRID)
    pictures = [random(2, 3, *SIZE, seed=seed).tanh() for seed in (5, 6)]
    tokens = {"one": LayerTokens(query, key, GRID)}
    return loss({"one": flow}, *pictures, region, 2, tokens, **labels).total


@pytest.fixture
def region() -> Tensor:
    return (random(2, 1, *SIZE, seed=7) > -0.5).double()


@pytest.mark.parametrize("space", SPACES)
def test_labels_that_are_stored_cost_what_the_same_ones_of_the_ground_truth_cost(
    space: Any, region: Tensor
) -> None:
    truth, valid = random(2, *SIZE, 2, seed=2).tanh(), (random(2, 1, *SIZE, seed=3) > 0).double()
    valid[1].flatten()[3:] = 0  # so that one sample is filled up
    # Some lie outside of the region.
    stored = filled(stored_matches(flow_matches(truth, valid)))
    assert stored[1].isnan().any() and stored[1].isfinite().any()
    gradients = []
    for labels, known in (
        ("ground_truth", {"ground_truth": (truth, valid)}),
        ("stored", {"matches": stored}),
    ):
        query = random(2, 2, 12, 4).requires_grad_()
        loss = AttentionLoss("matches", space, None, labels, temperature=1.5)  # type: ignore[arg-type]
        total = evaluate(loss, query, region, **known)
        (gradient,) = torch.autograd.grad(total, query)
        gradients.append((total.detach(), gradient))
    assert gradients[0][0] > 0
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("space", SPACES)
def test_a_pair_without_matches_costs_nothing(space: Any, region: Tensor) -> None:
    loss = AttentionLoss("matches", space, labels="stored")
    own = random(1, 5, 4, seed=4).tanh()
    one = filled([own[0], own[0, :0]])
    query = random(2, 2, 12, 4).requires_grad_()
    total = evaluate(loss, query, region, matches=one)
    (gradient,) = torch.autograd.grad(total, query)
    assert total > 0 and gradient.isfinite().all()
    assert gradient[0].abs().max() > 0 and gradient[1].abs().max() == 0
    for none in (one[:, :0], torch.full_like(one, math.nan)):
        total = evaluate(loss, query, region, matches=none)
        assert total == 0
        assert torch.autograd.grad(total, query)[0].abs().max() == 0


def test_matches_outside_of_the_loss_region_do_not_count(region: Tensor) -> None:
    middle = torch.tensor([0.05, -0.04, 0.5, 0.5]).double().view(1, 1, 4).expand(2, 1, 4)
    loss, query = AttentionLoss("matches", labels="stored"), random(2, 2, 12, 4)
    region[:] = 1
    assert evaluate(loss, query, region, matches=middle) > 0
    region[:, :, 4, 3] = 0  # the pixel of that place
    assert evaluate(loss, query, region, matches=middle) == 0
    assert [len(rows) for rows in stored_matches(middle)] == [1, 1]


def test_a_flow_is_read_between_its_tokens_as_upsampling_would() -> None:
    flow = random(1, *GRID, 2).tanh()
    (known,) = flow_matches(upsample(flow, SIZE), torch.ones(1, 1, *SIZE))
    torch.testing.assert_close(flow_at(flow[0], known[:, :2]), known[:, 2:])
    beyond = torch.tensor([[-1.2, 0.0], [-1.0, 0.0]]).double()  # half a pixel over the edge
    outer, edge = flow_at(flow[0], beyond)
    torch.testing.assert_close(outer, edge)


def test_the_distance_is_that_of_the_flow_at_the_points() -> None:
    flow = torch.zeros(2, *GRID, 2)
    known = torch.tensor([[0.1, 0.2, 0.3, -0.4], [0.0, 0.9, 0.0, 0.0]])
    matches = filled([known, known[:0]])
    torch.testing.assert_close(match_distance(flow, matches), torch.tensor([0.125, 0.0]))


def test_says_which_labels_it_takes() -> None:
    stored = AttentionLoss("matches", labels="stored")
    assert stored.needs_matches and not stored.needs_ground_truth
    assert stored.describe().endswith("in tokens, stored labels")
    assert AttentionLoss("matches").describe().endswith("in tokens, 85 points")
    assert not AttentionLoss("oracle", labels="stored").needs_matches
    with pytest.raises(ValueError, match=r"attention_loss\.labels must be one of ground_truth, st"):
        AttentionLoss("matches", labels="true")  # type: ignore[arg-type]
