"""Other losses on the attention: known answers, gradients, and memory."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from leffa.losses.attention import (
    AttentionLoss,
    attention_entropy,
    flow_error,
    match_cross_entropy,
    photometric_error,
    total_variation,
)
from leffa.losses.flow import LeffaLoss, coordinates, flow_field
from leffa.losses.matches import flow_matches, nearest_tokens, spread
from leffa.losses.request import LayerTokens

from .memory import LargestTensor

GRID, TOKENS = (4, 3), 12
SHARP = 60.0  # a logit so much larger than the others that softmax is one-hot
NEEDING_TRUTH = [("matches", "tokens"), ("matches", "coordinates"), ("oracle", "tokens")]
ALL = [*NEEDING_TRUTH, ("leffa", "tokens"), ("photometric", "tokens")]
ALL += [("total_variation", "tokens"), ("entropy", "tokens")]


def identity(size: tuple[int, int], samples: int = 1, dtype: Any = torch.float32) -> Tensor:
    """The flow (B, H, W, 2) that leads each place to itself."""
    places = coordinates(size, device=torch.device("cpu"), dtype=torch.float32).to(dtype)
    return places.view(1, *size, 2).expand(samples, -1, -1, -1).clone()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def looking_at(places: list[int], sharp: float = SHARP) -> LayerTokens:
    """One sample, two heads: token i looks at place i alone, at a temperature of 1."""
    key = torch.eye(TOKENS).expand(1, 2, -1, -1)
    return LayerTokens(key[:, :, places] * sharp * math.sqrt(TOKENS), key, GRID)


def everywhere(size: tuple[int, int] = GRID, samples: int = 1) -> Tensor:
    return torch.ones(samples, 1, *size)


ITSELF = list(range(TOKENS))
ELSEWHERE = [*ITSELF[1:], 0]


def test_matches_cost_what_the_attention_leaves_to_other_tokens() -> None:
    truth = flow_matches(identity(GRID), everywhere())
    flat = match_cross_entropy(looking_at(ITSELF, 0.0), GRID, truth, 1.0)
    torch.testing.assert_close(flat, torch.tensor([math.log(TOKENS)]))
    right = match_cross_entropy(looking_at(ITSELF), GRID, truth, 1.0)
    assert right < 1e-6
    wrong = match_cross_entropy(looking_at(ELSEWHERE), GRID, truth, 1.0)
    torch.testing.assert_close(wrong, torch.tensor([SHARP]))  # the logit is that of another token
    halved = match_cross_entropy(looking_at(ELSEWHERE), GRID, truth, 2.0)
    torch.testing.assert_close(halved, torch.tensor([SHARP / 2]))


def test_only_matched_tokens_and_samples_with_a_match_count() -> None:
    tokens = looking_at([0, *ELSEWHERE[1:]])
    both = LayerTokens(*(torch.cat([each, each]) for each in tokens[:2]), GRID)
    chosen = torch.zeros(2, 1, *GRID)
    chosen[0, 0, 0, 0] = 1  # of the token that looks where it should
    found = match_cross_entropy(both, GRID, flow_matches(identity(GRID, 2), chosen), 1.0)
    assert found[0] < 1e-6
    assert found[1] == 0


def test_a_token_s_matches_are_a_histogram_and_tokens_weigh_alike() -> None:
    """Written out with the whole map: finer pixels than tokens, some left out."""
    size = (9, 7)
    query, key = random(1, 2, TOKENS, 4), random(1, 2, TOKENS, 4, seed=1)
    truth = random(1, *size, 2, seed=2).tanh() * 0.4
    chosen = (random(1, 1, *size, seed=3) > 0.4).double()
    log_attention = (query @ key.mT / 2 / 1.5).log_softmax(dim=-1)[0]
    histogram = torch.zeros(TOKENS, TOKENS, dtype=torch.float64)
    start = identity(size, dtype=torch.float64)[0]
    for y, x in chosen[0, 0].nonzero().tolist():
        i, j = (nearest_tokens(at[y, x][None], GRID).item() for at in (start, truth[0]))
        histogram[i, j] += 1
    matched = histogram.sum(dim=1) > 0
    label = histogram[matched] / histogram[matched].sum(dim=1, keepdim=True)
    expected = -(label * log_attention[:, matched]).sum(dim=-1).mean()
    tokens = LayerTokens(query, key, GRID)
    found = match_cross_entropy(tokens, GRID, flow_matches(truth, chosen), 1.5)
    torch.testing.assert_close(found, expected[None])
    assert 1 < matched.sum() < TOKENS
    assert histogram.max() > 1


def test_the_error_of_a_flow_is_its_squared_distance_where_chosen() -> None:
    truth, size = identity((8, 6)), (8, 6)
    assert flow_error(identity(GRID), truth, everywhere(size)) < 1e-10  # upsampled
    chosen = torch.zeros(1, 1, *size)
    chosen[..., 2:4, 1:3] = 1
    shifted = truth + torch.tensor([0.3, -0.4])
    torch.testing.assert_close(flow_error(shifted, truth, chosen), torch.tensor([0.25]))
    unknown = truth.where(chosen[:, 0, ..., None] > 0, torch.nan)
    flow = shifted.clone().requires_grad_()
    flow_error(flow, unknown, chosen).sum().backward()
    assert flow.grad is not None and flow.grad.isfinite().all()
    assert flow_error(shifted, truth, torch.zeros_like(chosen)) == 0


def test_thinning_keeps_so_many_of_the_known_pixels_and_always_the_same() -> None:
    known = torch.zeros(3, 1, 32, 24)
    known[0, :, 4:20, 4:20] = 1
    known[1, :, 2, :5] = 1
    pixels = known.flatten(1) > 0
    chosen = spread(pixels, 40)
    kept = torch.zeros_like(pixels).scatter(1, chosen, True).logical_and(pixels).view_as(known)
    assert kept.flatten(1).sum(dim=1).tolist() == [40, 5, 0]
    matches = flow_matches(identity((32, 24), 3), known, 40)
    assert matches.isfinite().all(dim=-1).sum(dim=1).tolist() == [40, 5, 0]
    assert torch.equal(spread(pixels[:1], 40), chosen[:1])
    quarters = [kept[0, 0, y : y + 8, x : x + 8].sum() for y in (4, 12) for x in (4, 12)]
    assert min(quarters) >= 6  # they are all over it


def test_total_variation_counts_tokens_from_neighbour_to_neighbour() -> None:
    inside = torch.ones(1, *GRID, dtype=torch.bool)
    torch.testing.assert_close(total_variation(identity(GRID), inside), torch.tensor([2.0]))
    collapsed = torch.zeros(1, *GRID, 2)
    assert total_variation(collapsed, inside) == 0
    jump = collapsed.clone()
    jump[:, 2:, :, 0] = 1.0  # one token (of three columns) to the right in the lower half
    torch.testing.assert_close(total_variation(jump, inside), torch.tensor([1 / 3]))
    inside[:, 2:] = False
    assert total_variation(jump, inside) == 0


def test_entropy_is_a_share_of_that_of_flat_attention() -> None:
    inside = torch.ones(1, TOKENS, dtype=torch.bool)
    for tokens, expected in ((looking_at(ITSELF, 0.0), 1.0), (looking_at(ITSELF), 0.0)):
        found = attention_entropy(*tokens[:2], inside, 1.0)
        torch.testing.assert_close(found, torch.tensor([expected]), atol=1e-5, rtol=0)
    half = looking_at(ITSELF)
    half.query[:, :, 6:] = 0
    inside[:, :6] = False
    torch.testing.assert_close(attention_entropy(*half[:2], inside, 1.0), torch.ones(1))
    inside[:] = False
    assert attention_entropy(*half[:2], inside, 1.0) == 0


def test_entropy_is_that_of_the_written_out_attention() -> None:
    query, key = random(2, 3, 20, 4), random(2, 3, TOKENS, 4, seed=1)
    weights = (query @ key.mT / 2 / 0.7).softmax(dim=-1)
    entropy = -(weights * weights.log()).sum(dim=-1) / math.log(TOKENS)
    inside = random(2, 20, seed=2) > 0
    expected = torch.stack([entropy[s][:, inside[s]].mean() for s in range(2)])
    torch.testing.assert_close(attention_entropy(query, key, inside, 0.7), expected)


def test_photometric_error_moves_colours_as_the_attention_does() -> None:
    reference = torch.rand(1, 3, *GRID, generator=torch.Generator().manual_seed(0))
    moved = reference.flatten(2)[:, :, ELSEWHERE].unflatten(2, GRID)
    tokens = looking_at(ELSEWHERE)
    assert photometric_error(tokens, GRID, reference, moved, everywhere(), 1.0) < 1e-5
    lighter = moved + torch.tensor([0.1, 0.2, 0.6]).view(3, 1, 1)
    found = photometric_error(tokens, GRID, reference, lighter, everywhere(), 1.0)
    torch.testing.assert_close(found, torch.tensor([0.3]))
    # A region of two tokens, one of which is wrong by 1.
    region = torch.zeros(1, 1, *GRID)
    region[..., 0, :2] = 1
    target = moved.clone()
    target[:, :, 0, 0] += 1
    target[:, :, 1:] = 100
    found = photometric_error(tokens, GRID, reference, target, region, 1.0)
    torch.testing.assert_close(found, torch.tensor([0.5]))


def test_photometric_error_allows_a_blur_of_the_right_mean_colour() -> None:
    """Known of the formula: it is not the Leffa loss."""
    reference = torch.zeros(1, 3, *GRID)
    reference[..., 1] = 1  # a stripe: a third of all tokens
    grey = torch.full_like(reference, 1 / 3)
    flat = looking_at(ITSELF, 0.0)
    assert photometric_error(flat, GRID, reference, grey, everywhere(), 1.0) < 1e-6


def evaluate(loss: LeffaLoss, query: Tensor, key: Tensor) -> Tensor:
    """The total of a loss on two layers, of pictures that are finer than the tokens."""
    samples, size = len(query), (9, 7)
    flow = flow_field(query, key, GRID, loss.temperature).unflatten(1, GRID)
    pictures = (random(samples, 3, *size, seed=seed).tanh() for seed in (5, 6))
    region, valid = ((random(samples, 1, *size, seed=seed) > -1).double() for seed in (7, 8))
    truth = identity(size, samples, torch.float64).flip(2)
    tokens = dict.fromkeys(("one", "other"), LayerTokens(query, key, GRID))
    flows = dict.fromkeys(tokens, flow)
    return loss(flows, *pictures, region, samples, tokens, (truth, valid)).total


@pytest.mark.parametrize(("name", "space"), ALL)
def test_gradients_are_those_of_the_loss(name: Any, space: Any) -> None:
    loss = AttentionLoss(name, space, 20, temperature=1.5)
    query, key = random(2, 2, TOKENS, 4), random(2, 2, TOKENS, 4, seed=1)
    query.requires_grad_(), key.requires_grad_()
    value = partial(evaluate, loss)
    assert torch.autograd.gradcheck(value, (query, key), fast_mode=True)  # of a random direction
    evaluate(loss, query, key).backward()
    assert query.grad is not None and query.grad.abs().max() > 1e-6


@pytest.mark.parametrize(("name", "space"), [*NEEDING_TRUTH, ("photometric", "tokens")])
def test_following_the_gradient_finds_the_ground_truth(name: Any, space: Any) -> None:
    """Of free queries. For photometric the reference is the ground truth's own coordinates."""
    key = torch.eye(TOKENS, dtype=torch.float64).expand(1, 1, -1, -1)
    query = torch.zeros(1, 1, TOKENS, TOKENS, dtype=torch.float64, requires_grad=True)
    truth = identity(GRID, dtype=torch.float64).flip(2)  # mirrored
    picture = identity(GRID, dtype=torch.float64).movedim(-1, 1)
    loss = AttentionLoss(name, space, None, temperature=1.0)
    optimizer = torch.optim.Adam([query], lr=0.5)
    errors = []
    for _ in range(150):
        flow = flow_field(query, key, GRID, 1.0).unflatten(1, GRID)
        known = ({"one": LayerTokens(query, key, GRID)}, (truth, everywhere()))
        total = loss({"one": flow}, picture, picture.flip(3), everywhere(), 1, *known).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        errors.append(flow_error(flow, truth, everywhere()).item())
    assert errors[-1] < 0.02 * errors[0]


