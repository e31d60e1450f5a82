"""Other published losses on the attention, applied where the Leffa loss would be.

A is the attention of the person's tokens i on the reference tokens j, F its flow (`losses.flow`).

    matches          cross-entropy of A to matches (SIFT-VTON, CAMEO), or |F - match|^2 (CORAL)
    oracle           |F - ground truth|^2 at every known pixel: the upper bound of the matches
    photometric      |A reference - target|, colours of tokens (NTED)
    total_variation  |F_i - F_neighbour| (StableVITON), a regulariser: 0 where the flow collapsed
    entropy          -sum_j A_ij log A_ij (CORAL), a regulariser: 0 where each token looks at one

Each is a mean over the tokens (pixels, points) of a sample's loss region. No L x L map is stored,
forward or backward: `photometric` is an attention whose values are colours, and those with log A
only need each row's log-sum-exp, which is an attention, too (`log_sum_exp`).
"""

import math
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.losses.flow import LeffaLoss, upsample
from leffa.losses.matches import (
    flow_matches,
    match_distance,
    matches_in_region,
    nearest_tokens,
)
from leffa.losses.precision import at_least_float32, without_autocast
from leffa.losses.request import LayerTokens, Supervision
from leffa.losses.schedule import Gate, check_choice

Name = Literal["leffa", "matches", "total_variation", "entropy", "photometric", "oracle"]
Space = Literal["tokens", "coordinates"]
Labels = Literal["ground_truth", "stored"]


def flow_error(flow: Tensor, truth: Tensor, chosen: Tensor) -> Tensor:
    """Squared distance (B,) of a flow (B, h, w, 2) from the true one (B, H, W, 2), both in [-1, 1]:
    the mean over the pixels chosen, (B, 1, H, W)."""
    chosen = chosen.squeeze(1) > 0
    truth = truth.where(chosen[..., None], 0.0)  # it may be anything elsewhere
    error = (upsample(flow, truth.shape[1:3]) - truth).square().sum(dim=-1) * chosen
    return error.sum(dim=(1, 2)) / chosen.sum(dim=(1, 2)).clamp_min(1)


def total_variation(flow: Tensor, inside: Tensor) -> Tensor:
    """How much a flow (B, h, w, 2) changes from token to token, (B,), in tokens of its own grid.

    The mean absolute difference of neighbours that both are inside (B, h, w), summed over both
    coordinates, and over neighbours below and beside.
    """
    height, width = flow.shape[1:3]
    x, y = flow.unbind(dim=-1)
    places = torch.stack([x * ((width - 1) / 2), y * ((height - 1) / 2)], dim=-1)
    total = flow.new_zeros(len(flow))
    for axis in (1, 2):
        change = places.diff(dim=axis).abs().sum(dim=-1)
        pairs = change.shape[axis]
        both = inside.narrow(axis, 0, pairs) & inside.narrow(axis, 1, pairs)
        total = total + (change * both).sum(dim=(1, 2)) / both.sum(dim=(1, 2)).clamp_min(1)
    return total


