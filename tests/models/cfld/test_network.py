"""The prompt, the biases and the pose reach the UNet, and guidance weighs them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cfld_parts import DECODER, ENCODER, SHOWN, TIMESTEPS, build, predict
from diffusers import UNet2DConditionModel
from model_parts import ALL_LAYERS, MakeBatch, noise_for
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.cfld import CFLD, Conditioning
from leffa.models.sampler import SamplerSettings, generate, guided_noise

pytest.importorskip("timm")


def test_predicts_what_a_stock_unet_predicts_with_the_prompt_as_its_text(
    base: Path, model: CFLD, with_pose: MakeBatch
) -> None:
    """The biases are added by hooks on the stock network's own queries."""
    batch = with_pose()
    known = model.encode(batch)
    stock = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    for name, bias in known.biases.items():
        query = stock.get_submodule(name).to_q
        query.register_forward_hook(lambda _, __, tokens, bias=bias: tokens + bias)
    expected = stock(
        noise_for(model, batch),
        TIMESTEPS,
        known.prompt,
        down_intrablock_additional_residuals=list(known.pose),
    ).sample
    assert set(known.biases) == set(SHOWN)
    torch.testing.assert_close(predict(model, batch, conditioning=known).noise, expected)


@pytest.mark.parametrize("part", ["reference", "pose"])
def test_the_prediction_depends_on_what_is_known(
    model: CFLD, with_pose: MakeBatch, part: str
) -> None:
    batch = with_pose()
    other: Batch = {**batch, part: batch[part].flip(0)}  # type: ignore[literal-required,typeddict-item]
    with torch.no_grad():
        assert (predict(model, other).noise - predict(model, batch).noise).abs().max() > 1e-4


def test_new_biases_change_nothing_until_they_have_learnt(base: Path, with_pose: MakeBatch) -> None:
    torch.manual_seed(0)
    model = CFLD(base, base, base, ENCODER, DECODER, appearance_depth=1)
    known = model.encode(with_pose())
    assert all(not bias.any() for bias in known.biases.values())
    sum(bias.sum() for bias in known.biases.values()).backward()
    assert all(bias.conv_out.weight.grad.any() for bias in model.appearance.biases)


def test_a_layer_reads_the_stage_of_its_own_coarseness(base: Path, with_pose: MakeBatch) -> None:
    model = build(base)
    channels = [bias.conv_in.in_channels for bias in model.appearance.biases]
    assert channels == [16, 16, 8, 8]  # of the UNet's second and first level
    shapes = {name: tuple(bias.shape) for name, bias in model.encode(with_pose()).biases.items()}
    assert shapes == dict(zip(SHOWN, [(2, 12, 32)] * 2 + [(2, 48, 16)] * 2, strict=True))


def test_where_both_grids_are_one_a_bias_is_not_resampled(base: Path, with_pose: MakeBatch) -> None:
    """As at the published sizes, 256 pixels for the encoder and 512 for the network."""
    model, batch = build(base), with_pose(2, 32, 32)
    first, *_ = model.encoder(batch["reference"])
    bias = model.appearance.biases[-1](first)
    expected = bias.flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.encode(batch).biases[SHOWN[-1]], expected)


def test_the_pose_is_halved_by_averaging(model: CFLD, with_pose: MakeBatch) -> None:
    """The residuals written out, for a pose that already has four pixels a cell."""
    pose = torch.rand(2, 21, 32, 24)
    adapter = model.pose_adapter
    hidden = adapter.conv_in(F.pixel_unshuffle(pose, 4))
    first = adapter.resnets[0](hidden, None)
    second = adapter.resnets[1](F.avg_pool2d(first, 2), None)
    for residual, expected in zip(adapter(pose, (8, 6)), (first, second), strict=True):
        torch.testing.assert_close(residual, expected)


