"""The denoising loop over any diffusers scheduler.

The noise of a sample depends only on (seed, name): the same image whatever the batch size, the
order or the number of devices. `SamplerSettings.official()` reproduces the released pipeline.
"""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.numbers import check_count, check_number
from leffa.losses.blur import gaussian_blur
from leffa.losses.precision import without_autocast
from leffa.models.interface import Conditioning, PersonGenerator
from leffa.models.memory import RunMemory
from leffa.models.schedulers import SCHEDULERS, initial_sigma, make_scheduler, set_timesteps

DDIM_ONLY: dict[str, Any] = {"eta": 0.0, "set_alpha_to_one": None}  # and their values when unset


@dataclass(frozen=True)
class SamplerSettings:
    """How an image is sampled; the defaults are the released inference.

    Args:
        scheduler: a name of `SCHEDULERS`; of flow matching, of `FLOW_MATCHING`.
        guidance: classifier-free guidance scale; 1 turns guidance off.
        guidance_rescale: how far the guided prediction is rescaled to the standard deviation of the
            conditional one (arXiv 2305.08891, section 3.4); 0 is off.
        reference_cache: evaluate the reference UNet once, at the middle timestep.
        paste_back: keep the source's pixels outside the mask.
        paste_feather: width in pixels of the blend between both; 0 is a hard edge.
        noise_scale: scale of the initial noise, in [0, 1]. Below 1, images are closer to the
            mean of the model's distribution: fewer artefacts, less detail, less variety, as with
            truncation in GANs (arXiv 1809.11096, section 3.1).
        seed: together with the sample's name, determines all of its noise.
        noise: "per_name", or "global", as in the released code: latents and initial noise come from
            torch's global generator, and the steps share one generator.
        eta: of DDIM, in [0, 1]: the share of DDPM's noise that each step adds (arXiv 2010.02502,
            Eq. 16).
        set_alpha_to_one: for DDIM: whether the last step ends without noise (True), or at the first
            alpha of the schedule; None: as in the scheduler of the model's base.
        condition_latents: latents of the input images: the "mode" of the autoencoder's posterior,
            or a "sample" of it, as in the published try-on models; None: a sample if `noise` is
            "global", otherwise the mode.
    """

    scheduler: str = "ddpm"
    steps: int = 50
    guidance: float = 2.5
    guidance_rescale: float = 0.0
    reference_cache: bool = False
    paste_back: bool = False
    paste_feather: int = 0
    noise_scale: float = 1.0
    seed: int = 42
    noise: Literal["per_name", "global"] = "per_name"
    eta: float = 0.0
    set_alpha_to_one: bool | None = None
    condition_latents: Literal["mode", "sample"] | None = None

    def __post_init__(self) -> None:
        if self.scheduler not in SCHEDULERS:
            raise ValueError(
                f"sampler.scheduler: unknown {self.scheduler!r}; "
                f"choose from {', '.join(SCHEDULERS)}"
            )
        check_count("sampler.steps", self.steps)
        check_count("sampler.paste_feather", self.paste_feather, least=0)
        check_number("sampler.seed", self.seed, int)
        for key in ("guidance", "guidance_rescale"):
            check_number(f"sampler.{key}", getattr(self, key))
            if getattr(self, key) < 0:
                raise ValueError(f"sampler.{key} must not be negative, got {getattr(self, key)}")
        if self.noise not in ("per_name", "global"):
            raise ValueError(f"sampler.noise must be 'per_name' or 'global', got {self.noise!r}")
        if (latents := self.condition_latents) not in (None, "mode", "sample"):
            raise ValueError(
                f"sampler.condition_latents must be 'mode', 'sample' or null, got {latents!r}"
            )
        if not 0 <= self.noise_scale <= 1:
            raise ValueError(f"sampler.noise_scale must lie in [0, 1], got {self.noise_scale}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampler.eta must lie in [0, 1], got {self.eta}")
        for name, unset in DDIM_ONLY.items():
            if self.scheduler != "ddim" and getattr(self, name) != unset:
                raise ValueError(
                    f"sampler.{name}={getattr(self, name)} is only for sampler.scheduler=ddim, "
                    f"not {self.scheduler}; set sampler.{name}={'null' if unset is None else unset}"
                )

    @property
    def draws_conditions(self) -> bool:
        """Whether the latents of what the model is given are drawn."""
        if self.condition_latents is None:
            return self.noise == "global"
        return self.condition_latents == "sample"

    def with_changes(self, **changes: Any) -> "SamplerSettings":
        """`replace`; another scheduler than DDIM loses what only DDIM has, and a rescale that
        equals the guidance goes on doing so."""
        if changes.get("scheduler", "ddim") != "ddim":
            changes = DDIM_ONLY | changes
        if self.guidance_rescale == self.guidance and "guidance" in changes:
            changes = {"guidance_rescale": changes["guidance"]} | changes
        return replace(self, **changes)

    @classmethod
    def official(cls, **changes: Any) -> "SamplerSettings":
        """The released pipeline: global noise, and a guidance rescale equal to the guidance."""
        settings = replace(cls(noise="global"), **changes)
        return replace(settings, guidance_rescale=settings.guidance)


@torch.no_grad()
def generate(
    model: PersonGenerator,
    batch: Batch,
    settings: SamplerSettings,
    on_step: Callable[[int, int], None] | None = None,
    memory: RunMemory | None = None,
) -> Tensor:
    """Generate one image per sample of the batch, (B, 3, H, W) in [-1, 1], at least float32.

    Args:
        on_step: called as on_step(steps done, steps) after each step.
        memory: results shared by many batches; None: nothing is kept after this call.
    """
    latents = sample_latents(model, batch, settings, on_step, memory)
    images = model.decode(latents).clamp(-1, 1)
    if settings.paste_back:
        images = paste(images, batch["source"], batch["mask"], settings.paste_feather)
    return images


