"""Monitoring of the attention: how peaked it is, and the share of the reference."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.losses.precision import at_least_float32, without_autocast


class Sharpness(NamedTuple):
    """How focused the attention is; flat attention means a collapsed flow."""

    peak_mass: Tensor  #: () mean over queries and heads of the largest weight, in [1/L, 1]
    entropy: Tensor  #: () mean entropy divided by log L, in [0, 1]; 1 is uniform


@torch.no_grad()
def attention_sharpness(
    query: Tensor, key: Tensor, temperature: float, chunk: int = 512
) -> Sharpness:
    """Peak mass and entropy of the attention that `flow_field` averages, a few queries at a time.

    Args:
        query, key: (B, N, L, D) and (B, N, h*w, D), as in `flow_field`.
        temperature: tau > 0, as in `flow_field`.
        chunk: number of queries computed together; memory is proportional to B*N*chunk*h*w.
    """
    scale = 1.0 / (temperature * math.sqrt(key.shape[-1]))
    peaks, entropies = [], []
    with without_autocast(key):
        for part in query.float().split(chunk, dim=2):
            logits = part @ key.float().transpose(-1, -2) * scale
            log_weights = logits.log_softmax(dim=-1)
            weights = log_weights.exp()
            peaks.append(weights.amax(dim=-1).flatten())
            entropies.append(-(weights * log_weights).sum(dim=-1).flatten())
    tokens = max(key.shape[2], 2)
    return Sharpness(torch.cat(peaks).mean(), torch.cat(entropies).mean() / math.log(tokens))


def reference_share(query: Tensor, own: Tensor, key: Tensor) -> Tensor:
    """The share of each query's attention to [own; reference] tokens that the reference gets.

    This is attention whose values are 0 for own tokens and 1 for those of the reference, at the
    network's own temperature of 1, so no map of L x (L + h*w) is stored.

    Args:
        query, own: (B, N, L, D), queries and keys of the generative tokens.
        key: (B, N, h*w, D), of the reference tokens.

    Returns:
        (B, L) in [0, 1], mean over heads.
    """
    keys = torch.cat([own, key], dim=2)
    value = torch.zeros_like(keys)  # as wide as the keys, for the fused kernels
    value[:, :, own.shape[2] :, 0] = 1
    share = F.scaled_dot_product_attention(query, keys, value)[..., 0]
    return at_least_float32(share).mean(dim=1)
