"""One training step: what takes part in which loss, and what draws its randomness."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import DiffusionSchedule, TimestepSampling
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.interface import Prediction
from leffa.models.leffa import Conditioning, LeffaModel
from leffa.training.objective import DiffusionObjective, StepResult

ALWAYS = LeffaLoss(weight=0.1, temperature=1.0, max_timestep=1000)
NEVER = LeffaLoss(weight=0.1, max_timestep=0)


def step(
    model: LeffaModel,
    batch: Batch,
    leffa_loss: LeffaLoss | None,
    seed: int = 0,
    dropout: float = 0.0,
) -> StepResult:
    generator = torch.Generator().manual_seed(seed)
    return DiffusionObjective(reference_dropout=dropout)(model, batch, leffa_loss, generator)


def without_gradient(model: LeffaModel) -> list[str]:
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is None
    ]


@pytest.mark.parametrize("leffa_loss", [None, ALWAYS, NEVER])
def test_every_trained_parameter_has_a_gradient(
    model: LeffaModel, batch: Batch, leffa_loss: LeffaLoss | None
) -> None:
    step(model, batch, leffa_loss).loss.backward()
    assert without_gradient(model) == []
    assert all(parameter.grad is None for parameter in model.vae.parameters())


def test_a_batch_with_no_early_timestep_costs_nothing(model: LeffaModel, batch: Batch) -> None:
    result = step(model, batch, NEVER)
    assert result.leffa == 0
    assert result.selected == 0
    assert result.layers == {}
    assert result.loss == result.diffusion.mean()


def test_only_early_timesteps_take_part(model: LeffaModel, batch: Batch) -> None:
    result = step(model, batch, LeffaLoss(max_timestep=500))
    assert 0 < result.selected < len(batch["name"])
    assert result.selected == (result.timesteps < 500).sum()


def test_samples_without_reference_take_no_part(model: LeffaModel, batch: Batch) -> None:
    assert step(model, batch, ALWAYS, dropout=0.0).selected == 6
    assert 0 < step(model, batch, ALWAYS, dropout=0.5).selected < 6
    all_dropped = step(model, batch, ALWAYS, dropout=1.0)
    assert all_dropped.selected == 0
    assert all_dropped.leffa == 0


def test_the_loss_of_the_selected_is_that_of_the_selected_alone(
    model: LeffaModel, batch: Batch
) -> None:
    result = step(model, batch, ALWAYS, dropout=0.5)
    changed = batch | {"loss_region": batch["loss_region"].clone()}
    dropped = step_dropped(len(batch["name"]))
    changed["loss_region"][dropped] = 1
    assert step(model, changed, ALWAYS, dropout=0.5).leffa == result.leffa
    changed["loss_region"][~dropped] = 1
    assert step(model, changed, ALWAYS, dropout=0.5).leffa != result.leffa


def step_dropped(count: int) -> Tensor:
    """Which samples `step` with a dropout of 0.5 leaves without reference."""
    generator = torch.Generator().manual_seed(0)
    torch.rand(count, generator=generator)  # the timesteps come first
    return torch.rand(count, generator=generator) < 0.5


@pytest.mark.parametrize("timestep_sampling", ["uniform", "cubic"])
def test_on_average_the_loss_is_that_of_a_selected_sample(
    timestep_sampling: Literal["uniform", "cubic"],
) -> None:
    """Of a batch of one, which is selected or not."""
    objective = DiffusionObjective(0.2, timestep_sampling=timestep_sampling)
    loss = LeffaLoss(max_timestep=300)
    generator = torch.Generator().manual_seed(0)
    sampling, count = TimestepSampling(timestep_sampling), 100_000
    late = sampling.sample(count, 1000, generator) >= loss.max_timestep
    dropped = torch.rand(count, generator=generator) < objective.reference_dropout
    selected = (~late & ~dropped).double().mean().item()
    schedule = DiffusionSchedule(torch.linspace(0.99, 0.01, 1000))
    assert objective.participation(loss, schedule) == pytest.approx(selected, rel=0.02)


def test_the_weight_multiplies(model: LeffaModel, batch: Batch) -> None:
    result = step(model, batch, LeffaLoss(weight=3.0, max_timestep=1000))
    assert result.leffa > 0
    torch.testing.assert_close(result.loss, result.diffusion.mean() + 3.0 * result.leffa)
    torch.testing.assert_close(sum(result.layers.values()), result.leffa)


def test_the_leffa_loss_draws_no_randomness(model: LeffaModel, batch: Batch) -> None:
    torch.testing.assert_close(
        step(model, batch, ALWAYS).diffusion, step(model, batch, None).diffusion
    )


def test_the_generator_fixes_the_step(model: LeffaModel, batch: Batch) -> None:
    torch.manual_seed(1)
    first = step(model, batch, ALWAYS, seed=7)
    torch.manual_seed(2)
    assert step(model, batch, ALWAYS, seed=7).loss == first.loss
    assert step(model, batch, ALWAYS, seed=8).loss != first.loss


class WatchedModel(LeffaModel):
    """Remembers which flows it was asked for."""

    asked: list[FlowRequest | None]

    def predict_noise(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning,  # type: ignore[override]
        flow: FlowRequest | None = None,
    ) -> Prediction:
        self.asked = [*getattr(self, "asked", []), flow]
        return super().predict_noise(noisy, timesteps, conditioning, flow)


@pytest.mark.parametrize(("leffa_loss", "wanted"), [(None, False), (NEVER, False), (ALWAYS, True)])
def test_no_flow_is_computed_that_no_loss_needs(
    build_model: Callable[[type[WatchedModel]], WatchedModel],
    batch: Batch,
    leffa_loss: LeffaLoss | None,
    wanted: bool,
) -> None:
    model = build_model(WatchedModel)
    step(model, batch, leffa_loss)
    assert [request is not None for request in model.asked] == [wanted]


def test_a_dropout_that_is_no_probability_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"reference_dropout must lie in \[0, 1\], got 1.5"):
        DiffusionObjective(reference_dropout=1.5)