@torch.no_grad()
def sample_latents(
    model: PersonGenerator,
    batch: Batch,
    settings: SamplerSettings,
    on_step: Callable[[int, int], None] | None = None,
    memory: RunMemory | None = None,
) -> Tensor:
    """The denoised latents (B, C, h, w) of a batch, in float32; `generate` decodes them."""
    device, names = batch["source"].device, batch["name"]
    official = settings.noise == "global"
    memory = memory or RunMemory(limit=0)
    memory.check(batch, settings.draws_conditions)
    # Generators of their own, so that the noise is the same with either kind of latents.
    draws = [name_generator(settings.seed, f"{name}:condition") for name in names]
    conditioning = model.encode(batch, None if official else draws, settings.draws_conditions)
    conditioning = model.attach_cache(conditioning, memory)
    scheduler = make_scheduler(
        settings.scheduler, model.scheduler_config, settings.set_alpha_to_one
    )
    shape = model.latent_shape(batch)
    set_timesteps(scheduler, settings.steps, device, model.token_count(shape))
    generators: torch.Generator | list[torch.Generator]
    if official:
        # The released code hands one generator to the steps and none to the first noise.
        generators = torch.Generator(device).manual_seed(settings.seed)
        noise = global_noise(len(names), shape, device)
    else:
        generators = [name_generator(settings.seed, name) for name in names]
        noise = torch.cat([torch.randn(1, *shape, generator=each) for each in generators])
        noise = noise.to(device)
    step = denoising_step(model, conditioning, scheduler, generators, settings)
    latents = noise * (settings.noise_scale * initial_sigma(scheduler))
    for done, timestep in enumerate(scheduler.timesteps, start=1):
        latents = step(latents, timestep)
        if on_step is not None:
            on_step(done, len(scheduler.timesteps))
    return latents


def denoising_step(
    model: PersonGenerator,
    conditioning: Conditioning,
    scheduler: Any,
    generators: torch.Generator | list[torch.Generator] | None,
    settings: SamplerSettings,
) -> Callable[[Tensor, Tensor], Tensor]:
    """One step of the denoising loop, from latents (B, C, h, w) and their timestep to cleaner ones.

    Latents are at least float32, whatever the model's networks compute in.

    Args:
        scheduler: of diffusers; its timesteps are set.
        generators: of the noise that a stochastic scheduler adds; one for all, or one per sample.
        settings: guidance, its rescale, the reference cache and eta; the rest is not read.
    """
    if settings.reference_cache:
        middle = scheduler.timesteps[len(scheduler.timesteps) // 2]
        conditioning = model.freeze_reference(conditioning, int(middle))
    known = inspect.signature(scheduler.step).parameters
    extra = {"generator": generators, "eta": settings.eta}
    extra = {name: value for name, value in extra.items() if name in known}

    def step(latents: Tensor, timestep: Tensor) -> Tensor:
        inputs, told = latents, timestep
        if hasattr(scheduler, "scale_model_input"):  # FlowMatchEulerDiscreteScheduler has none
            inputs = scheduler.scale_model_input(latents, timestep)
        if scheduler.config.get("use_flow_sigmas"):  # whose timesteps are rounded down
            sigma = scheduler.sigmas[scheduler.step_index or 0]
            told = sigma.to(latents) * scheduler.config.num_train_timesteps
        noise = guided_noise(model, inputs, told, conditioning, settings).to(latents.dtype)
        cleaner = scheduler.step(noise, timestep, latents, **extra, return_dict=False)[0]
        return cleaner.to(latents.dtype)

    return step


def guided_noise(
    model: PersonGenerator,
    inputs: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
    settings: SamplerSettings,
) -> Tensor:
    """The guided prediction, (B, C, h, w): the weighted sum over the branches of the
    conditioning."""
    weights, branches = zip(*conditioning.branches(settings.guidance), strict=True)
    predictions = model.predict_branches(inputs, timestep.expand(len(inputs)), branches)
    weighted = [weight * noise for weight, noise in zip(weights, predictions, strict=True)]
    guided = torch.stack(weighted).sum(dim=0)
    if settings.guidance_rescale == 0 or len(predictions) == 1:
        return guided
    conditional = predictions[-1]
    ratio = conditional.flatten(1).std(dim=1) / guided.flatten(1).std(dim=1)
    rescaled = guided * ratio.view(-1, 1, 1, 1)
    return torch.lerp(guided, rescaled, settings.guidance_rescale)


def name_generator(seed: int, name: str) -> torch.Generator:
    """A generator that depends only on (seed, name); on the CPU, so that all devices draw the
    same."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def global_noise(count: int, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """(B, *shape) Gaussian noise from torch's global generator, as the released code draws it: in
    the memory order of an encoded latent, channels last."""
    noise = torch.empty(count, *shape, device=device)
    return noise.to(memory_format=torch.channels_last).normal_()


def name_noise(names: list[str], shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """(B, *shape) Gaussian noise, each sample's from (seed, name)."""
    return torch.stack(
        [torch.randn(shape, generator=name_generator(seed, name)) for name in names]
    ).to(device)


def paste(generated: Tensor, source: Tensor, mask: Tensor, feather: int = 0) -> Tensor:
    """Generated pixels inside the mask, the source's outside; (B, 3, H, W) and a mask (B, 1, H,
    W)."""
    if feather > 0:
        with without_autocast(mask):  # the blur is a convolution
            blurred = gaussian_blur(mask, feather / 3)  # which reaches `feather` pixels
        # Outwards only: inside the mask nothing of the source may shine through.
        mask = torch.maximum(mask, blurred)
    return generated * mask + source * (1 - mask)
