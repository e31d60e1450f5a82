"""The two-UNet model: inputs, gradients, flows and guidance, on tiny networks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from model_parts import (
    ALL_LAYERS,
    MakeBatch,
    check_flows_of_some,
    gradients,
    leffa_loss,
    noise_for,
    predict,
)
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.leffa import LeffaModel, Part

Build = Callable[..., LeffaModel]


def total_loss(model: LeffaModel, batch: Batch) -> Tensor:
    """The diffusion term and the Leffa term of a step in which every sample takes part."""
    prediction = predict(model, batch, ALL_LAYERS)
    return prediction.noise.square().mean() + leffa_loss(prediction, batch)


@pytest.mark.parametrize(
    ("parts", "channels"),
    [
        (("mask", "masked_source", "densepose"), 12),
        (("mask", "masked_source"), 9),
        (("densepose",), 7),
        (("densepose", "mask"), 8),
    ],
)
def test_concatenates_the_chosen_parts(
    build_model: Build, make_batch: MakeBatch, parts: tuple[Part, ...], channels: int
) -> None:
    model = build_model(parts=parts)
    assert model.generative_unet.config.in_channels == channels
    assert model.reference_unet.config.in_channels == 4
    assert predict(model, make_batch()).noise.shape == (2, 4, 8, 6)


def test_concatenates_in_the_official_order(build_model: Build, make_batch: MakeBatch) -> None:
    batch = make_batch()
    model = build_model(parts=("densepose", "masked_source", "mask"))
    concat = model.encode(batch).concat
    torch.testing.assert_close(concat[:, :1], batch["mask"][..., ::2, ::2])
    torch.testing.assert_close(concat[:, 5:], batch["densepose"][..., ::2, ::2])
    batch["source"] = batch["source"] * (1 - batch["mask"])
    torch.testing.assert_close(concat[:, 1:5], model.encode_target(batch))


def test_hides_the_source_inside_the_mask(build_model: Build, make_batch: MakeBatch) -> None:
    batch, other = make_batch(), make_batch()
    other["source"] = torch.where(batch["mask"] > 0, 0.7, batch["source"])
    model = build_model()
    assert torch.equal(model.encode(batch).concat, model.encode(other).concat)


def test_every_trained_parameter_gets_a_gradient_from_the_diffusion_loss(
    build_model: Build, make_batch: MakeBatch, unet_config: dict[str, Any]
) -> None:
    model = build_model(unet_config).train()
    torch.nn.init.normal_(model.generative_unet.conv_in.weight)
    predict(model, make_batch()).noise.square().mean().backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    assert [name for name in trained if name not in reached] == []
    assert {name.split(".")[0] for name in trained} == {"reference_unet", "generative_unet"}


def test_the_autoencoder_is_frozen_and_stays_in_evaluation_mode(build_model: Build) -> None:
    model = build_model().train()
    assert not any(parameter.requires_grad for parameter in model.vae.parameters())
    assert not model.vae.training
    assert model.generative_unet.training


def test_the_leffa_loss_reaches_both_networks(build_model: Build, make_batch: MakeBatch) -> None:
    model, batch = build_model(), make_batch()
    flows = predict(model, batch, ALL_LAYERS).flows
    arguments = (batch["reference"], batch["source"], batch["loss_region"])
    LeffaLoss()(flows, *arguments, len(batch["name"])).total.backward()
    for part in ("reference_unet", "generative_unet"):
        reached = [g for name, g in gradients(model).items() if name.startswith(part)]
        assert sum(gradient.abs().sum() for gradient in reached) > 0


def test_checkpointing_changes_neither_flows_nor_gradients(
    build_model: Build, make_batch: MakeBatch
) -> None:
    models = [build_model(gradient_checkpointing=on).train() for on in (False, True)]
    plain, checkpointed = [predict(model, make_batch(), ALL_LAYERS) for model in models]
    torch.testing.assert_close(checkpointed.noise, plain.noise)
    torch.testing.assert_close(checkpointed.flows, plain.flows)
    for model in models:
        total_loss(model, make_batch()).backward()
    torch.testing.assert_close(gradients(models[1]), gradients(models[0]))


@pytest.mark.parametrize("size", [(16, 12), (14, 10), (18, 6)])  # latents 8x6, 7x5 and 9x3
def test_a_flow_has_the_size_of_its_layer(
    build_model: Build, make_batch: MakeBatch, sd15_config: dict[str, Any], size: tuple[int, int]
) -> None:
    three_levels = sd15_config | {
        "block_out_channels": [16, 16, 32],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    }
    model = build_model(three_levels)
    flows = predict(model, make_batch(2, *size), ALL_LAYERS).flows
    height, width = size[0] // 2, size[1] // 2
    half = ((height + 1) // 2, (width + 1) // 2)
    quarter = ((half[0] + 1) // 2, (half[1] + 1) // 2)
    grids = {"down_blocks.0": (height, width), "down_blocks.1": half, "mid_block": quarter}
    grids |= {"up_blocks.1": half, "up_blocks.2": (height, width)}
    for name, flow in flows.items():
        expected = next(grid for place, grid in grids.items() if name.startswith(place))
        assert flow.shape == (2, *expected, 2)
        assert flow.abs().max() <= 1
    assert len(flows) == 7


def test_asking_for_flows_changes_no_noise_and_some_samples_are_those_of_all(
    build_model: Build, make_batch: MakeBatch
) -> None:
    check_flows_of_some(build_model(), make_batch(4))


def test_flows_come_from_layers_that_are_fine_enough(
    build_model: Build, make_batch: MakeBatch
) -> None:
    request = FlowRequest(min_resolution=1 / 2)  # the latent's own size; the middle has 1/4
    flows = predict(build_model(), make_batch(), request).flows
    assert {name.split(".")[0] for name in flows} == {"down_blocks", "up_blocks"}


def test_the_reference_may_have_another_size(build_model: Build, make_batch: MakeBatch) -> None:
    model, batch = build_model(), make_batch()
    batch["reference"] = make_batch(2, 20, 20)["reference"]
    prediction = predict(model, batch, ALL_LAYERS)
    assert prediction.noise.shape == (2, 4, 8, 6)
    assert prediction.flows["mid_block.attentions.0.transformer_blocks.0.attn1"].shape[1:3] == (
        4,
        3,
    )


def test_a_sample_does_not_depend_on_its_batch(build_model: Build, make_batch: MakeBatch) -> None:
    model, batch = build_model().eval(), make_batch(2)
    single: Any = {key: value[:1] for key, value in batch.items()}
    noise, timesteps = noise_for(model, batch), torch.tensor([100, 200])
    both = model.predict_noise(noise, timesteps, model.encode(batch)).noise
    alone = model.predict_noise(noise[:1], timesteps[:1], model.encode(single)).noise
    torch.testing.assert_close(alone, both[:1])


def test_a_dropped_reference_is_the_unconditional_input(
    build_model: Build, make_batch: MakeBatch
) -> None:
    model, batch = build_model(), make_batch()
    conditioning = model.encode(batch)
    dropped = conditioning.drop(torch.tensor([True, False]))
    noise, timesteps = noise_for(model, batch), torch.tensor([100, 200])
    with_drop = model.predict_noise(noise, timesteps, dropped).noise
    unconditional = model.predict_noise(noise, timesteps, conditioning.unconditional()).noise
    conditional = model.predict_noise(noise, timesteps, conditioning).noise
    torch.testing.assert_close(with_drop[0], unconditional[0])
    torch.testing.assert_close(with_drop[1], conditional[1])
    assert (unconditional - conditional).abs().max() > 1e-4
    assert torch.equal(dropped.concat, conditioning.concat)


def test_guidance_weights_sum_to_one_and_end_with_the_reference(
    build_model: Build, make_batch: MakeBatch
) -> None:
    conditioning = build_model().encode(make_batch())
    branches = conditioning.branches(2.5)
    assert [weight for weight, _ in branches] == [-1.5, 2.5]
    assert not branches[0][1].reference.any()
    assert branches[-1][1] is conditioning
    assert conditioning.branches(1.0) == [(1.0, conditioning)]


def test_a_frozen_reference_predicts_as_at_its_timestep(
    build_model: Build, make_batch: MakeBatch
) -> None:
    model, batch = build_model().eval(), make_batch()
    conditioning = model.encode(batch)
    frozen = model.freeze_reference(conditioning, timestep=300)
    noise, timesteps = noise_for(model, batch), torch.tensor([300, 300])
    for ours, theirs in (
        (frozen, conditioning),
        (frozen.unconditional(), conditioning.unconditional()),
    ):
        expected = model.predict_noise(noise, timesteps, theirs).noise
        torch.testing.assert_close(model.predict_noise(noise, timesteps, ours).noise, expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_scheduler_config_says_what_is_predicted(
    build_model: Build, prediction_type: str
) -> None:
    model = build_model(prediction_type=prediction_type)
    assert model.schedule.prediction_type == prediction_type
    clean, noise = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    target = model.schedule.target(clean, noise, torch.tensor([500]))
    assert torch.equal(target, noise) == (prediction_type == "epsilon")


def test_decode_undoes_the_latent_scaling(build_model: Build, make_batch: MakeBatch) -> None:
    model, batch = build_model(), make_batch()
    latent = model.encode_target(batch)
    unscaled = model.vae.encode(batch["source"]).latent_dist.mode()
    torch.testing.assert_close(latent, unscaled * 0.5)
    torch.testing.assert_close(model.decode(latent), model.vae.decode(unscaled).sample)


@torch.no_grad()
def test_an_autoencoder_that_overflows_in_float16_is_kept_out_of_it(
    build_model: Build, make_batch: MakeBatch
) -> None:
    model, batch = build_model(), make_batch()
    for network in (model.vae.encoder, model.vae.decoder):
        network.conv_in.weight.mul_(1e6)  # more than float16 holds, as inside SDXL's
    latent = model.latent(batch, "source")
    expected = latent, model.decode(latent)
    with torch.autocast("cpu", torch.float16):
        mixed = model.latent(batch, "source")
        decoded = model.decode(latent)
        halves = model.decode(latent.half())  # what a network under autocast gives
    torch.testing.assert_close((mixed, decoded), expected)
    assert halves.isfinite().all()


def test_sampling_the_posterior_is_fixed_by_the_generator(
    build_model: Build, make_batch: MakeBatch
) -> None:
    model, batch = build_model(), make_batch()
    seeds = (0, 0, 1)
    drawn = [
        model.encode_target(batch, torch.Generator().manual_seed(seed), sample=True)
        for seed in seeds
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_tiny_autoencoder_serves_as_well(
    sd15_config: dict[str, Any], make_batch: MakeBatch, tmp_path: Path
) -> None:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    vae.save_pretrained(tmp_path / "vae")
    model = LeffaModel(sd15_config, vae=tmp_path, scheduler={})
    assert predict(model, make_batch()).noise.shape == (2, 4, 8, 6)


def test_names_an_unknown_part(build_model: Build) -> None:
    with pytest.raises(
        ValueError, match=r"model.parts: unknown \['pose'\]; choose from mask, masked"
    ):
        build_model(parts=("mask", "pose"))


def test_names_images_that_the_autoencoder_cannot_divide(
    build_model: Build, make_batch: MakeBatch
) -> None:
    with pytest.raises(ValueError, match="images of 15x12 are not a multiple"):
        build_model().encode(make_batch(2, 15, 12))