def log_sum_exp(query: Tensor, key: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """What the logits s_ij = scale q_i k_j of an attention sum to, without storing them.

    One attention computes both: beside the keys stands one with a known logit m, and its weight
    is w = 1 / (1 + exp(log-sum-exp - m)).

    Args:
        query, key: (N, R, D) and (N, K, D).

    Returns:
        log sum_j exp s_ij, (N, R), and the mean key sum_j A_ij k_j, (N, R, D).
    """
    query, key = at_least_float32(query), at_least_float32(key)
    width, count = key.shape[-1], key.shape[-2]
    # The least that the log-sum-exp can be (Jensen), so w is at most 1/2, and seldom near 0.
    least = (query @ key.mean(dim=-2, keepdim=True).mT * scale).detach() + math.log(count)
    padding = -(width + 1) % 8  # for the fused kernels
    known = F.pad(key.new_tensor([[1 / scale]]), (width, padding)).expand(len(key), 1, -1)
    keys = torch.cat([F.pad(key, (0, 1 + padding)), known], dim=-2)
    values = torch.cat([keys[..., :-1, :], known * scale], dim=-2)  # keys, and 1 of the known one
    queries = F.pad(torch.cat([query, least], dim=-1), (0, padding))
    with without_autocast(queries):  # a logarithm of 8 bits would be off by parts of its gradient
        seen = F.scaled_dot_product_attention(queries, keys, values, scale=scale)
    weight = seen[..., width].clamp_min(torch.finfo(seen.dtype).tiny)
    mean_key = seen[..., :width] / (1 - weight)[..., None]
    return least[..., 0] + torch.log1p(-weight) - weight.log(), mean_key


def attention_entropy(query: Tensor, key: Tensor, inside: Tensor, temperature: float) -> Tensor:
    """Entropy of the attention, (B,), as a share of the largest possible: the mean over heads and
    the queries that are inside (B, L).

    Args:
        query, key: (B, N, L, D) as in `flow_field`.
    """
    scale = _scale(key, temperature)
    query = at_least_float32(query)
    found = log_sum_exp(query.flatten(0, 1), key.flatten(0, 1), scale)
    log_sum, mean_key = (each.unflatten(0, query.shape[:2]) for each in found)
    entropy = log_sum - (query * mean_key).sum(dim=-1) * scale  # -sum_j A_ij log A_ij
    total = (entropy.mean(dim=1) * inside).sum(dim=1)
    return total / inside.sum(dim=1).clamp_min(1) / math.log(max(key.shape[2], 2))


def match_cross_entropy(
    tokens: LayerTokens, grid: tuple[int, int], matches: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy of each head's attention to the matches, (B,): the mean over heads and over the
    tokens with a match, 0 where there is none.

    The label of a token is the histogram of the reference tokens that its matches lead to.

    Args:
        tokens: of the layer, whose queries are those of `grid` (h, w).
        matches: (B, P, 4), see `losses.matches`.
    """
    scale = _scale(tokens.key, temperature)
    known, rows = matches.isfinite().all(dim=-1), matches.nan_to_num()
    person = nearest_tokens(rows[..., :2], grid)
    reference = nearest_tokens(rows[..., 2:], tokens.key_grid)
    each = zip(tokens.query, tokens.key, person, reference, known, strict=True)
    return torch.stack([_cross_entropy(*sample, scale) for sample in each])


def _cross_entropy(
    query: Tensor, key: Tensor, person: Tensor, reference: Tensor, known: Tensor, scale: float
) -> Tensor:
    """Of one sample (): tokens (N, L, D) and (N, K, D); pairs (P,), of which some are known."""
    count, heads = query.shape[1], len(query)
    query, key = at_least_float32(query), at_least_float32(key)
    found = key.new_zeros(count).index_add(0, person, known.to(key.dtype))
    matched = found > 0
    share = known / found.clamp_min(1)[person]  # of each match in the label of its token
    if len(person) <= count:
        query, label, weight = query[:, person], key[:, reference], share
    else:  # each token once: the mean key of its label, without a key for each match
        order = person.argsort()
        starts = torch.searchsorted(person[order], torch.arange(count, device=person.device))
        keys = key.transpose(0, 1).flatten(1)
        chosen = reference[order], keys, starts
        label = F.embedding_bag(*chosen, mode="sum", per_sample_weights=share[order])
        label, weight = label.unflatten(1, (heads, -1)).transpose(0, 1), matched
    logits = (query * label).sum(dim=-1) * scale
    error = (log_sum_exp(query, key, scale)[0] - logits) * weight
    return error.sum() / (matched.sum() * heads).clamp_min(1)


def photometric_error(
    tokens: LayerTokens,
    grid: tuple[int, int],
    reference: Tensor,
    target: Tensor,
    region: Tensor,
    temperature: float,
) -> Tensor:
    """Absolute error (B,) of the reference's colours, pushed through the attention, at the target.

    Images (B, C, H, W) are averaged over the cells of the grids, `grid` (h, w) that of the
    queries; the error over channels, and over tokens by their share of the region (B, 1, H, W).
    """
    query, key, key_grid = tokens
    colours = F.adaptive_avg_pool2d(reference, key_grid).flatten(2).mT[:, None].to(key.dtype)
    count, width = colours.shape[-1], key.shape[-1]
    # As wide as the keys, as in `flow_field`.
    value = F.pad(colours, (0, max(width - count, 0))).expand(-1, key.shape[1], -1, -1)
    seen = F.scaled_dot_product_attention(query, key, value, scale=_scale(key, temperature))
    seen = at_least_float32(seen[..., :count]).mean(dim=1).mT.unflatten(2, grid)
    share = F.adaptive_avg_pool2d(region, grid)
    error = (seen - F.adaptive_avg_pool2d(target, grid)).abs() * share
    area = share.sum(dim=(1, 2, 3))
    return error.sum(dim=(1, 2, 3)) / (area.where(area > 0, 1.0) * count)


def _scale(key: Tensor, temperature: float) -> float:
    return 1.0 / (temperature * math.sqrt(key.shape[-1]))


class AttentionLoss(LeffaLoss):
    """A loss on the attention, selected by name, plus optional regularisers.

    Weight, temperature, timesteps, layers and reduction over samples are those of `LeffaLoss`; the
    weight also multiplies the regularisers. The losses have different scales: tune each weight.

    Args:
        name: "leffa", or one of those listed in this module's docstring.
        space: for "matches": "tokens", cross-entropy of the attention; or "coordinates", squared
            distance of the flow.
        labels: for "matches": from the "ground_truth" flow, or "stored" ones (`data.matches`), as
            for photographs.
        points: for ground-truth labels: pixels per image that get a match, about as many as a
            matcher finds on a photograph; None: all pixels with known ground truth.
        total_variation_weight, entropy_weight: weights of the added regularisers.
        gates: arguments of `LeffaLoss`.

    Raises:
        ValueError: an invalid setting; the message names it.
    """

    def __init__(
        self,
        name: Name = "leffa",
        space: Space = "tokens",
        points: int | None = 85,
        labels: Labels = "ground_truth",
        total_variation_weight: float = 0.0,
        entropy_weight: float = 0.0,
        **gates: Any,
    ) -> None:
        super().__init__(**gates)
        check_choice("attention_loss", name, get_args(Name))
        check_choice("attention_loss.space", space, get_args(Space))
        check_choice("attention_loss.labels", labels, get_args(Labels))
        if points is not None and (not isinstance(points, int) or points < 1):
            raise ValueError(f"attention_loss.points must be positive or null, got {points!r}")
        regularisers = {"total_variation": total_variation_weight, "entropy": entropy_weight}
        for key, weight in regularisers.items():
            if weight < 0:
                raise ValueError(f"attention_loss.{key}_weight must not be negative, got {weight}")
        if self.reduction != "mean" and name != "leffa":
            raise ValueError(
                f"leffa_loss.reduction={self.reduction}: attention_loss={name} supports only "
                "leffa_loss.reduction=mean"
            )
        self.name, self.space, self.points, self.labels = name, space, points, labels
        self.regularisers = {key: weight for key, weight in regularisers.items() if weight}
        by_tokens = name in ("entropy", "photometric") or (name, space) == ("matches", "tokens")
        self.needs_tokens = by_tokens or "entropy" in self.regularisers
        self.needs_matches = (name, labels) == ("matches", "stored")
        self.needs_ground_truth = name in ("matches", "oracle") and not self.needs_matches
        self.has_target = name not in ("total_variation", "entropy")

    def describe(self, gated_by: Gate = "max_timestep") -> str:
        """Its settings in a line, for logs."""
        own = []
        if self.name == "matches":
            own = [f"in {self.space}"]
            own += ["stored labels" if self.needs_matches else f"{self.points or 'all'} points"]
        own += [f"{key} {weight:g}" for key, weight in self.regularisers.items()]
        return ", ".join([super().describe(gated_by), *own])

    def per_sample(
        self, flow: Tensor, tokens: LayerTokens | None, supervision: Supervision
    ) -> Tensor:
        """The loss (S,) of each sample in one layer."""
        if self.name == "leffa":
            loss = super().per_sample(flow, tokens, supervision)
        else:
            loss = self._term(self.name, flow, tokens, supervision)
        for name, weight in self.regularisers.items():
            loss = loss + weight * self._term(name, flow, tokens, supervision)
        return loss

    def _term(
        self, name: str, flow: Tensor, tokens: LayerTokens | None, supervision: Supervision
    ) -> Tensor:
        reference, target, region, truth, valid, _ = supervision
        grid = (flow.shape[1], flow.shape[2])
        if name == "oracle":
            assert truth is not None and valid is not None
            return flow_error(flow, truth, valid * region)
        if name == "matches":
            matches = self._matches(supervision)
            if self.space == "coordinates":
                return match_distance(flow, matches)
            assert tokens is not None
            return match_cross_entropy(tokens, grid, matches, self.temperature)
        if name == "photometric":
            assert tokens is not None
            return photometric_error(tokens, grid, reference, target, region, self.temperature)
        inside = F.adaptive_avg_pool2d(region, grid).squeeze(1) >= 0.5
        if name == "total_variation":
            return total_variation(flow, inside)
        assert tokens is not None
        query, key, _ = tokens
        return attention_entropy(query, key, inside.flatten(1), self.temperature)

    def _matches(self, supervision: Supervision) -> Tensor:
        """The labels, (S, P, 4), whose points lie in the loss region."""
        _, _, region, truth, valid, stored = supervision
        if self.needs_matches:
            assert stored is not None
            return matches_in_region(at_least_float32(stored), region)
        assert truth is not None and valid is not None
        return flow_matches(truth, valid * region, self.points)
