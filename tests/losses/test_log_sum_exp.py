"""Log-sum-exp of the logits of attention, and its mean key, without the logits."""

import pytest
import torch
from torch import Tensor

from leffa.losses.attention import log_sum_exp


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("largest", [0.01, 1.0, 30.0, 80.0])
def test_log_sum_exp_and_mean_key_are_those_of_the_logits(largest: float) -> None:
    query, key = random(3, 20, 5), random(3, 17, 5, seed=1)
    logits = query @ key.mT
    scale = largest / logits.abs().max().item()
    found = log_sum_exp(query.float(), key.float(), scale)
    exact = log_sum_exp(query, key, scale)
    logits = logits * scale
    for ours, expected in ((exact[0], logits.logsumexp(-1)), (exact[1], logits.softmax(-1) @ key)):
        torch.testing.assert_close(ours, expected)
    for single, double in zip(found, exact, strict=True):
        torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=1e-5)


def test_log_sum_exp_has_its_gradients() -> None:
    query, key = random(2, 4, 3).requires_grad_(), random(2, 6, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: log_sum_exp(q, k, 0.7), (query, key))
