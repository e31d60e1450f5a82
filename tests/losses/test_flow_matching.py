"""Flow matching against values worked out by hand, and against diffusers."""

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_loss_weighting_for_sd3

from leffa.losses.diffusion import DiffusionSchedule
from leffa.losses.flow import LeffaLoss
from leffa.losses.flow_matching import (
    DynamicShift,
    FlowMatchingSchedule,
    SigmaSampling,
    resolution_shift,
    shift_sigma,
    sigma_weight,
)

SCHEDULE = FlowMatchingSchedule()
LAWS = {
    "uniform": SigmaSampling(),
    "logit_normal": SigmaSampling("logit_normal", 0.5, 1.5),
    "mode": SigmaSampling("mode"),
    "mode with heavy ends": SigmaSampling("mode", mode_scale=-0.5),
    "uniform, shifted": SigmaSampling(shift=3.0),
    "logit_normal, shifted": SigmaSampling("logit_normal", shift=3.0),
    "mode, shifted": SigmaSampling("mode", shift=0.5),
}


def draws(sampling: SigmaSampling, count: int = 200_000) -> torch.Tensor:
    """Sigmas, in float64."""
    return sampling.sample(count, 1000, torch.Generator().manual_seed(0)).double() / 1000


@pytest.mark.parametrize("timestep", [250, 250.0])
def test_a_noisy_latent_lies_on_the_straight_line(timestep: float) -> None:
    clean, noise = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    timesteps = torch.tensor([timestep])
    noisy = SCHEDULE.add_noise(clean, noise, timesteps)
    velocity = SCHEDULE.target(clean, noise, timesteps)
    assert noisy.item() == 1.25
    assert velocity.item() == -3.0


def test_the_last_timestep_is_pure_noise_and_the_first_the_latent() -> None:
    clean, noise = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    noisy = SCHEDULE.add_noise(clean, noise, torch.tensor([0, 1000]))
    assert torch.equal(noisy[0], clean[0])
    assert torch.equal(noisy[1], noise[1])


def test_adds_noise_as_diffusers_does() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    clean, noise = torch.randn(3, 4, 6, 5), torch.randn(3, 4, 6, 5)
    timesteps = scheduler.timesteps[[0, 400, 999]]
    expected = scheduler.scale_noise(clean, timesteps, noise)
    torch.testing.assert_close(SCHEDULE.add_noise(clean, noise, timesteps), expected)


def test_latents_in_16_bits_are_noised_in_32() -> None:
    clean, noise = (torch.randn(2, 1, 2, 2).bfloat16() for _ in range(2))
    timesteps = torch.tensor([3, 997])
    exact = SCHEDULE.add_noise(clean.float(), noise.float(), timesteps)
    assert torch.equal(SCHEDULE.add_noise(clean, noise, timesteps), exact)
    assert SCHEDULE.target(clean, noise, timesteps).dtype == torch.float32


def test_the_logits_of_logit_normal_sigmas_are_normal() -> None:
    logits = torch.logit(draws(LAWS["logit_normal"]))
    assert logits.mean().item() == pytest.approx(0.5, abs=0.02)
    assert logits.std().item() == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("scale", [0.0, 1.29, -0.5])
def test_mode_sigmas_have_the_moments_of_their_equation(scale: float) -> None:
    """Integrals of Eq. 20 with cos^2(pi u / 2) = (1 + cos(pi u)) / 2."""
    drawn = draws(SigmaSampling("mode", mode_scale=scale))
    variance = (1 + scale) ** 2 / 12 - (1 + scale) * scale * 2 / math.pi**2 + scale**2 / 8
    assert drawn.mean().item() == pytest.approx(1 / 2, abs=3e-3)
    assert drawn.var().item() == pytest.approx(variance, abs=1e-3)


@pytest.mark.parametrize("law", LAWS)
def test_the_probability_of_little_noise_is_how_often_it_is_drawn(law: str) -> None:
    drawn = draws(LAWS[law])
    for sigma in (0.05, 0.3, 0.617, 0.95):
        share = (drawn < sigma).double().mean().item()
        assert LAWS[law].probability_below(1000 * sigma, 1000) == pytest.approx(share, abs=5e-3)
    assert LAWS[law].probability_below(0, 1000) == 0
    assert LAWS[law].probability_below(1000, 1000) == 1


def test_a_sample_s_sigma_does_not_depend_on_its_batch() -> None:
    for sampling in LAWS.values():
        one, two = (
            sampling.sample(count, 1000, [torch.Generator().manual_seed(each) for each in seeds])
            for count, seeds in ((1, [7]), (2, [5, 7]))
        )
        assert torch.equal(one[0], two[1])