def test_coordinates_of_all_points_are_the_oracle() -> None:
    query, key = random(2, 2, TOKENS, 4), random(2, 2, TOKENS, 4, seed=1)
    oracle = evaluate(AttentionLoss("oracle"), query, key)
    matches = evaluate(AttentionLoss("matches", "coordinates", points=None), query, key)
    thinned = evaluate(AttentionLoss("matches", "coordinates", points=5), query, key)
    torch.testing.assert_close(matches, oracle)
    assert thinned != matches


def test_the_loss_named_leffa_is_the_leffa_loss() -> None:
    query, key = random(2, 2, TOKENS, 4), random(2, 2, TOKENS, 4, seed=1)
    ours, plain = AttentionLoss(blur=0.1), LeffaLoss(blur=0.1)
    assert evaluate(ours, query, key) == evaluate(plain, query, key)
    assert not ours.needs_tokens and not ours.needs_ground_truth
    assert ours.describe() == plain.describe()


def test_regularisers_are_added_by_their_weights() -> None:
    query, key = random(2, 2, TOKENS, 4), random(2, 2, TOKENS, 4, seed=1)
    parts = [
        evaluate(AttentionLoss(n), query, key) for n in ("leffa", "total_variation", "entropy")
    ]
    loss = AttentionLoss("leffa", total_variation_weight=0.5, entropy_weight=2.0)
    assert loss.needs_tokens
    torch.testing.assert_close(evaluate(loss, query, key), parts[0] + 0.5 * parts[1] + 2 * parts[2])
    assert loss.describe().endswith("total_variation 0.5, entropy 2")


