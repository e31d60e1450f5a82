"""The diffusion loss, against diffusers' scheduler and against values worked out by hand."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from leffa.losses.diffusion import DiffusionSchedule, TimestepSampling
from leffa.losses.schedule import denoising_loss, draw

TIMESTEPS = torch.tensor([0, 1, 400, 999])


@pytest.fixture(scope="module", params=["scaled_linear", "zero terminal SNR"])
def scheduler(request: pytest.FixtureRequest) -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        rescale_betas_zero_snr=request.param == "zero terminal SNR",
    )


def latents(seed: int) -> torch.Tensor:
    return torch.randn(4, 4, 6, 5, generator=torch.Generator().manual_seed(seed))


def test_adds_noise_as_diffusers_does(scheduler: DDPMScheduler) -> None:
    clean, noise = latents(0), latents(1)
    ours = DiffusionSchedule(scheduler.alphas_cumprod).add_noise(clean, noise, TIMESTEPS)
    torch.testing.assert_close(ours, scheduler.add_noise(clean, noise, TIMESTEPS))


def test_velocity_is_that_of_diffusers(scheduler: DDPMScheduler) -> None:
    clean, noise = latents(0), latents(1)
    schedule = DiffusionSchedule(scheduler.alphas_cumprod, "v_prediction")
    expected = scheduler.get_velocity(clean, noise, TIMESTEPS)
    torch.testing.assert_close(schedule.target(clean, noise, TIMESTEPS), expected)


def test_epsilon_prediction_asks_for_the_noise(scheduler: DDPMScheduler) -> None:
    noise = latents(1)
    schedule = DiffusionSchedule(scheduler.alphas_cumprod)
    assert schedule.target(latents(0), noise, TIMESTEPS) is noise
    assert schedule.steps == 1000


@pytest.mark.parametrize(
    ("prediction_type", "expected"),
    # SNR = a / (1 - a): 9, 1 and 1/4, clipped at 5; divided by the SNR, for v by the SNR + 1
    [("epsilon", [5 / 9, 1.0, 1.0]), ("v_prediction", [5 / 10, 1 / 2, 1 / 5])],
)
def test_min_snr_weights_worked_out_by_hand(prediction_type: Any, expected: list[float]) -> None:
    schedule = DiffusionSchedule(torch.tensor([0.9, 0.5, 0.2]), prediction_type)
    weight = schedule.loss_weight(torch.arange(3), min_snr_gamma=5.0)
    torch.testing.assert_close(weight, torch.tensor(expected))


def test_no_gamma_weighs_all_timesteps_alike() -> None:
    schedule = DiffusionSchedule(torch.tensor([0.9, 0.5, 0.2]))
    assert torch.equal(schedule.loss_weight(torch.arange(3), None), torch.ones(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_coefficients_keep_the_digits_of_float32(dtype: torch.dtype) -> None:
    """bfloat16 would round sigma(990) to 0.9961."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    schedule = DiffusionSchedule((1 - betas).cumprod(dim=0), "v_prediction")
    zeros, ones = (make(1, 4, 2, 2, dtype=dtype) for make in (torch.zeros, torch.ones))
    at_990 = torch.tensor([990])
    for sigma in (schedule.add_noise(zeros, ones, at_990), -schedule.target(ones, zeros, at_990)):
        assert sigma.dtype == torch.float32
        assert sigma[0, 0, 0, 0].item() == pytest.approx(0.997401, abs=1e-6)


def test_min_snr_weights_stay_finite_at_both_ends() -> None:
    schedule = DiffusionSchedule(torch.tensor([1.0, 0.0]))
    assert schedule.loss_weight(torch.arange(2), 5.0).isfinite().all()


@pytest.mark.parametrize(("distribution", "mean"), [("uniform", 1 / 2), ("cubic", 3 / 4)])
def test_timesteps_follow_their_distribution(distribution: Any, mean: float) -> None:
    sampling, generator = TimestepSampling(distribution), torch.Generator().manual_seed(0)
    drawn = sampling.sample(200_000, 1000, generator)
    assert drawn.min() >= 0
    assert drawn.max() == 999
    assert abs(drawn.double().mean() / 1000 - mean) < 3e-3
    for threshold in (0, 1, 100, 500, 900, 1000, 2000):
        share = (drawn < threshold).double().mean().item()
        assert sampling.probability_below(threshold, 1000) == pytest.approx(share, abs=3e-3)


def test_a_sample_s_draw_does_not_depend_on_the_batch_it_comes_in() -> None:
    def generators(*samples: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(sample) for sample in samples]

    whole = draw(torch.randn, (3, 4, 2), generators(1, 2, 3))
    parts = [
        draw(torch.randn, (1, 4, 2), generators(2)),
        draw(torch.randn, (2, 4, 2), generators(1, 3)),
    ]
    assert torch.equal(whole[[1, 0, 2]], torch.cat(parts))


def test_the_loss_is_one_mean_per_sample_times_its_weight() -> None:
    prediction = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 4, 3, 3)
    target = torch.zeros(2, 4, 3, 3)
    assert denoising_loss(prediction, target).tolist() == [1.0, 4.0]
    assert denoising_loss(prediction, target, torch.tensor([0.5, 2.0])).tolist() == [0.5, 8.0]


def test_the_error_of_bfloat16_predictions_is_taken_in_float32() -> None:
    prediction = latents(0).bfloat16()
    loss = denoising_loss(prediction, torch.zeros_like(prediction))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, prediction.float().square().flatten(1).mean(dim=1))


def test_timesteps_are_drawn_finely_whatever_the_usual_type_of_numbers() -> None:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        drawn = TimestepSampling().sample(50_000, 1000, torch.Generator().manual_seed(0))
    finally:
        torch.set_default_dtype(usual)
    assert len(drawn.unique()) == 1000


def test_names_an_unknown_prediction_type_and_distribution() -> None:
    with pytest.raises(ValueError, match="prediction_type must be one of epsilon, v_pred"):
        DiffusionSchedule(torch.ones(3), "sample")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timestep_sampling must be one of uniform, cubic"):
        TimestepSampling("square")  # type: ignore[arg-type]
