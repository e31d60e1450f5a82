"""A failing run is stopped, or warned of, in words that name what failed."""

import logging
import math
from collections.abc import Callable

import pytest
import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.losses.flow import warp
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


def test_stops_at_a_loss_that_is_no_number_and_names_term_and_layer(
    fit: Fit, model: LeffaModel
) -> None:
    with torch.no_grad():
        model.generative_unet.mid_block.resnets[0].conv1.bias[0] = math.nan
    said = r"step 1: the diffusion loss is not finite at timesteps \[.*\], first in the layer "
    with pytest.raises(ValueError, match=said + r"generative_unet\.mid_block\.resnets\.0\.conv1;"):
        fit(model, Health())


def test_a_nonfinite_gradient_is_named_and_leaves_the_weights_as_they_are(
    fit: Fit, model: LeffaModel
) -> None:
    weight = model.reference_unet.conv_in.weight
    weight.register_hook(lambda gradient: gradient / 0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    said = (
        r"step 1: the gradients of 1 weights are not finite, first reference_unet\.conv_in\.weight"
    )
    with pytest.raises(ValueError, match=said):
        fit(model, Health())
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_logs_the_gradient_norm_of_each_network(fit: Fit, model: LeffaModel) -> None:
    logged = fit(model, Health()).callback_metrics
    for network in ("generative_unet", "reference_unet"):
        assert logged[f"grad/{network}"] > 0


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


def test_a_part_without_samples_has_no_number(
    make_module: Callable[..., PersonGenerationModule], batch: Batch
) -> None:
    """Not the number of an earlier step."""
    logged: dict[str, float] = {}
    module = make_module(STAGES)
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    result = StepResult(torch.ones(()), torch.ones(2), torch.tensor([3, 4]), torch.zeros(()))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    outputs = {"result": result, "step": result}
    Health(buckets=2).on_train_batch_end(trainer, module, outputs, batch, 0)
    assert logged["health/diffusion_0_500"] == 1
    assert math.isnan(logged["health/diffusion_500_1000"])


def test_a_step_without_selected_samples_counts_as_zero_in_the_mean_of_a_layer(
    make_module: Callable[..., PersonGenerationModule], batch: Batch
) -> None:
    """As it does in the loss; also after the run was resumed."""
    logged: dict[str, float] = {}
    module = make_module(STAGES)
    module.leffa_loss_on = True
    module.log = lambda name, value, **_: logged.update({name: float(value)})  # type: ignore[method-assign]
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    health, resumed = Health(), Health()
    for layers in ({"up.attn1": torch.tensor(3.0)}, {}):
        result = StepResult(torch.ones(()), torch.ones(2), torch.arange(2), torch.zeros(()), layers)
        outputs = {"result": result, "step": result}
        health.on_train_batch_end(trainer, module, outputs, batch, 0)
        assert logged["health/leffa/up.attn1"] == (3.0 if layers else 0.0)
    logged.clear()
    resumed.load_state_dict(health.state_dict())
    resumed.on_train_batch_end(trainer, module, outputs, batch, 0)
    assert logged["health/leffa/up.attn1"] == 0.0


@pytest.mark.parametrize(
    ("spreads", "warned"),
    [
        ([0.3, 0.3, 0.3], False),
        ([0.001], False),  # a young model
        ([0.001, 0.001], True),
        ([0.001, 0.3, 0.001], False),
    ],
)
def test_warns_of_a_flow_that_stays_without_spread(
    make_module: Callable[..., PersonGenerationModule],
    caplog: pytest.LogCaptureFixture,
    spreads: list[float],
    warned: bool,
) -> None:
    health, module = Health(collapse_patience=2), make_module(STAGES)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    module.leffa_loss_on = True
    with caplog.at_level(logging.WARNING):
        for spread in spreads:
            resumed = Health(collapse_patience=2)
            resumed.load_state_dict(health.state_dict())
            health = resumed
            trainer.callback_metrics["val/flow/spread"] = torch.tensor(spread)
            health.on_validation_end(trainer, module)
    assert ("all queries have looked at one point" in caplog.text) is warned


def test_warping_with_a_flow_that_is_no_number_gives_none(batch: Batch) -> None:
    """And leaves the process alive: PyTorch's kernel reads outside of its memory there."""
    image = batch["source"]
    flow = torch.zeros(len(image), *image.shape[-2:], 2)
    flow[0, 3, 4] = math.nan
    flow.requires_grad_()
    warped = warp(image, flow)
    warped.sum().backward()
    assert warped[0, :, 3, 4].isnan().all()
    assert warped.isnan().sum() == image.shape[1]
