"""A GPU that is not there: PyTorch's fake tensors have shapes, types and a device, but no values.

What mixes devices, as a table left on the CPU, fails here as it would on a GPU. Nothing that looks
at values can be tried: no backward pass, no schedulers' steps.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from leffa.losses.diffusion import diffusion_loss
from leffa.run import assemble, compose
from leffa.synthetic.write import write_deepfashion, write_viton_hd
from leffa.training.inspection import warp_values

WRITERS: dict[str, Callable[..., None]] = {"tryon": write_viton_hd, "pose": write_deepfashion}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("drawn")
    for task, write in WRITERS.items():
        write(folder / task, 4, 2, seed=0, height=64, width=48)
    return {task: folder / task for task in WRITERS}


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


@pytest.mark.parametrize(
    ("experiment", "task"),
    [
        ("tryon_synthetic", "tryon"),
        ("pose_synthetic", "pose"),
        ("catvton_synthetic", "tryon"),
        ("idm_vton_synthetic", "tryon"),
        ("cfld_synthetic", "pose"),
    ],
)
def test_a_model_computes_where_its_weights_are(
    experiment: str, task: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    places = [f"data.root={roots[task]}", "data.prepare=null", f"paths.output_dir={tmp_path}"]
    run = assemble(compose("train", [f"experiment={experiment}", "debug=tiny", *places]))
    drawn = next(iter(run.datamodule.val_dataloader()))
    model, loss = run.module.model, run.module.leffa_loss
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
            "diffusion": diffusion_loss(prediction.noise, target, weight),
            "leffa": loss(prediction.flows, *pictures, expected_samples=count).total,
            **warp_values(next(iter(prediction.flows.values())), batch),
        }
    assert {value.device.type for value in found.values()} == {"cuda"}


def test_a_table_that_was_left_behind_is_found() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        value, table = torch.empty(3, 4, device="cuda"), torch.ones(4)
        with pytest.raises(RuntimeError, match="device"):
            value + table
