"""Training by flow matching: the same module, loop and checkpoints as by diffusion."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.flow_matching import (
    DynamicShift,
    FlowMatchingSchedule,
    SigmaSampling,
    resolution_shift,
)
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings
from leffa.run import compose, train
from leffa.run.config import build
from leffa.training.finetune import Start, load_start
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import DiffusionObjective, FlowMatchingObjective, TrainingObjective
from leffa.training.stages import Curriculum, Stage

FLOW: dict[str, Any] = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
EULER = SamplerSettings("euler", steps=1, guidance=1.0)
STAGE = Stage("only", 2, 32, 24, 2, 1e-2, leffa_loss=True)
CHOSEN = ["backbone=tiny_flow_matching", "objective=flow_matching", "sampler=flow_matching"]


@pytest.fixture
def flow_model(model: LeffaModel) -> LeffaModel:
    """The tiny model with a flow-matching schedule."""
    return LeffaModel(
        model.generative_unet, model.vae, FLOW, model.parts, reference_unet=model.reference_unet
    ).train()


def generators(batch: Batch) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(len(batch["name"]))]


def test_a_step_asks_for_the_velocity_at_shifted_sigmas(
    flow_model: LeffaModel, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written out: what is drawn, in its order, and the error of what the network says."""
    given: list[tuple[Tensor, Tensor]] = []
    answers: list[Tensor] = []
    predict = flow_model.predict_noise

    def watched(noisy: Tensor, timesteps: Tensor, *more: Any) -> Any:
        given.append((noisy, timesteps))
        prediction = predict(noisy, timesteps, *more)
        answers.append(prediction.noise.detach())
        return prediction

    monkeypatch.setattr(flow_model, "predict_noise", watched)
    objective = FlowMatchingObjective(0.0, weighting="cosmap")
    result = objective(flow_model, batch, LeffaLoss(max_sigma=0.75), generators(batch))
    draws = generators(batch)
    u = torch.cat([torch.randn(1, generator=each) for each in draws]).sigmoid()
    sigma = 3 * u / (1 + 2 * u)
    torch.testing.assert_close(result.timesteps, 1000 * sigma)
    assert result.selected == (sigma < 0.75).sum()
    assert 0 < result.selected < len(sigma)

    for each in draws:  # the dropout of the reference
        torch.rand(1, generator=each)
    flow_model.encode(batch, draws, sample=True)
    clean = flow_model.encode_target(batch, draws, sample=True)
    noise = torch.cat([torch.randn(1, *clean.shape[1:], generator=each) for each in draws])
    share = sigma.view(-1, 1, 1, 1)
    ((noisy, timesteps),) = given
    torch.testing.assert_close(noisy, (1 - share) * clean + share * noise)
    assert torch.equal(timesteps, result.timesteps)
    (velocity,) = answers
    error = (velocity - (noise - clean)).square().mean(dim=(1, 2, 3))
    weight = 2 / (torch.pi * (1 - 2 * sigma + 2 * sigma**2))
    torch.testing.assert_close(result.diffusion, weight * error)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ("scheduler", 3.0),
        ("resolution", resolution_shift(192)),
        (1, 1.0),
        (2.5, 2.5),
    ],
)
def test_the_shift_of_training_is_the_scheduler_s_the_resolution_s_or_a_number(
    shift: Any, expected: float
) -> None:
    law = FlowMatchingObjective(shift=shift).law(FlowMatchingSchedule(shift=3.0), 192)
    assert law == SigmaSampling("logit_normal", shift=expected)
    dynamic = FlowMatchingObjective().law(FlowMatchingSchedule(shift=DynamicShift()), 192)
    assert dynamic == SigmaSampling("logit_normal", shift=DynamicShift()(192))


def test_on_average_the_loss_is_that_of_a_selected_sample() -> None:
    objective, schedule = FlowMatchingObjective(0.2), FlowMatchingSchedule(shift=3.0)
    loss, count = LeffaLoss(), 100_000
    generator = torch.Generator().manual_seed(0)
    timesteps = objective.law(schedule, 192).sample(count, 1000, generator)
    usable = torch.rand(count, generator=generator) >= 0.2
    selected = len(loss.select(timesteps, usable, loss.gate(schedule))) / count
    assert objective.participation(loss, schedule, 192) == pytest.approx(selected, rel=0.02)


def make(
    model: LeffaModel,
    objective: TrainingObjective,
    loss: LeffaLoss,
    sampler: SamplerSettings = EULER,
    inspect_timestep: int = 200,
) -> PersonGenerationModule:
    return PersonGenerationModule(
        model=model,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        curriculum=Curriculum([STAGE]),
        leffa_loss=loss,
        objective=objective,
        sampler=sampler,
        inspect_timestep=inspect_timestep,
    )


