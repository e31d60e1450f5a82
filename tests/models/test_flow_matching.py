"""A model whose base has a flow-matching scheduler, sampled by schedulers of that kind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from model_parts import SD15, VAE
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow_matching import DynamicShift, FlowMatchingSchedule, shift_sigma
from leffa.models.export import InputSpec, ModelSettings, load_exported, save_exported
from leffa.models.leffa import LeffaModel
from leffa.models.loading import load_scheduler, noise_schedule
from leffa.models.sampler import SamplerSettings, sample_latents
from leffa.models.schedulers import FLOW_MATCHING, make_scheduler, set_timesteps

# diffusers on NumPy 2, as in test_sampler.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FLOW: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
DYNAMIC = FLOW | {"shift": 1.0, "use_dynamic_shifting": True}
EULER = SamplerSettings("euler", steps=4, guidance=2.0)
CPU = torch.device("cpu")


def build(scheduler: dict[str, Any] = FLOW, **settings: Any) -> LeffaModel:
    torch.manual_seed(0)
    return LeffaModel(SD15, VAE, scheduler, **settings).eval()


def sigmas(settings: SamplerSettings, config: dict[str, Any], tokens: int = 48) -> Tensor:
    scheduler = make_scheduler(settings.scheduler, dict(load_scheduler(config).config))
    set_timesteps(scheduler, settings.steps, CPU, tokens)
    return scheduler.sigmas.double()


def test_euler_s_sigmas_are_shifted_and_the_smallest_twice() -> None:
    """As diffusers has it: the last step begins at 0.0089, not at 0.003."""
    smallest = shift_sigma(torch.tensor(0.001, dtype=torch.float64), 3.0).item()
    plain = torch.linspace(1, smallest, 20, dtype=torch.float64)
    expected = torch.cat([shift_sigma(plain, 3.0), torch.zeros(1)])
    found = sigmas(replace(EULER, steps=20), FLOW)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert found[-2].item() == pytest.approx(0.0089, abs=5e-5)


@pytest.mark.parametrize("tokens", [256, 3456])
def test_a_dynamic_shift_is_that_of_the_number_of_tokens(tokens: int) -> None:
    plain = torch.linspace(1, 1 / 4, 4, dtype=torch.float64)
    expected = torch.cat([shift_sigma(plain, DynamicShift()(tokens)), torch.zeros(1)])
    torch.testing.assert_close(sigmas(EULER, DYNAMIC, tokens), expected, atol=1e-6, rtol=0)
    for name in ("dpm_solver", "unipc"):
        found = sigmas(replace(EULER, scheduler=name), DYNAMIC, tokens)
        fixed = FLOW | {"shift": DynamicShift()(tokens)}
        torch.testing.assert_close(found, sigmas(replace(EULER, scheduler=name), fixed))


@pytest.mark.parametrize("name", FLOW_MATCHING)
@pytest.mark.parametrize("config", [FLOW, DYNAMIC], ids=["fixed", "dynamic"])
def test_a_true_velocity_leads_to_the_clean_latent_from_every_time_told_exactly(
    name: str,
    config: dict[str, Any],
    make_batch: Callable[..., Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch, told = build(config), make_batch(), []
    clean = torch.randn(2, *model.latent_shape(batch))

    def velocity(noisy: Tensor, timesteps: Tensor, branches: Any) -> list[Tensor]:
        sigma = timesteps[0] / 1000
        told.append(timesteps)
        return [(noisy - clean) / sigma for _ in branches]

    monkeypatch.setattr(model, "predict_branches", velocity)
    settings = replace(EULER, scheduler=name, steps=7)
    torch.testing.assert_close(sample_latents(model, batch, settings), clean, atol=1e-4, rtol=0)
    tokens = model.token_count(model.latent_shape(batch))
    expected = 1000 * sigmas(settings, config, tokens)[:-1]
    assert [each.shape for each in told] == [(2,)] * 7
    found = torch.stack([each[0] for each in told]).double()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert (found != found.round()).any()  # schedulers that solve in several steps round them down


@pytest.mark.parametrize("name", FLOW_MATCHING)
def test_a_sample_does_not_depend_on_its_batch(name: str, make_batch: Callable[..., Batch]) -> None:
    model, batch = build(), make_batch()
    settings = replace(EULER, scheduler=name, reference_cache=True)
    together = sample_latents(model, batch, settings)
    assert together.isfinite().all()
    first = {key: value[:1] for key, value in batch.items()}
    alone = sample_latents(model, first, settings)  # type: ignore[arg-type]
    torch.testing.assert_close(alone, together[:1], atol=1e-4, rtol=1e-4)


def test_a_saved_pipeline_keeps_its_scheduler(
    make_batch: Callable[..., Batch], tmp_path: Path
) -> None:
    model, batch = build(), make_batch()
    settings = ModelSettings(InputSpec("tryon", 16, 12), "a test", EULER)
    save_exported(model, tmp_path / "exported", settings, "a card")
    loaded, found = load_exported(tmp_path / "exported")
    assert isinstance(loaded.schedule, FlowMatchingSchedule)
    assert loaded.schedule.shift(1) == 3.0
    torch.testing.assert_close(
        sample_latents(loaded, batch, found.sampler), sample_latents(model, batch, EULER)
    )


def test_a_base_s_folder_says_its_kind(tmp_path: Path) -> None:
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(tmp_path / "scheduler")
    schedule = noise_schedule(dict(load_scheduler(tmp_path).config))
    assert isinstance(schedule, FlowMatchingSchedule)
    assert (schedule.steps, schedule.shift(1)) == (1000, 3.0)


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_a_sampler_of_diffusion_is_refused(name: str, make_batch: Callable[..., Batch]) -> None:
    message = (
        f"sampler.scheduler={name}: is for diffusion, .*: give one of euler, dpm_solver, unipc"
    )
    with pytest.raises(ValueError, match=message):
        sample_latents(build(), make_batch(), replace(EULER, scheduler=name))


def test_says_what_no_flow_matching_base_has() -> None:
    with pytest.raises(ValueError, match=r"model.zero_terminal_snr=true: is for diffusion"):
        build(zero_terminal_snr=True)
    with pytest.raises(ValueError, match=r"backbone.scheduler.invert_sigmas=true"):
        build(FLOW | {"invert_sigmas": True})