def test_a_shift_is_that_of_diffusers_training_table() -> None:
    table = FlowMatchEulerDiscreteScheduler(shift=3.0).sigmas
    plain = torch.linspace(1, 1000, 1000).flip(0) / 1000
    torch.testing.assert_close(shift_sigma(plain, 3.0), table)
    assert shift_sigma(torch.tensor(0.5), 3.0).item() == 0.75


def test_shifts_by_resolution_are_those_of_the_papers() -> None:
    """SD3, Eq. 23, at 1024x1024; FLUX.1's pictures of 768x1152 and 1024x1536."""
    assert resolution_shift(4096) == 4.0
    assert DynamicShift().mu(3456) == pytest.approx(1.042, abs=5e-4)
    assert DynamicShift().mu(6144) == pytest.approx(1.497, abs=5e-4)
    assert DynamicShift()(256) == pytest.approx(math.exp(0.5))
    assert DynamicShift(time_shift_type="linear")(4096) == 1.15
    assert FlowMatchingSchedule(shift=DynamicShift()).shift(256) == pytest.approx(math.exp(0.5))
    assert FlowMatchingSchedule(shift=3.0).shift(256) == 3.0


def test_weightings_are_those_of_sd3() -> None:
    sigma = torch.tensor([0.1, 0.5, 0.9])
    for name in ("none", "sigma_sqrt", "cosmap"):
        expected = compute_loss_weighting_for_sd3(name, sigma)
        torch.testing.assert_close(sigma_weight(sigma, name), expected)
    assert sigma_weight(sigma, "sigma_sqrt")[1] == 4
    assert sigma_weight(sigma, "cosmap")[1].item() == pytest.approx(4 / math.pi)
    assert sigma_weight(torch.zeros(1), "sigma_sqrt").item() == pytest.approx(1e6)


def test_max_sigma_has_the_noise_to_signal_of_sd_after_500_steps() -> None:
    """At the last timestep that `max_timestep` lets pass: they are counted from 0."""
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    loss = LeffaLoss()
    alpha = scheduler.alphas_cumprod[loss.max_timestep - 1].item()
    noise_to_signal = math.sqrt((1 - alpha) / alpha)
    assert loss.max_sigma == round(noise_to_signal / (1 + noise_to_signal), 3)


def test_each_kind_has_its_gate() -> None:
    loss, diffusion = LeffaLoss(), DiffusionSchedule(torch.linspace(0.99, 0.01, 1000))
    assert (loss.gate(diffusion), loss.gate(SCHEDULE)) == (500, 617)
    timesteps = torch.tensor([499.0, 500.0, 616.9, 617.1])
    assert loss.select(timesteps).tolist() == [0]
    assert loss.select(timesteps, below=loss.gate(SCHEDULE)).tolist() == [0, 1, 2]
    assert "timesteps below 500" in loss.describe(diffusion.gated_by)
    assert "sigma below 0.617" in loss.describe(SCHEDULE.gated_by)


def test_a_gate_of_the_other_kind_is_refused_unless_it_lets_all_pass() -> None:
    diffusion = DiffusionSchedule(torch.linspace(0.99, 0.01, 1000))
    with pytest.raises(ValueError, match=r"leffa_loss.max_sigma=0.5: .* by diffusion, where .*max"):
        LeffaLoss(max_sigma=0.5).check_gate(diffusion)
    with pytest.raises(ValueError, match=r"max_timestep=300: .* by flow matching, .* at 500"):
        LeffaLoss(max_timestep=300).check_gate(SCHEDULE)
    for schedule in (diffusion, SCHEDULE):
        LeffaLoss().check_gate(schedule)
        LeffaLoss(max_timestep=1000, max_sigma=1.0).check_gate(schedule)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"law": "cubic"}, "timestep_sampling must be one of uniform, logit_normal, mode, got 'cu"),
        ({"logit_std": 0}, "logit_std must be positive, got 0"),
        ({"mode_scale": 2}, r"mode_scale must lie in \[-1, 1.752\], got 2"),
        ({"shift": 0}, "shift must be positive, got 0"),
    ],
)
def test_says_what_no_law_has(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SigmaSampling(**settings)


def test_says_what_no_gate_and_no_weighting_is() -> None:
    with pytest.raises(ValueError, match=r"leffa_loss.max_sigma must lie in \[0, 1\], got 1.5"):
        LeffaLoss(max_sigma=1.5)
    with pytest.raises(ValueError, match="weighting must be one of none, sigma_sqrt, cosmap, got"):
        sigma_weight(torch.ones(1), "min_snr")  # type: ignore[arg-type]