def test_odd_latents_are_served(model: CFLD, with_pose: MakeBatch) -> None:
    """9 x 7 cells, which the network halves to 5 x 4 and 3 x 2."""
    batch = with_pose(2, 18, 14)
    assert [tuple(r.shape[-2:]) for r in model.encode(batch).pose] == [(9, 7), (5, 4)]
    prediction = predict(model, batch, ALL_LAYERS)
    assert prediction.noise.shape == (2, 4, 9, 7)
    assert {tuple(flow.shape) for flow in prediction.flows.values()} == {(2, 9, 7, 2), (2, 5, 4, 2)}


def test_guidance_is_that_of_the_paper_with_both_scales(base: Path, with_pose: MakeBatch) -> None:
    model = build(base, pose_guidance=3.0)
    batch = with_pose()
    known = model.encode(batch)
    noisy, timestep = noise_for(model, batch), torch.tensor(400)

    def noise(**changes: Any) -> Tensor:
        conditioning = Conditioning(**(vars(known) | changes))
        return model.predict_noise(noisy, timestep.expand(2), conditioning).noise

    nobody = {"prompt": model.no_prompt.expand_as(known.prompt), "biases": {}}
    with torch.no_grad():
        nothing, pose, whole = noise(**nobody, pose=()), noise(**nobody), noise()
        expected = nothing + 3.0 * (pose - nothing) + 1.5 * (whole - pose)
        settings = SamplerSettings(guidance=1.5)
        guided = guided_noise(model, noisy, timestep, known, settings)
    torch.testing.assert_close(guided, expected)
    assert len({tuple(each.flatten().tolist()) for each in (nothing, pose, whole)}) == 3


@pytest.mark.parametrize(
    ("pose_guidance", "guidance", "weights"),
    [
        (3.0, 1.5, [-2.0, 1.5, 1.5]),
        (2.0, 2.0, [-1.0, 2.0]),  # published: the branch of the pose alone cancels out
        (1.0, 1.5, [-0.5, 1.5]),
        (1.0, 1.0, [1.0]),
    ],
)
def test_branches_sum_to_one_end_with_the_whole_and_cost_nothing_where_they_cancel_out(
    base: Path, with_pose: MakeBatch, pose_guidance: float, guidance: float, weights: list[float]
) -> None:
    known = build(base, pose_guidance=pose_guidance).encode(with_pose())
    branches = known.branches(guidance)
    assert [weight for weight, _ in branches] == weights
    assert sum(weights) == 1.0
    assert branches[-1][1] is known


@pytest.mark.parametrize("drop_biases", [False, True])
def test_a_dropped_reference_is_the_learnt_prompt_and_the_pose_stays(
    base: Path, with_pose: MakeBatch, drop_biases: bool
) -> None:
    model = build(base, drop_biases=drop_biases)
    known = model.encode(with_pose())
    dropped = known.drop(torch.tensor([True, False]))
    assert torch.equal(dropped.prompt[0], model.no_prompt[0])
    assert torch.equal(dropped.prompt[1], known.prompt[1])
    assert dropped.pose is known.pose
    for name, bias in known.biases.items():
        assert bool(dropped.biases[name][0].any()) != drop_biases
        assert torch.equal(dropped.biases[name][1], bias[1])


def test_a_model_in_16_bits_samples(model: CFLD, with_pose: MakeBatch) -> None:
    model.to(torch.bfloat16)
    settings = SamplerSettings(scheduler="ddim", steps=2, guidance=1.5)
    pictures = generate(model, with_pose(), settings)
    assert pictures.dtype == torch.float32
    assert pictures.isfinite().all()


def test_samples_pictures_that_depend_on_the_reference(model: CFLD, with_pose: MakeBatch) -> None:
    batch, other = with_pose(), with_pose()
    other["reference"] = -other["reference"]
    settings = SamplerSettings(scheduler="ddim", steps=2, guidance=1.5, reference_cache=True)
    pictures, others = (generate(model, each, settings) for each in (batch, other))
    assert pictures.shape == (2, 3, 16, 12)
    assert not torch.equal(pictures, others)
