"""What makes a step faster leaves its loss and gradients as they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

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


def test_channels_last_leaves_loss_and_gradients(
    build_model: Callable[[], LeffaModel], in_double: Batch
) -> None:
    plain, changed = build_model(), build_model()
    compile_model(changed, compile_networks=False, channels_last=True)
    assert changed.state_dict().keys() == plain.state_dict().keys()
    weight = changed.generative_unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert_same_step(plain, changed, in_double)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_is_captured_without_a_break(
    build_model: Callable[[], LeffaModel], in_double: Batch, checkpointing: bool
) -> None:
    """Both networks, with the Leffa loss; gradients are those of the plain step."""
    torch.compiler.reset()  # other sizes were compiled before
    counters.clear()
    plain, compiled = build_model(), build_model()
    if checkpointing:
        compiled.reference_unet.enable_gradient_checkpointing()
        compiled.generative_unet.enable_gradient_checkpointing()
    compile_model(compiled, compile_networks=True, channels_last=False, backend="aot_eager")
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert_same_step(plain, compiled, in_double)
    assert counters["stats"]["unique_graphs"] >= 2
    assert not counters["graph_break"]


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
