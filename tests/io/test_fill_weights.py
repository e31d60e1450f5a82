"""A network gets weights that fit it, and no others."""

import pytest
import torch
from torch import Tensor, nn

from leffa.io.weights import fill

WEIGHTS = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


def test_a_network_without_memory_of_its_own_gets_its_weights() -> None:
    with torch.device("meta"):
        layer = nn.Linear(3, 2)
    fill(layer, WEIGHTS, "w.pth")
    assert layer(torch.ones(1, 3)).tolist() == [[3, 3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, r"1 keys are missing \(bias\)"),
        ({"gain": torch.zeros(1)}, r"1 keys have no place here \(gain\)"),
        ({"bias": torch.zeros(9)}, r"1 keys have another shape \(bias \(9,\) for \(2,\)\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, Tensor | None], message: str) -> None:
    state = {key: value for key, value in (WEIGHTS | change).items() if value is not None}
    with pytest.raises(ValueError, match=f"w.pth: does not fit: {message}"):
        fill(nn.Linear(3, 2), state, "w.pth")
