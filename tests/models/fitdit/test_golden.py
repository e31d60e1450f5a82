"""Parity with what the authors' code was recorded to return on tiny random weights."""

from pathlib import Path

import pytest
import torch
from fitdit_parts import ALL_LAYERS, build
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.schedule import denoising_loss
from leffa.models.fitdit import Conditioning, FitDiT
from leffa.models.sampler import SamplerSettings, denoising_step
from leffa.models.schedulers import make_scheduler, set_timesteps

Golden = dict[str, Tensor]
CLOSE = {"atol": 5e-5, "rtol": 0}  # a unit in the last place of the embedding moves it by 3e-5


def per_block(golden: Golden, name: str) -> list[Tensor]:
    return [golden[key] for key in sorted(golden) if key.startswith(f"{name}_")]


def conditioning(golden: Golden) -> Conditioning:
    known = torch.cat([golden["masked_person_latent"], golden["mask_latent"]], dim=1)
    return Conditioning(
        known, golden["pose_tokens"], golden["garment_latent"], golden["clip_pooled"]
    )


@torch.no_grad()
def test_what_is_known_of_person_and_garment(recorded: FitDiT, golden: Golden) -> None:
    """A resized pixel is one level of 256 off at times; the embedding's deviation is 1.1."""
    person, garment, pose = (
        (golden[f"{name}_image"].float() / 127.5 - 1).permute(2, 0, 1)[None].contiguous()
        for name in ("person", "garment", "pose")
    )
    mask = golden["mask_image"].float()[None, None] / 255
    batch: Batch = {
        "source": person,
        "reference": garment,
        "mask": mask,
        "densepose": pose,
        "loss_region": mask,
        "name": ["a"],
        "category": ["upper"],
    }
    for name, picture in (("masked_person", "masked_source"), ("garment", "reference")):
        moments = recorded.latents(batch)[picture]
        torch.testing.assert_close(moments, golden[f"{name}_moments"], **CLOSE)
    found = recorded.encode(batch)
    torch.testing.assert_close(found.body, golden["pose_tokens"], **CLOSE)
    assert torch.equal(found.known[:, -1:], golden["mask_latent"])
    torch.testing.assert_close(found.pooled, golden["clip_pooled"], atol=1e-3, rtol=0)


@torch.no_grad()
def test_keys_and_values_of_the_garment(recorded: FitDiT, golden: Golden) -> None:
    found = recorded.garment_tokens(golden["garment_input"], golden["pooled"]).projected
    assert list(found) == [f"transformer_blocks.{index}.attn" for index in range(3)]
    for index, name in enumerate(("ref_key", "ref_value")):
        ours = [pair[index] for pair in found.values()]
        torch.testing.assert_close(ours, per_block(golden, name), **CLOSE)


@torch.no_grad()
def test_velocity_with_and_without_the_garment(recorded: FitDiT, golden: Golden) -> None:
    known = conditioning(golden)
    noisy, timesteps = golden["initial_noise"], golden["timestep"][:1]
    both = recorded.predict_branches(noisy, timesteps, [known.unconditional(), known])
    for ours, name in zip(both, ("unconditional", "conditional"), strict=True):
        torch.testing.assert_close(ours, golden[f"velocity_{name}"], **CLOSE)
    alone = recorded.predict_noise(noisy, timesteps, known).noise
    torch.testing.assert_close(alone, golden["velocity_conditional"], **CLOSE)


@torch.no_grad()
def test_latents_of_every_step(
    recorded: FitDiT, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the garment network runs once, before the first."""
    from leffa.models.memory import RunMemory

    runs: list[int] = []
    recorded_tokens = recorded.garment_tokens

    def counted(garment: Tensor, pooled: Tensor) -> object:
        runs.append(len(garment))
        return recorded_tokens(garment, pooled)

    monkeypatch.setattr(recorded, "garment_tokens", counted)
    scheduler = make_scheduler("euler", recorded.scheduler_config)
    set_timesteps(scheduler, 4, torch.device("cpu"), 48)
    torch.testing.assert_close(scheduler.timesteps, golden["timesteps"], atol=1e-3, rtol=0)
    known = recorded.attach_cache(conditioning(golden), RunMemory(limit=0))
    settings = SamplerSettings(scheduler="euler", steps=4, guidance=2.0)
    step = denoising_step(recorded, known, scheduler, None, settings)
    latents = golden["initial_noise"]
    for index, timestep in enumerate(scheduler.timesteps):
        latents = step(latents, timestep)
        torch.testing.assert_close(latents, golden[f"latents_after_step_{index}"], **CLOSE)
    assert runs == [1, 1]  # without the garment and with it
    image = recorded.decode(latents) / 2 + 0.5
    torch.testing.assert_close(image.clamp(0, 1), golden["final_image"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_training_step_and_its_flows(recorded: FitDiT, golden: Golden) -> None:
    known = torch.cat(
        [golden["train_masked_latent"], golden["mask_latent"].expand(2, -1, -1, -1)], 1
    )
    given = Conditioning(
        known,
        golden["pose_tokens"].expand(2, -1, -1),
        golden["train_garment_latent"],
        golden["train_pooled"],
    )
    noisy, timesteps = golden["train_noisy"], golden["train_timestep"]
    found = recorded.predict_noise(noisy, timesteps, given, ALL_LAYERS)
    torch.testing.assert_close(found.noise, golden["train_velocity"], **CLOSE)
    flows = list(found.flows.values())
    torch.testing.assert_close(flows, per_block(golden, "train_flow"), **CLOSE)
    clean, noise = golden["train_clean"], golden["train_noise"]
    schedule = recorded.schedule
    torch.testing.assert_close(schedule.add_noise(clean, noise, timesteps), noisy, **CLOSE)
    target = schedule.target(clean, noise, timesteps)
    torch.testing.assert_close(target, golden["train_target"], **CLOSE)
    loss = denoising_loss(found.noise, target)
    torch.testing.assert_close(loss, golden["train_loss"], **CLOSE)


def test_a_published_folder_has_all_that_it_needs(published: Path) -> None:
    assert build(published, pooled="none").encoders is None
