"""A sick run is stopped, or warned of, in words that name what is sick."""

import logging
import math
from collections.abc import Callable

import pytest
import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.models.leffa import LeffaModel
from leffa.training.callbacks.health import Health
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import StepResult
from leffa.training.stages import Stage

STAGES = [Stage("only", 1, height=32, width=24, batch_size=4, learning_rate=1e-3, leffa_loss=True)]

Fit = Callable[..., Trainer]


@pytest.fixture
def fit(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
) -> Fit:
    """Trains a model for one step and validates it, under the eyes of a `Health`."""

    def run(model: LeffaModel, health: Health) -> Trainer:
        trainer = make_trainer(STAGES, health, validate=True)
        trainer.fit(make_module(STAGES, model), make_datamodule(STAGES, val_samples=2))
        return trainer

    return run


def test_stops_at_a_loss_that_is_no_number(fit: Fit, model: LeffaModel) -> None:
    with torch.no_grad():
        model.generative_unet.conv_out.bias[0] = math.nan
    with pytest.raises(ValueError, match="step 1: the diffusion loss is not finite at timesteps"):
        fit(model, Health())


def test_names_the_layer_whose_leffa_loss_is_no_number(
    make_module: Callable[..., PersonGenerationModule], batch: Batch
) -> None:
    result = StepResult(
        loss=torch.tensor(math.inf),
        diffusion=torch.ones(2),
        timesteps=torch.tensor([3, 4]),
        leffa=torch.tensor(math.inf),
        layers={"down.attn1": torch.tensor(1.0), "up.attn1": torch.tensor(math.inf)},
    )
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match=r"step 0: the Leffa loss is not finite in up\.attn1;"):
        Health().on_train_batch_end(trainer, make_module(STAGES), {"result": result}, batch, 0)


def test_logs_the_loss_of_each_part_of_the_timesteps(fit: Fit, model: LeffaModel) -> None:
    logged = fit(model, Health(buckets=1, collapse_spread=0)).callback_metrics
    torch.testing.assert_close(logged["health/diffusion_0_1000"], logged["train/diffusion"])
    layers = [key for key in logged if key.startswith("health/leffa/")]
    assert len(layers) == 7
    assert sum(logged[key] for key in layers) == pytest.approx(logged["train/leffa"])


@pytest.mark.parametrize(("threshold", "warned"), [(0.0, False), (1.0, True)])
def test_warns_of_a_flow_without_spread(
    fit: Fit,
    model: LeffaModel,
    caplog: pytest.LogCaptureFixture,
    threshold: float,
    warned: bool,
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(model, Health(collapse_spread=threshold))
    assert ("every query looks at one point" in caplog.text) is warned
