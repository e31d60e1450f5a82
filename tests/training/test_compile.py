"""What makes a step faster leaves its loss and gradients as they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.training.compile import compile_model
from leffa.training.objective import DiffusionObjective


def step(model: LeffaModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients by name; every sample takes part in the Leffa loss."""
    loss = LeffaLoss(1.0, temperature=1.0, max_timestep=1000)
    objective = DiffusionObjective(reference_dropout=0.0)
    result = objective(model.double(), batch, loss, torch.Generator().manual_seed(0))
    result.loss.backward()
    assert result.selected == len(batch["name"])
    return result.loss.detach(), {
        name: value.grad for name, value in model.named_parameters() if value.grad is not None
    }


@pytest.fixture
def in_double(batch: Batch) -> Batch:
    return {
        key: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for key, value in batch.items()
    }  # type: ignore[return-value]  # the same keys


@pytest.mark.parametrize(
    ("compile_networks", "channels_last"),
    [(False, True), pytest.param(True, False, marks=pytest.mark.slow)],
)
def test_loss_and_gradients_stay(
    build_model: Callable[[], LeffaModel],
    in_double: Batch,
    compile_networks: bool,
    channels_last: bool,
) -> None:
    plain, changed = build_model(), build_model()
    compile_model(changed, compile_networks, channels_last, backend="aot_eager")
    assert changed.state_dict().keys() == plain.state_dict().keys()
    if channels_last:
        weight = changed.generative_unet.conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
    assert_same_step(plain, changed, in_double)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_both_networks_are_captured_without_a_break(
    build_model: Callable[[], LeffaModel], in_double: Batch
) -> None:
    torch.compiler.reset()  # other sizes were compiled before
    plain, compiled = build_model(), build_model()
    for network in (compiled.reference_unet, compiled.generative_unet):
        network.compile(backend="aot_eager", fullgraph=True)
    assert_same_step(plain, compiled, in_double)


def assert_same_step(plain: LeffaModel, changed: LeffaModel, batch: Batch) -> None:
    """Two models give the same loss and gradients."""
    loss, gradients = step(plain, batch)
    other_loss, other_gradients = step(changed, batch)
    assert other_loss.item() == pytest.approx(loss.item(), abs=1e-9)
    assert gradients.keys() == other_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(other_gradients[name], gradient, rtol=0, atol=1e-8)


def test_fused_adamw_takes_the_same_steps() -> None:
    weights = []
    for fused in (False, True):
        torch.manual_seed(0)
        layer = torch.nn.Linear(5, 3, dtype=torch.float64)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.arange(10, dtype=torch.float64).view(2, 5)).square().sum().backward()
            optimizer.step()
        weights.append(layer.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-12)
