"""The denoising loop: parity with the released pipeline, and what a sample's noise depends on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.checkpoints import load_official
from leffa.models.leffa import LeffaModel
from leffa.models.memory import RunMemory
from leffa.models.sampler import (
    SamplerSettings,
    generate,
    name_generator,
    paste,
    sample_latents,
)
from leffa.models.schedulers import SCHEDULERS
from leffa.run.config import build, compose

SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}
# diffusers 0.42 hands torch tensors to NumPy 2 in three of its schedulers:
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = SamplerSettings(scheduler="ddim", steps=2)
# How CatVTON's is published: noise in every step, the last one too, and drawn latents.
NOISY_DDIM = SamplerSettings(
    scheduler="ddim", steps=3, eta=1.0, set_alpha_to_one=False, condition_latents="sample"
)

Golden = tuple[LeffaModel, Batch, dict[str, Tensor]]


@pytest.fixture(scope="module", params=BASES)
def golden(request: pytest.FixtureRequest, recordings: Callable[[str], Path]) -> Golden:
    """The official network of a base, its inputs, and what the released pipeline made of them."""
    folder = recordings(request.param)
    recorded = load_file(folder / "golden.safetensors")
    model = load_official(base=folder / BASES[request.param], weights=folder / "official.pth")
    batch: Batch = {
        "source": recorded["src_image"],
        "reference": recorded["ref_image"],
        "mask": recorded["mask"],
        "densepose": recorded["densepose"],
        "loss_region": recorded["mask"],
        "name": ["first", "second"],
        "category": ["upper_body"] * 2,
    }
    return model, batch, recorded


@pytest.fixture
def model(build_model: Callable[..., LeffaModel]) -> LeffaModel:
    return build_model().eval()


def only(batch: Batch, indices: list[int]) -> Batch:
    """Some samples of a batch, in this order."""
    return {
        key: value[indices] if torch.is_tensor(value) else [value[index] for index in indices]
        for key, value in batch.items()
    }  # type: ignore[return-value]


@pytest.mark.parametrize("reference_cache", [False, True])
def test_the_official_settings_give_the_latents_of_the_released_pipeline(
    golden: Golden, reference_cache: bool
) -> None:
    model, batch, recorded = golden
    settings = SamplerSettings.official(steps=4, seed=42, reference_cache=reference_cache)
    torch.manual_seed(10)
    latents = sample_latents(model, batch, settings)
    name = "pipeline_accelerated_final_latent" if reference_cache else "pipeline_final_latent"
    torch.testing.assert_close(latents, recorded[name], atol=1e-4, rtol=0)


def test_the_official_settings_give_the_images_of_the_released_pipeline(golden: Golden) -> None:
    model, batch, recorded = golden
    torch.manual_seed(10)
    images = generate(model, batch, SamplerSettings.official(steps=4, seed=42))
    levels = images.permute(0, 2, 3, 1).add(1).mul(127.5).round().numpy()
    assert np.abs(levels - recorded["pipeline_image"].numpy()).max() <= 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_samples_both_kinds_of_schedule(golden: Golden, scheduler: str) -> None:
    model, batch, _ = golden  # SDXL's has no signal at all in its last timestep
    latents = sample_latents(model, batch, SamplerSettings(scheduler=scheduler, steps=3))
    assert latents.shape == (2, 4, 8, 6)
    assert latents.isfinite().all()


@pytest.mark.parametrize(
    "settings",
    [*(SamplerSettings(scheduler=scheduler, steps=3) for scheduler in SCHEDULERS), NOISY_DDIM],
    ids=[*SCHEDULERS, "noisy_ddim"],
)
def test_a_sample_does_not_depend_on_its_batch(
    model: LeffaModel, make_batch: Callable[..., Batch], settings: SamplerSettings
) -> None:
    batch = make_batch(3)
    together = sample_latents(model, batch, settings)
    alone = sample_latents(model, only(batch, [1]), settings)
    turned = sample_latents(model, only(batch, [2, 1, 0]), settings)
    torch.testing.assert_close(alone, together[1:2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned, together.flip(0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("to_one", [True, False])
def test_ddim_begins_with_scaled_noise_adds_that_of_its_paper_and_ends_where_it_is_told(
    model: LeffaModel, make_batch: Callable[..., Batch], to_one: bool
) -> None:
    """Song et al., 2021, Eq. 12 and 16, written out."""
    model.scheduler_config = {**SCHEDULER, "clip_sample": False}
    batch = only(make_batch(), [0])
    settings = replace(QUICK, eta=1.0, guidance=1.0, set_alpha_to_one=to_one, noise_scale=0.7)
    generator = name_generator(settings.seed, batch["name"][0])
    shape = (1, *model.latent_shape(batch))
    latents, conditioning = 0.7 * torch.randn(shape, generator=generator), model.encode(batch)
    alphas = model.schedule.alphas_cumprod.float()
    for timestep, before in ((500, 0), (0, None)):
        alpha = alphas[timestep]
        last = torch.ones(()) if to_one else alphas[0]
        previous = last if before is None else alphas[before]
        with torch.no_grad():
            noise = model.predict_noise(latents, torch.tensor([timestep]), conditioning).noise
        clean = (latents - (1 - alpha).sqrt() * noise) / alpha.sqrt()
        variance = (1 - previous) / (1 - alpha) * (1 - alpha / previous)
        latents = previous.sqrt() * clean + (1 - previous - variance).clamp(min=0).sqrt() * noise
        latents = latents + variance.sqrt() * torch.randn(shape, generator=generator)
    torch.testing.assert_close(sample_latents(model, batch, settings), latents)


def test_latents_of_the_conditions_are_drawn_for_each_name_where_that_is_wanted(
    model: LeffaModel, make_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, seen = make_batch(), []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda *a, **k: seen.append(encode(*a, **k)) or seen[-1])
    drawn = replace(QUICK, condition_latents="sample")
    for settings, part in ((QUICK, batch), (drawn, batch), (drawn, only(batch, [1]))):
        sample_latents(model, part, settings)
    mode, together, alone = (conditioning.reference for conditioning in seen)
    torch.testing.assert_close(mode, encode(batch).reference)
    spread = (together - mode).abs().mean(dim=(1, 2, 3))
    assert (spread > 0.01).all()
    assert not torch.allclose((together - mode)[0], (together - mode)[1], atol=0.01)
    torch.testing.assert_close(alone, together[1:])


def test_a_shared_reference_is_refused_where_each_picture_draws_its_own(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    memory = RunMemory(one_reference=True)
    with pytest.raises(ValueError, match=r"or set sampler.condition_latents=mode"):
        sample_latents(model, only(make_batch(), [0]), NOISY_DDIM, memory=memory)


def test_another_scheduler_loses_what_only_ddim_has() -> None:
    changed = NOISY_DDIM.with_changes(scheduler="unipc", steps=8)
    assert changed == SamplerSettings("unipc", 8, condition_latents="sample")
    assert NOISY_DDIM.with_changes(steps=3) == NOISY_DDIM


@pytest.mark.parametrize(
    ("experiment", "published"),
    [
        ("catvton_vitonhd", replace(NOISY_DDIM, steps=50)),
        ("catvton_dresscode", replace(NOISY_DDIM, steps=50)),
        ("idm_vton_vitonhd", SamplerSettings("ddpm", 30, 2.0, condition_latents="sample")),
    ],
)
def test_experiments_sample_as_their_authors_published(
    experiment: str, published: SamplerSettings
) -> None:
    chosen = compose("train", [f"experiment={experiment}", "data.root=none"]).sampler
    assert build(OmegaConf.to_container(chosen)) == published


def test_seed_zero_is_a_seed_like_any_other(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    first, again, other = (
        sample_latents(model, make_batch(), replace(QUICK, seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_another_name_gives_another_picture(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    batch = make_batch()
    renamed = batch | {"name": ["sample_0", "renamed"]}
    first, other = (sample_latents(model, each, QUICK) for each in (batch, renamed))
    torch.testing.assert_close(first[0], other[0])
    assert not torch.allclose(first[1], other[1])


def test_sampling_leaves_the_global_generator_alone(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    state = torch.get_rng_state()
    sample_latents(model, make_batch(), SamplerSettings(scheduler="ddpm", steps=2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("guidance", "branches"), [(1.0, 1), (2.5, 2)])
def test_a_step_is_one_evaluation_of_all_branches_that_guidance_needs(
    model: LeffaModel, make_batch: Callable[..., Batch], guidance: float, branches: int
) -> None:
    calls: list[int] = []
    model.generative_unet.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    batch = make_batch()
    sample_latents(model, batch, replace(QUICK, steps=3, guidance=guidance))
    assert calls == [branches * len(batch["name"])] * 3


def test_the_reference_cache_evaluates_the_reference_once(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    timesteps: list[int] = []
    model.reference_unet.register_forward_hook(
        lambda _, inputs, __: timesteps.append(int(inputs[1][0]))
    )
    sample_latents(model, make_batch(), replace(QUICK, steps=5, reference_cache=True))
    assert timesteps == [400]  # with and without the reference; the middle of 800, 600, ...


def test_keeps_pixels_outside_the_mask(model: LeffaModel, make_batch: Callable[..., Batch]) -> None:
    batch = make_batch()
    free = generate(model, batch, QUICK)
    pasted = generate(model, batch, replace(QUICK, paste_back=True))
    inside = batch["mask"].bool().expand_as(free)
    assert torch.equal(pasted[~inside], batch["source"][~inside])
    assert torch.equal(pasted[inside], free[inside])
    assert not torch.allclose(free[~inside], batch["source"][~inside])


def test_feathering_blends_outside_the_mask_only() -> None:
    generated, source = torch.ones(1, 3, 9, 9), torch.zeros(1, 3, 9, 9)
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 3:6, 3:6] = 1
    blended = paste(generated, source, mask, feather=2)[0, 0]
    assert (blended[3:6, 3:6] == 1).all()
    assert 0 < blended[4, 2] < 1
    assert blended[4, 0] == 0  # three pixels away
    wider = paste(generated, source, mask, feather=20)[0, 0]  # than the picture
    assert (wider[3:6, 3:6] == 1).all()
    assert (wider > 0).all()


def test_images_lie_in_range_and_each_step_is_told(
    model: LeffaModel, make_batch: Callable[..., Batch]
) -> None:
    told: list[tuple[int, int]] = []
    images = generate(model, make_batch(), replace(QUICK, steps=3), lambda *s: told.append(s))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert images.shape == (2, 3, 16, 12)
    assert images.abs().max() <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheduler": "magic"}, "sampler.scheduler: unknown 'magic'; choose from ddpm, ddim"),
        ({"steps": 0}, "sampler.steps=0: give a number from 1"),
        ({"steps": 2.5}, "sampler.steps=2.5: is not a whole number"),
        ({"seed": None}, "sampler.seed=None: is not a whole number"),
        ({"guidance": None}, "sampler.guidance=None: is not a number"),
        ({"guidance_rescale": -1.0}, "sampler.guidance_rescale must not be negative, got -1.0"),
        ({"paste_feather": -3}, "sampler.paste_feather=-3: give a number from 0"),
        ({"noise": "white"}, "sampler.noise must be 'per_name' or 'global', got 'white'"),
        ({"noise_scale": 70}, r"sampler.noise_scale must lie in \[0, 1\], got 70"),
        ({"scheduler": "ddim", "eta": 1.5}, r"sampler.eta must lie in \[0, 1\], got 1.5"),
        ({"eta": 1.0}, "sampler.eta=1.0 is only for sampler.scheduler=ddim, not ddpm"),
        ({"set_alpha_to_one": False}, "sampler.set_alpha_to_one=False is only for .* set .*=null"),
        ({"condition_latents": "mean"}, "sampler.condition_latents must be 'mode', 'sample'"),
    ],
)
def test_says_which_setting_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplerSettings(**changes)  # type: ignore[arg-type]
