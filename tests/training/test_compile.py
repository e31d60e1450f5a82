"""What makes a step faster leaves its loss and gradients as they are."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, distributed, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters
from torch.nn.parallel import DistributedDataParallel

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.training.compile import compile_model
from leffa.training.objective import DiffusionObjective


class Step(nn.Module):
    """A training step in which every sample takes part in the Leffa loss."""

    def __init__(self, model: LeffaModel) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, batch: Batch) -> Tensor:
        loss = LeffaLoss(1.0, temperature=1.0, max_timestep=1000)
        objective = DiffusionObjective(reference_dropout=0.0)
        result = objective(self.model, batch, loss, torch.Generator().manual_seed(0))
        assert result.selected == len(batch["name"])
        return result.loss


def step(model: LeffaModel, batch: Batch, ddp: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients by name."""
    own = Step(model)
    loss = (DistributedDataParallel(own, bucket_cap_mb=0.01) if ddp else own)(batch)
    loss.backward()
    return loss.detach(), {
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


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A group of this process alone; DDP's buckets are smaller than a block, as those of a large
    network are."""
    monkeypatch.setattr(distributed, "_DEFAULT_FIRST_BUCKET_BYTES", 10_000)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_blocks_are_captured_without_a_break(
    build_model: Callable[[], LeffaModel], in_double: Batch, checkpointing: bool
) -> None:
    """Of both networks, with the Leffa loss, under DDP; gradients are those of the plain step."""
    torch.compiler.reset()  # other sizes were compiled before
    counters.clear()
    counter = CompileCounterWithBackend("aot_eager")
    plain, compiled = build_model(), build_model()
    if checkpointing:
        compiled.reference_unet.enable_gradient_checkpointing()
        compiled.generative_unet.enable_gradient_checkpointing()
    compile_model(compiled, compile_networks=True, channels_last=False, backend=counter)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert_same_step(plain, compiled, in_double, ddp=True)
    assert not counters["graph_break"]
    reasons = [str(graph.compile_subgraph_reason) for graph in counter.graphs]
    assert len(reasons) >= 2 and not any("DDPOptimizer" in reason for reason in reasons)


def assert_same_step(
    plain: LeffaModel, changed: LeffaModel, batch: Batch, ddp: bool = False
) -> None:
    """Two models give the same loss and gradients."""
    loss, gradients = step(plain, batch)
    other_loss, other_gradients = step(changed, batch, ddp)
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