def test_what_makes_no_sense_is_refused_before_work(
    model: LeffaModel, flow_model: LeffaModel
) -> None:
    ddim, flow = SamplerSettings("ddim"), FlowMatchingObjective()
    with pytest.raises(ValueError, match=r"objective=diffusion: .*flow.*objective=flow_matching"):
        make(flow_model, DiffusionObjective(), LeffaLoss())
    with pytest.raises(ValueError, match=r"objective=flow_matching: .*give objective=diffusion"):
        make(model, flow, LeffaLoss(), ddim)
    with pytest.raises(ValueError, match=r"sampler.scheduler=ddim: is for diffusion"):
        make(flow_model, flow, LeffaLoss(), ddim)
    with pytest.raises(ValueError, match=r"max_sigma=0.4: this model is trained by diffusion"):
        make(model, DiffusionObjective(), LeffaLoss(max_sigma=0.4), ddim)
    with pytest.raises(ValueError, match=r"leffa_loss.max_sigma=0.0 with .*: no sample can take"):
        make(flow_model, flow, LeffaLoss(max_sigma=0.0))
    many = SamplerSettings("ddim", steps=1001)
    with pytest.raises(ValueError, match=r"sampler.steps=1001: give 1000 at most"):
        make(model, DiffusionObjective(), LeffaLoss(), many)
    for timestep in (-1, 1000):
        with pytest.raises(ValueError, match=f"inspect_timestep={timestep}: give 0 to 999"):
            make(model, DiffusionObjective(), LeffaLoss(), ddim, timestep)
    make(flow_model, flow, LeffaLoss(max_timestep=1000, max_sigma=1.0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestep_sampling": "cubic"}, "objective.timestep_sampling must be one of uniform, "),
        ({"shift": "dynamic"}, "objective.shift must be scheduler, resolution or a positive"),
        ({"shift": 0}, "objective.shift must be scheduler, resolution or a positive"),
        ({"weighting": "min_snr"}, "objective.weighting must be one of none, sigma_sqrt, cosmap"),
        ({"mode_scale": 0.5}, "mode_scale=0.5 is only for objective.timestep_sampling=mode, not"),
        ({"timestep_sampling": "mode", "logit_mean": 1.0}, "logit_mean=1.0 is only for .*_normal"),
    ],
)
def test_says_which_setting_is_wrong(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowMatchingObjective(**settings)


def test_min_snr_is_no_key_of_flow_matching() -> None:
    objective = OmegaConf.to_container(compose("train", CHOSEN).objective)
    assert isinstance(objective, dict)
    assert isinstance(build(objective), FlowMatchingObjective)
    with pytest.raises(ValueError, match="min_snr_gamma"):
        build({**objective, "min_snr_gamma": 5.0})


def run(data: Path, folder: Path, *changes: str) -> float | None:
    """Two steps in two stages, each validated, on the small data set."""
    quick = ["debug=tiny", "start_from=null", "callbacks.images=null", "callbacks.report=null"]
    places = [f"data.root={data}", "data.prepare=null", f"paths.output_dir={folder}"]
    stages = (
        "[{name: plain, steps: 1, height: 32, width: 24, batch_size: 2, learning_rate: 1.0e-3},"
        " {name: leffa, steps: 1, height: 32, width: 24, batch_size: 4, learning_rate: 1.0e-3,"
        " leffa_loss: true}]"
    )
    small = [f"curriculum.stages={stages}", "sampler.steps=1", "hardware.micro_batch=2"]
    return train(compose("train", [*CHOSEN, *quick, *small, *places, *changes]))


def test_a_run_that_resumes_ends_as_one_that_was_not_interrupted(
    synthetic: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        run(synthetic, tmp_path / "whole")
    assert "sigma below 1" in caplog.text
    begun = tmp_path / "whole" / "checkpoints" / "step_000001.ckpt"
    run(synthetic, tmp_path / "run", f"resume={begun}")
    ends = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("whole", "run")
    ]
    assert [each["global_step"] for each in ends] == [2, 2]
    torch.testing.assert_close(ends[1]["state_dict"], ends[0]["state_dict"], atol=0, rtol=0)
    columns = next((tmp_path / "whole").rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"val/flow/epe_px", "val/diffusion_t300", "health/diffusion_750_1000"} <= set(columns)


def test_weights_of_the_other_kind_begin_with_a_warning(
    flow_model: LeffaModel,
    build_model: Callable[..., LeffaModel],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    content = {
        "state_dict": {f"model.{key}": v for key, v in build_model().saved_state().items()},
        "config": {"model": {"scheduler": {"prediction_type": "v_prediction"}}},
        "global_step": 1,
    }
    load_start(flow_model, Start(tmp_path / "last.ckpt", None, content))
    assert "was trained by diffusion, but this run uses flow matching" in caplog.text
