"""A GPU that is not there: PyTorch's fake tensors have shapes, types and a device, but no values.

What mixes devices, as a table left on the CPU, fails here as it would on a GPU. Nothing that looks
at values can be tried: no backward pass, no schedulers' steps.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.schedule import denoising_loss
from leffa.models.catvton import CatVTON
from leffa.models.cfld import CFLD
from leffa.models.interface import PersonGenerator
from leffa.models.leffa import LeffaModel
from leffa.training.inspection import warp_values

sys.path += [str(Path(__file__).parent / folder) for folder in ("cfld", "idm_vton")]
import cfld_parts
import idm_vton_parts


def on_gpu(value: Tensor) -> Tensor:
    return torch.empty(value.shape, dtype=value.dtype, device="cuda")


def move(module: nn.Module) -> None:
    """Bring weights and buffers to the pretended GPU, as `module.to` would to a real one."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                part._parameters[name] = nn.Parameter(on_gpu(weight), weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = on_gpu(buffer)


SOURCES = (cfld_parts.UNET, idm_vton_parts.VAE, idm_vton_parts.SCHEDULER)
CFLD_PARTS = {"encoder": cfld_parts.ENCODER, "decoder": cfld_parts.DECODER, "appearance_depth": 1}
MODELS: dict[str, Callable[[], PersonGenerator]] = {
    "leffa": lambda: LeffaModel(*SOURCES),
    "catvton": lambda: CatVTON(*SOURCES, trainable="all"),
    "idm_vton": idm_vton_parts.build,
    "cfld": lambda: CFLD(*SOURCES, trainable="all", **CFLD_PARTS),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "leffa" else pytest.mark.slow) for name in MODELS],
)
def test_a_model_computes_where_its_weights_are(
    name: str, make_batch: Callable[..., Batch]
) -> None:
    model, loss, drawn = MODELS[name](), LeffaLoss(), make_batch()
    drawn["pose"] = torch.rand(2, 21, 16, 12)
    with FakeTensorMode(allow_non_fake_inputs=True):
        move(model)
        batch = {k: on_gpu(v) if isinstance(v, Tensor) else v for k, v in drawn.items()}
        count = len(batch["name"])
        timesteps = torch.full((count,), 200, device="cuda")

        conditioning = model.encode(batch).drop(torch.zeros(count, dtype=torch.bool, device="cuda"))
        clean = model.encode_target(batch)
        noise = torch.empty(clean.shape, device="cuda")
        noisy = model.schedule.add_noise(clean, noise, timesteps)
        prediction = model.predict_noise(noisy, timesteps, conditioning, loss.request())
        target = model.schedule.target(clean, noise, timesteps)
        weight = model.schedule.loss_weight(timesteps, 5.0)
        pictures = (batch["reference"], batch["source"], batch["loss_region"])
        found = {
            "picture": model.decode(clean),
            "diffusion": denoising_loss(prediction.noise, target, weight),
            "leffa": loss(prediction.flows, *pictures, expected_samples=count).total,
            **warp_values(next(iter(prediction.flows.values())), batch),
        }
    assert {value.device.type for value in found.values()} == {"cuda"}


def test_a_table_that_was_left_behind_is_found() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, table = torch.empty(3, 4, device="cuda"), torch.ones(4)
        with pytest.raises(RuntimeError, match="device"):
            value + table
