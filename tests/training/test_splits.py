"""A step is the same however its batch is split into micro-batches."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from lightning import Callback, Trainer
from torch import Tensor

from leffa.data.datamodule import PersonDataModule
from leffa.training.callbacks.health import Health
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import StepResult
from leffa.training.stages import Stage

BATCH = 8
STAGES = [Stage("only", 1, 32, 24, batch_size=BATCH, learning_rate=1e-3, leffa_loss=True)]


class Step(Callback):
    """Keeps the gradients of a step, and the results of its micro-batches."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.results: list[StepResult] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: PersonGenerationModule, *_: object
    ) -> None:  # type: ignore[override]
        self.gradients = {
            name: value.grad.clone()
            for name, value in pl_module.named_parameters()
            if value.grad is not None
        }

    def on_train_batch_end(
        self, trainer: Trainer, module: object, outputs: dict[str, StepResult], *_: object
    ) -> None:  # type: ignore[override]
        self.results.append(outputs["result"])


@pytest.mark.parametrize("max_timestep", [pytest.param(100, marks=pytest.mark.slow), 500])
def test_a_batch_of_8_is_2_of_4_and_8_of_1(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    max_timestep: int,
) -> None:
    """Loss, gradients and what is logged, where not every sample takes part in the Leffa loss."""
    steps, logged = [], []
    for size in (8, 4, 1):
        module, step = make_module(STAGES), Step()
        module.seed = 2
        module.leffa_loss.max_timestep = max_timestep
        module.objective = replace(module.objective, reference_dropout=0.3, min_snr_gamma=5.0)
        callbacks = (StageSchedule([BATCH // size]), Health(), step)
        trainer = make_trainer(STAGES, *callbacks, precision="64-true")
        trainer.fit(module, make_datamodule(STAGES, largest=size))
        steps.append(step)
        logged.append({k: v for k, v in trainer.callback_metrics.items() if not v.isnan()})
    whole, halves, single = steps
    assert [len(each.results) for each in steps] == [1, 2, 8]
    selected = [each.selected for each in halves.results]
    assert selected[0] != selected[1] and 0 < sum(selected) < BATCH
    for other, values in zip((halves, single), logged[1:], strict=True):
        loss = torch.stack([each.loss for each in other.results]).mean()
        torch.testing.assert_close(loss, whole.results[0].loss, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.gradients, whole.gradients, rtol=0, atol=1e-12)
        torch.testing.assert_close(values, logged[0], rtol=1e-6, atol=1e-7)
    assert whole.results[0].leffa > 0
