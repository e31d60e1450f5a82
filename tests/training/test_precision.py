"""What a GPU's precision and processes ask of the module, as far as a CPU can tell."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.data.dataset import collate
from leffa.explain import read_attention
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import FlowMetrics
from leffa.models.interface import Prediction
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings, generate, sample_latents
from leffa.predict.job import look_up_flow
from leffa.training.inspection import true_flow_values
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import DiffusionObjective
from leffa.training.stages import Stage

Make = Callable[..., PersonGenerationModule]
STAGES = [Stage("only", 2, 32, 24, batch_size=2, learning_rate=1e-3, leffa_loss=True)]
CLIP = 1e-3


class GradientNorms(Callback):
    """The norm of all gradients after each optimiser step, as it took them."""

    def __init__(self) -> None:
        self.norms: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.norms.append(nn.utils.get_total_norm(gradients).item())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_of_a_fused_optimiser_are_clipped_in_mixed_precision_too(
    precision: str,
    make_module: Make,
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
) -> None:
    module, seen = make_module(STAGES), GradientNorms()
    module._optimizer = partial(torch.optim.AdamW, fused=True)
    trainer = make_trainer(STAGES, seen, precision=precision, gradient_clip_val=CLIP)
    trainer.fit(module, make_datamodule(STAGES))
    assert trainer.global_step == 2
    assert seen.norms == pytest.approx([CLIP, CLIP], rel=1e-3)


def test_what_validation_logs_lies_on_the_device_where_processes_agree(
    make_module: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL reduces nothing that lies on a CPU; here "meta" is the other device."""
    module = make_module(STAGES).to("meta")
    logged: list[Tensor] = []
    monkeypatch.setattr(module, "log", lambda _, value, **__: logged.append(value))
    module._log_validation("masked_psnr", torch.ones(()), 2)
    assert logged[0].device == module.device == torch.device("meta")


def test_samples_without_a_visible_ground_truth_flow_do_not_count(batch: Batch) -> None:
    flow = torch.zeros(len(batch["name"]), 8, 6, 2)
    whole, seen = true_flow_values(FlowMetrics, flow, batch)
    assert seen == len(batch["name"])
    hidden = {**batch, "flow_valid": batch["flow_valid"].clone()}
    hidden["flow_valid"][1:] = 0
    one, seen = true_flow_values(FlowMetrics, flow, hidden)  # type: ignore[arg-type]
    assert seen == 1
    hidden["flow_valid"][0] = 0
    none, seen = true_flow_values(FlowMetrics, flow, hidden)  # type: ignore[arg-type]
    assert seen == 0  # its weight in the mean
    assert whole.keys() == one.keys() == none.keys()


def train_step(model: LeffaModel, batch: Batch) -> None:
    DiffusionObjective()(model, batch, LeffaLoss(), torch.Generator().manual_seed(0))


def validate(model: LeffaModel, batch: Batch) -> None:
    assert noised_forward(model, encode_batch(model, batch), 990).loss().dtype == torch.float32


def explain(model: LeffaModel, batch: Batch) -> None:
    one = collate([{key: value[0] for key, value in batch.items() if key != "latents"}])  # type: ignore[literal-required]
    read_attention(model, one, torch.zeros(1, 2), [990], temperature=1.0)


def predict(model: LeffaModel, batch: Batch) -> None:
    look_up_flow(model, batch, batch["source"], FlowRequest(min_resolution=0.0), seed=0)


@pytest.mark.parametrize("use", [train_step, validate, explain, predict])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_only_the_networks_compute_in_16_bits(
    model: LeffaModel,
    batch: Batch,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[LeffaModel, Batch], None],
    cached: bool,
    weights: torch.dtype,
) -> None:
    """Clean latents, noise and its coefficients keep the digits of float32, in mixed precision and
    with weights of 16 bits."""
    given: Batch = {**batch, "latents": model.latents(batch)} if cached else batch
    model.to(weights)
    add_noise, noised = model.schedule.add_noise, []

    def watch(clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        noisy = add_noise(clean, noise, timesteps)
        alpha = model.schedule.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        exact = alpha.sqrt() * clean.double() + (1 - alpha).sqrt() * noise.double()
        noised.append((clean, noisy, exact.float()))
        return noisy

    monkeypatch.setattr(model.schedule, "add_noise", watch)
    predicted: list[Tensor] = []
    predict_noise = model.predict_noise

    def keep(*args: Any) -> Prediction:
        found = predict_noise(*args)
        predicted.append(found.noise)
        return found

    monkeypatch.setattr(model, "predict_noise", keep)
    with torch.autocast("cpu", torch.bfloat16, enabled=weights == torch.float32):
        use(model, given)
    assert predicted[-1].dtype == torch.float32
    for clean, noisy, exact in noised:
        assert clean.dtype == noisy.dtype == torch.float32
        torch.testing.assert_close(noisy, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_sampling_in_16_bits_keeps_latents_and_pasted_pixels_exact(
    model: LeffaModel, batch: Batch, weights: torch.dtype
) -> None:
    model.to(weights).eval()
    settings = SamplerSettings(scheduler="ddim", steps=2, paste_back=True, paste_feather=2)
    with torch.autocast("cpu", torch.bfloat16, enabled=weights == torch.float32):
        latents = sample_latents(model, batch, settings)
        pictures = generate(model, batch, settings)
    assert latents.dtype == pictures.dtype == torch.float32
    assert not torch.equal(latents, latents.bfloat16().float())
    kept = F.max_pool2d(batch["mask"], 5, stride=1, padding=2) == 0
    assert kept.any()
    assert torch.equal(pictures.where(kept, 0.0), batch["source"].where(kept, 0.0))
