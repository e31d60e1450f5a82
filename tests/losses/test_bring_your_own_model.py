"""The page on the Leffa loss as its reader meets it: the examples run, and do what it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leffa.losses.flow import LeffaLossOutput

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "loss-in-your-model.md").read_text(
    encoding="utf-8"
)
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)  # a model, what is added; twice
EXAMPLES = {"unet": "\n".join(BLOCKS[:2]), "transformer": "\n".join(BLOCKS[2:])}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What an example leaves behind: its model, its `step`, its losses."""
    names: dict[str, Any] = {}
    exec(compile(EXAMPLES[request.param], request.param, "exec"), names)
    return names


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def total(losses: tuple[Tensor, LeffaLossOutput]) -> Tensor:
    return losses[0] + losses[1].total


def test_what_is_added_is_some_thirty_lines() -> None:
    assert len(BLOCKS) == 4
    for block in BLOCKS[1::2]:
        assert len([line for line in block.splitlines() if line.strip()]) <= 30


def test_queries_and_keys_of_every_tapped_layer_are_reached(example: dict[str, Any]) -> None:
    model, leffa = example["model"], example["leffa"]
    model.zero_grad()
    layers = {name.removesuffix(".processor") for name in leffa.layers}
    assert len(layers) >= 2
    example["step"](model)[1].total.backward()
    reached = gradients(model)
    for layer in layers:
        for projection in ("to_q", "to_k"):
            assert reached[f"{layer}.{projection}.weight"].abs().max() > 0


def test_values_have_no_part_in_the_flow_of_their_own_layer(example: dict[str, Any]) -> None:
    model = example["model"]
    model.zero_grad()
    example["step"](model)[1].total.backward()
    last = list(example["leffa"].layers)[-1].removesuffix(".processor")
    value = model.get_parameter(f"{last}.to_v.weight")
    assert value.grad is None or not value.grad.any()


def test_a_tap_changes_no_prediction(example: dict[str, Any]) -> None:
    model, step = example["model"], example["step"]
    tapped = step(model)[0]
    stock = {
        name: type(processor).__mro__[1]() for name, processor in model.attn_processors.items()
    }
    with torch.no_grad():
        model.set_attn_processor(stock)
        assert step(model)[1].layers == {}
        torch.testing.assert_close(step(model)[0], tapped.detach())


def test_the_late_sample_takes_no_part(example: dict[str, Any]) -> None:
    before = example["step"](example["model"])[1].total
    example["target"][1] = 0.0
    assert torch.equal(example["step"](example["model"])[1].total, before)
    example["target"][0] = 0.0
    assert not torch.equal(example["step"](example["model"])[1].total, before)


def test_some_steps_of_the_loss_alone_lower_it(example: dict[str, Any]) -> None:
    """A reference with a slope to follow, and as the target a darker one."""
    slope = torch.linspace(-1, 1, 64).view(1, 1, 64, 1).expand(2, 3, 64, 64)
    example["reference"].copy_(slope)
    example["target"].fill_(-0.6)
    model = example["model"]
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    measured = []
    for _ in range(12):
        loss = example["step"](model)[1].total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        measured.append(loss.item())
    assert measured[-1] < 0.7 * measured[0]


def test_checkpointing_changes_neither_losses_nor_gradients(example: dict[str, Any]) -> None:
    model, step = example["model"].train(), example["step"]
    found = []
    for switch in (model.disable_gradient_checkpointing, model.enable_gradient_checkpointing):
        switch()
        model.zero_grad()
        losses = step(model)
        total(losses).backward()
        found.append((losses[0], losses[1].layers, gradients(model)))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiling_changes_neither_losses_nor_gradients(example: dict[str, Any]) -> None:
    """Both passes are captured as whole graphs; which C++ is made of them takes minutes to see."""
    torch.compiler.reset()  # other sizes were compiled before
    model, step = example["model"], example["step"]
    found = []
    for network in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        model.zero_grad()
        losses = step(network)
        total(losses).backward()
        found.append((losses[0], losses[1].layers, gradients(model)))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.slow  # a process of its own; `tests/test_imports.py` looks at the imports
def test_the_library_needs_nothing_but_torch() -> None:
    """In a process where neither this project's other parts nor its dependencies can be found."""
    blocked = ("diffusers", "lightning", "torchvision", "numpy", "PIL", "transformers", "hydra")
    program = f"""
import sys
import torch
for name in {blocked!r}:
    sys.modules[name] = None
from leffa.losses.diffusion import DiffusionSchedule
from leffa.losses.flow import LeffaLoss, flow_field
flow = flow_field(torch.randn(1, 2, 6, 4), torch.randn(1, 2, 6, 4), (3, 2), 2.0)
picture = torch.zeros(1, 3, 12, 8)
flows = {{"layer": flow.unflatten(1, (3, 2))}}
loss = LeffaLoss()(flows, picture, picture + 1, picture[:, :1] + 1, expected_samples=1)
assert loss.total.item() == 1.0
assert {{name.split(".")[1] for name in sys.modules if name.startswith("leffa.")}} == {{"losses"}}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
