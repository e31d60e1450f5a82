"""Which of diffusers' schedulers samples what: of diffusion, of flow matching."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import diffusers
import torch

from leffa.losses.flow_matching import DynamicShift
from leffa.models.loading import is_flow_matching

SCHEDULERS = {
    "ddpm": "DDPMScheduler",
    "ddim": "DDIMScheduler",
    "dpm_solver": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
# Of a model that is trained by flow matching, under the same names.
FLOW_MATCHING = {
    "euler": "FlowMatchEulerDiscreteScheduler",
    "dpm_solver": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def known_samplers(training_config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of `SamplerSettings.scheduler` that sample what a model was trained by."""
    return tuple(FLOW_MATCHING if is_flow_matching(training_config) else SCHEDULERS)


def check_sampler(name: str, training_config: Mapping[str, Any], steps: int = 1) -> None:
    """Refuse a sampler that is not of the kind that a model was trained by, or has too many steps.

    Raises:
        ValueError: names those that are, or the most.
    """
    if name not in (known := known_samplers(training_config)):
        raise ValueError(
            f"sampler.scheduler={name}: is for diffusion, but this model was trained by flow "
            f"matching: give one of {', '.join(known)}"
        )
    if steps > (most := training_config.get("num_train_timesteps", 1000)):
        raise ValueError(f"sampler.steps={steps}: give {most} at most, the timesteps of the model")


def make_scheduler(
    name: str, training_config: Mapping[str, Any], set_alpha_to_one: bool | None = None
) -> Any:
    """A diffusers sampler with the noise schedule that the model was trained with.

    Raises:
        ValueError: see `check_sampler`.
    """
    check_sampler(name, training_config)
    if not is_flow_matching(training_config):
        changes = {} if set_alpha_to_one is None else {"set_alpha_to_one": set_alpha_to_one}
        return getattr(diffusers, SCHEDULERS[name]).from_config(training_config, **changes)
    kind = getattr(diffusers, FLOW_MATCHING[name])
    if name == "euler":
        return kind.from_config(training_config)
    shift = training_config.get("shift", 1.0)
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    return kind.from_config(training_config, **flow)


def set_timesteps(scheduler: Any, steps: int, device: torch.device, tokens: int) -> None:
    """The timesteps of a run, for latents of so many tokens: where the scheduler shifts by them,
    from sigmas 1 to 1/steps, as diffusers' pipelines of such models have them."""
    config, more = scheduler.config, dict[str, Any]()
    if config.get("use_dynamic_shifting"):
        names = (field.name for field in fields(DynamicShift))
        more["mu"] = DynamicShift(**{n: config[n] for n in names if n in config}).mu(tokens)
        if isinstance(scheduler, diffusers.FlowMatchEulerDiscreteScheduler):
            more["sigmas"] = torch.linspace(1, 1 / steps, steps, dtype=torch.float64).tolist()
    scheduler.set_timesteps(steps, device=device, **more)


def initial_sigma(scheduler: Any) -> Any:
    """By how much the first noise is scaled: 1 where a scheduler does not say."""
    return getattr(scheduler, "init_noise_sigma", 1.0)
