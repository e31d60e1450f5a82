"""The garment reaches the picture in two ways, and the flow is where the person looks in it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from idm_vton_parts import TIMESTEPS, predict
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.attention import AttentionExchange
from leffa.models.idm_vton import IDMVTON, Conditioning

pytest.importorskip("transformers")


def test_the_garment_reaches_the_picture_through_both_ways(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    other = model.encode({**batch, "reference": -batch["reference"]})
    known = model.encode(batch)
    base = predict(model, noisy, known)
    looks = Conditioning(**{**vars(known), "garment": other.garment})
    means = Conditioning(**{**vars(known), "image": other.image})
    assert (predict(model, noisy, looks) - base).abs().max() > 1e-3
    assert (predict(model, noisy, means) - base).abs().max() > 1e-3


def test_no_garment_is_features_of_zeros_no_picture_and_no_prompt(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    known = model.encode(batch)
    empty = known.unconditional()
    recorded = model.garment_features(known, TIMESTEPS)
    zeros = model.garment_features(empty, TIMESTEPS)
    assert recorded.keys() == zeros.keys()
    assert all(zeros[name].shape[1:] == recorded[name].shape[1:] for name in recorded)
    assert all(not feature.any() for feature in zeros.values())
    assert torch.equal(empty.image, known.no_image.expand_as(known.image))
    dropped = known.drop(torch.tensor([True, True]))
    assert torch.allclose(predict(model, noisy, dropped), predict(model, noisy, empty), atol=1e-6)
    assert (predict(model, noisy, empty) - predict(model, noisy, known)).abs().max() > 1e-3


def test_zeros_have_the_shape_of_features_where_the_latent_is_odd(
    make_batch: Callable[..., Batch], model: IDMVTON
) -> None:
    known = model.encode(make_batch(height=14, width=10))  # 7x5 cells
    recorded = model.garment_features(known, TIMESTEPS)
    zeros = model.garment_features(known.unconditional(), TIMESTEPS)
    assert {k: v.shape[1:] for k, v in zeros.items()} == {
        k: v.shape[1:] for k, v in recorded.items()
    }


def test_dropping_one_sample_leaves_the_other_alone(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    known = model.encode(batch)
    mixed = predict(model, noisy, known.drop(torch.tensor([False, True])))
    assert torch.allclose(mixed[0], predict(model, noisy, known)[0], atol=1e-6)
    assert torch.allclose(mixed[1], predict(model, noisy, known.unconditional())[1], atol=1e-6)


def test_guidance_weighs_two_branches(model: IDMVTON, batch: Batch) -> None:
    known = model.encode(batch)
    (away, empty), (towards, full) = known.branches(2.0)
    assert (away, towards) == (-1.0, 2.0)
    assert full is known
    assert empty.garment is None
    assert known.branches(1.0) == [(1.0, known)]


def test_a_sample_does_not_depend_on_its_batch(model: IDMVTON, batch: Batch, noisy: Tensor) -> None:
    both = predict(model, noisy, model.encode(batch))
    for index in range(2):
        alone: Any = {key: value[index : index + 1] for key, value in batch.items()}
        conditioning = model.encode(alone)
        with torch.no_grad():
            noise = model.predict_noise(
                noisy[index : index + 1], TIMESTEPS[index : index + 1], conditioning
            ).noise
        assert torch.allclose(noise[0], both[index], atol=1e-5)


def test_features_of_one_timestep_serve_all_steps(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    known = model.encode(batch)
    frozen = model.freeze_reference(known, 300)
    at = torch.full((2,), 300)
    with torch.no_grad():
        same = model.predict_noise(noisy, at, frozen).noise
        assert torch.allclose(same, model.predict_noise(noisy, at, known).noise, atol=1e-6)
    assert (predict(model, noisy, frozen) - predict(model, noisy, known)).abs().max() > 1e-4
    assert torch.equal(
        predict(model, noisy, frozen.unconditional()), predict(model, noisy, known.unconditional())
    )


def test_the_published_attention_over_both_halves_gives_the_same_first_half(
    model: IDMVTON,
) -> None:
    """There the garment's tokens are queries too, and their half of the result is cut off."""
    name = "mid_block.attentions.0.transformer_blocks.1.attn1"
    layer = model.unet.get_submodule(name)
    own, garment = torch.randn(2, 12, 32), torch.randn(2, 12, 32)
    exchange = AttentionExchange(features={name: garment}, grid=(4, 3), reference_grid=(4, 3))
    with torch.no_grad():
        ours = layer(own, exchange=exchange)
        theirs = AttnProcessor2_0()(layer, torch.cat([own, garment], 1))[:, :12]
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_flow_is_where_queries_look_in_the_garment_alone(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    """Written out: softmax over the garment's keys, times their coordinates, mean over heads."""
    name = "up_blocks.0.attentions.0.transformer_blocks.0.attn1"
    layer, seen = model.unet.get_submodule(name), []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    known = model.encode(batch)
    request = FlowRequest(temperature=2.0, min_resolution=0.0)
    with torch.no_grad():
        flows = model.predict_noise(noisy, TIMESTEPS, known, request).flows
        feature = model.garment_features(known, TIMESTEPS)[name]
        heads = [
            projection(tokens).unflatten(-1, (4, 8)).transpose(1, 2)
            for projection, tokens in ((layer.to_q, seen[0]), (layer.to_k, feature))
        ]
    hook.remove()
    weights = (heads[0] @ heads[1].transpose(-1, -2) / (2.0 * math.sqrt(8))).softmax(-1).mean(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 3), indexing="ij")
    expected = weights @ torch.stack([x, y], -1).reshape(12, 2)
    assert torch.allclose(flows[name].flatten(1, 2), expected, atol=1e-5)
    assert len(flows) == len([key for key in model.unet.attn_processors if ".attn1." in key])


def test_the_loss_teaches_the_queries(model: IDMVTON, batch: Batch, noisy: Tensor) -> None:
    request = FlowRequest(min_resolution=0.0)
    flows = model.predict_noise(noisy, TIMESTEPS, model.encode(batch), request).flows
    loss = LeffaLoss()(flows, batch["reference"], batch["source"], batch["loss_region"], 2).total
    layer = model.unet.up_blocks[0].attentions[0].transformer_blocks[0].attn1
    query, value = torch.autograd.grad(
        loss, [layer.to_q.weight, layer.to_v.weight], allow_unused=True
    )
    assert query.abs().max() > 0
    assert value is not None  # it changes what the next layers look for
