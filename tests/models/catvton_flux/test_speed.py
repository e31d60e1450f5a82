"""What makes a step or a picture cheaper changes neither."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from catvton_flux_parts import BLOCKS, build
from model_parts import ALL_LAYERS, MakeBatch, gradients, leffa_loss, predict
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.models.catvton_flux import CatVTONFlux
from leffa.models.compiled import compile_blocks
from leffa.models.placement import offload
from leffa.models.sampler import SamplerSettings, generate

EULER = SamplerSettings("euler", steps=2, guidance=30.0)


@pytest.fixture
def compiler() -> Iterator[Any]:
    torch._dynamo.reset()
    yield torch._dynamo.testing.CompileCounterWithBackend("eager")
    torch._dynamo.reset()


def step(model: CatVTONFlux, batch: Batch) -> dict[str, Tensor]:
    """Gradients of a step with both losses, of which only one block has the Leffa loss."""
    request = FlowRequest(1.0, 0.0, layers=(BLOCKS[1],))
    prediction = predict(model.train(), batch, request)
    assert list(prediction.flows) == [BLOCKS[1]]
    (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    return {name: value.clone() for name, value in gradients(model).items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_blocks_give_the_same_flows_pictures_and_gradients(
    compiler: Any, make_batch: MakeBatch, checkpointing: bool
) -> None:
    """`fullgraph`: a break would be an error. One graph serves both single blocks."""
    batch = make_batch()
    plain, compiled = (build(gradient_checkpointing=checkpointing) for _ in range(2))
    compile_blocks(compiled.transformer, compiler)
    expected, found = step(plain, batch), step(compiled, batch)
    assert compiler.frame_count > 0
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)
    flows = [predict(model.eval(), batch, ALL_LAYERS).flows for model in (plain, compiled)]
    assert list(flows[1]) == BLOCKS
    torch.testing.assert_close(flows[1], flows[0])
    pictures = [generate(model, batch, EULER) for model in (plain, compiled)]
    torch.testing.assert_close(pictures[1], pictures[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["model", "sequential"])
def test_offloading_changes_no_picture(kind: Any, make_batch: MakeBatch) -> None:
    batch = make_batch()
    plain, moved = (build().eval() for _ in range(2))
    offload(moved, torch.device("cpu"), kind)
    assert torch.equal(generate(moved, batch, EULER), generate(plain, batch, EULER))
