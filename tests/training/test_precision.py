"""What a GPU's precision and processes ask of the module, as far as a CPU can tell."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.models.leffa import LeffaModel
from leffa.training.inspection import true_flow_values
from leffa.training.module import PersonGenerationModule
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


def test_samples_without_a_visible_true_flow_do_not_count(batch: Batch) -> None:
    flow = torch.zeros(len(batch["name"]), 8, 6, 2)
    whole, seen = true_flow_values(flow, batch)
    assert seen == len(batch["name"])
    hidden = {**batch, "flow_valid": batch["flow_valid"].clone()}
    hidden["flow_valid"][1:] = 0
    one, seen = true_flow_values(flow, hidden)  # type: ignore[arg-type]
    assert seen == 1
    hidden["flow_valid"][0] = 0
    none, seen = true_flow_values(flow, hidden)  # type: ignore[arg-type]
    assert seen == 0  # its weight in the mean
    assert whole.keys() == one.keys() == none.keys()


def test_a_model_in_16_bits_has_the_exact_noise_schedule(model: LeffaModel) -> None:
    clean, noise = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    before = model.schedule.add_noise(clean, noise, torch.tensor([1]))
    after = model.bfloat16().schedule.add_noise(clean, noise, torch.tensor([1]))
    assert torch.equal(before, after)
