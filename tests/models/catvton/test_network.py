"""Person above garment in one network, and the flow from the one to the other."""

from typing import Any

import pytest
import torch
from catvton_parts import Bases, attention_names
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
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

from leffa.losses.flow import coordinates
from leffa.losses.request import FlowRequest
from leffa.models.attention import AttentionExchange
from leffa.models.catvton import CatVTON, StackedAttention, stack
from leffa.models.sampler import SamplerSettings, generate


def test_the_network_sees_the_garment_below_the_person(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    batch, seen = make_batch(), []
    model.unet.conv_in.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    predict(model, batch)
    noisy, mask, shown = seen[0].split([4, 1, 4], dim=1)
    assert torch.equal(noisy, noise_for(model, batch))
    assert torch.equal(mask[:, :, :8], batch["mask"][..., ::2, ::2])
    assert not mask[:, :, 8:].any()
    garment = model.vae.encode(batch["reference"]).latent_dist.mode() * 0.5
    masked = model.vae.encode(batch["source"] * (1 - batch["mask"])).latent_dist.mode() * 0.5
    torch.testing.assert_close(shown, torch.cat([masked, garment], dim=2))


def test_the_target_is_the_person_above_the_garment_and_decodes_to_the_person(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    target = model.encode_target(batch)
    assert target.shape[1:] == model.latent_shape(batch) == (4, 16, 6)
    person = model.vae.encode(batch["source"]).latent_dist.mode()
    torch.testing.assert_close(target[:, :, :8], person * 0.5)
    torch.testing.assert_close(model.decode(target), model.vae.decode(person).sample)


def test_hides_the_source_inside_the_mask(model: CatVTON, make_batch: MakeBatch) -> None:
    batch, other = make_batch(), make_batch()
    other["source"] = torch.where(batch["mask"] > 0, 0.7, batch["source"])
    assert torch.equal(model.encode(batch).planes(), model.encode(other).planes())


def test_a_dropped_garment_is_shown_as_zeros_and_nothing_else_changes(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    conditioning = model.encode(make_batch())
    dropped = conditioning.drop(torch.tensor([True, False]))
    whole, partly, nothing = (
        c.planes() for c in (conditioning, dropped, conditioning.unconditional())
    )
    assert not partly[0, 1:, 8:].any()
    assert torch.equal(partly[:, :, :8], whole[:, :, :8])
    assert torch.equal(partly[1], whole[1])
    assert torch.equal(nothing[0], partly[0])


def test_predicts_what_a_stock_unet_predicts_whose_text_attention_returns_its_input(
    bases: Bases, model: CatVTON, make_batch: MakeBatch
) -> None:
    class ReturnsItsInput:
        def __call__(self, attn: Attention, hidden_states: Tensor, **_: Any) -> Tensor:
            return hidden_states

    stock = UNet2DConditionModel.from_pretrained(bases(9), subfolder="unet")
    stock.set_attn_processor(
        {
            name: AttnProcessor() if ".attn1." in name else ReturnsItsInput()
            for name in stock.attn_processors
        }
    )
    batch, timesteps = make_batch(), torch.tensor([100, 200])
    inputs = torch.cat([noise_for(model, batch), model.encode(batch).planes()], dim=1)
    expected = stock(inputs, timesteps, torch.zeros(2, 1, 12)).sample
    torch.testing.assert_close(predict(model, batch).noise, expected)


def test_the_flow_is_where_the_person_looks_in_the_garment() -> None:
    """Each person token equals itself and one garment token; only the latter may count."""
    grid = (4, 3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    attention = Attention(query_dim=12, heads=1, dim_head=12)
    attention.set_processor(StackedAttention("layer"))
    with torch.no_grad():
        for projection in (attention.to_q, attention.to_k):
            projection.weight.copy_(torch.eye(12))
    garment = torch.eye(12) * 20
    person = garment[order] * 2  # so they resemble themselves more than any garment token
    exchange = AttentionExchange(
        image_height=32, grid=grid, reference_grid=grid, request=ALL_LAYERS
    )
    attention(torch.cat([person, garment])[None], exchange=exchange)
    places = coordinates(grid, device=garment.device, dtype=garment.dtype)
    expected = places[order].view(1, *grid, 2)
    torch.testing.assert_close(exchange.flows["layer"], expected, atol=1e-4, rtol=0)


def test_a_flow_has_the_size_of_the_person_s_half_of_its_layer(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    flows = predict(model, make_batch(), ALL_LAYERS).flows
    assert {name.split(".")[0]: tuple(flow.shape) for name, flow in flows.items()} == {
        "down_blocks": (2, 8, 6, 2),
        "up_blocks": (2, 8, 6, 2),
        "mid_block": (2, 4, 3, 2),
    }


def test_the_resolution_of_a_layer_is_that_of_the_person_s_picture(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    """The latent has half the picture's height, the middle a quarter."""
    for least, count in ((0.51, 0), (0.5, 3), (0.26, 3), (0.25, 4)):
        request = FlowRequest(min_resolution=least)
        assert len(predict(model, make_batch(), request).flows) == count


def test_asking_for_flows_changes_no_noise_and_some_samples_are_those_of_all(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    check_flows_of_some(model, make_batch(4))


def test_the_garments_share_of_the_attention_is_read_in_every_layer(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    request = FlowRequest(1.0, 0.0, share=True)
    found = predict(model, make_batch(), request)
    assert found.shares.keys() == found.flows.keys()
    for layer, share in found.shares.items():
        assert share.shape == found.flows[layer].shape[:3]
        assert ((share > 0) & (share < 1)).all()
    with torch.no_grad():  # keys of 0: as many tokens of the garment as of the person
        for name, weight in model.unet.named_parameters():
            if ".to_k." in name:
                weight.zero_()
    for share in predict(model, make_batch(), request).shares.values():
        torch.testing.assert_close(share, torch.full_like(share, 0.5))


def test_the_leffa_loss_reaches_queries_and_keys_of_every_layer(
    model: CatVTON, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    leffa_loss(predict(model, batch, ALL_LAYERS), batch).backward()
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    wanted = {name for name in attention_names(model) if ".to_q." in name or ".to_k." in name}
    assert wanted <= reached <= attention_names(model)


def test_samples_pictures_that_depend_on_the_garment(model: CatVTON, make_batch: MakeBatch) -> None:
    batch, other = make_batch(), make_batch()
    other["reference"] = -other["reference"]
    settings = SamplerSettings(scheduler="ddim", steps=2, guidance=1.5, reference_cache=True)
    pictures, others = (generate(model.eval(), b, settings) for b in (batch, other))
    assert pictures.shape == (2, 3, 16, 12)
    assert not torch.equal(pictures, others)


def test_a_seam_within_a_cell_is_refused(model: CatVTON, make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match="images 18 pixels high are not a multiple of 4: the seam"):
        model.encode(make_batch(2, 18, 12))


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size, got latents of 8x6 and 10x6"):
        stack(torch.zeros(1, 4, 8, 6), torch.zeros(1, 4, 10, 6))