@pytest.mark.parametrize("name", ["matches", "entropy", "photometric"])
def test_mixed_precision_costs_no_more_than_its_tokens_do(name: Any) -> None:
    query, key = (random(2, 2, TOKENS, 8, seed=seed).bfloat16() for seed in (0, 1))
    exact = evaluate(AttentionLoss(name), query.double(), key.double()).float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = evaluate(AttentionLoss(name), query, key).float()
    torch.testing.assert_close(mixed, exact, rtol=0.01, atol=0)


@pytest.mark.parametrize("name", ["matches", "entropy", "photometric"])
def test_no_map_of_all_queries_by_all_keys_is_stored(name: str) -> None:
    grid, heads = (32, 24), 2
    count = grid[0] * grid[1]
    query, key = (torch.randn(1, heads, count, 8, requires_grad=True) for _ in range(2))
    tokens = LayerTokens(query, key, grid)
    with LargestTensor() as ours:
        if name == "matches":
            matches = flow_matches(identity(grid), everywhere(grid))
            loss = match_cross_entropy(tokens, grid, matches, 2.0)
        elif name == "entropy":
            loss = attention_entropy(query, key, torch.ones(1, count).bool(), 2.0)
        else:
            pictures = torch.rand(2, 1, 3, *grid)
            loss = photometric_error(tokens, grid, *pictures, everywhere(grid), 2.0)
        loss.sum().backward()
    assert ours.elements <= heads * 16 * (count + 1)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("attention_loss must be one of leffa, .*, got 'l2'", {"name": "l2"}),
        (r"attention_loss\.space must be one of .*, got 'pixels'", {"space": "pixels"}),
        (r"attention_loss\.points must be positive or null, got 0", {"points": 0}),
        (r"attention_loss\.points must .*, got 'all'", {"points": "all"}),
        (r"attention_loss\.entropy_weight must not be negative", {"entropy_weight": -1.0}),
        (r"leffa_loss\.reduction=sum: attention_loss=oracle", {"reduction": "sum"}),
        (r"leffa_loss\.weight must not be negative", {"weight": -1.0}),
    ],
)
def test_names_the_setting_that_is_wrong(message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionLoss(**{"name": "oracle", **arguments})
