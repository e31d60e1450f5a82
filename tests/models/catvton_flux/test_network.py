"""Garment left of person in one FLUX transformer, and the flow from the one to the other."""

from pathlib import Path
from typing import Any

import pytest
import torch
from catvton_flux_parts import BLOCKS, SCHEDULER, TEXT, TRANSFORMER, build
from diffusers import SD3Transformer2DModel
from model_parts import (
    ALL_LAYERS,
    VAE,
    MakeBatch,
    check_flows_of_some,
    gradients,
    leffa_loss,
    predict,
)
from torch import Tensor

from leffa.losses.flow import coordinates
from leffa.losses.request import FlowRequest
from leffa.models.catvton_flux import CatVTONFlux
from leffa.models.catvton_flux.attention import JointExchange
from leffa.models.catvton_flux.networks import TransformerSettings, trained_transformer
from leffa.models.catvton_flux.packing import beside
from leffa.models.catvton_flux.pair import split_pair
from leffa.models.sampler import SamplerSettings, generate
from leffa.run.training import check_sizes
from leffa.training.stages import Stage


def test_hides_the_source_inside_the_mask(model: CatVTONFlux, make_batch: MakeBatch) -> None:
    batch, other = make_batch(), make_batch()
    other["source"] = torch.where(batch["mask"] > 0, 0.7, batch["source"])
    conditionings = model.encode(batch), model.encode(other)
    assert torch.equal(*(each.masked for each in conditionings))


def test_a_dropped_garment_is_a_latent_of_zeros_and_nothing_else_changes(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    conditioning = model.encode(make_batch())
    dropped = conditioning.drop(torch.tensor([True, False])).masked
    garment, person = conditioning.masked.chunk(2, dim=-1)
    assert torch.equal(dropped[0], beside(torch.zeros_like(garment[0]), person[0]))
    assert torch.equal(dropped[1], conditioning.masked[1])
    assert torch.equal(conditioning.unconditional().masked[0], dropped[0])


def test_guidance_is_told_to_a_distilled_network_and_two_branches_to_another(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    conditioning = model.encode(make_batch())
    assert conditioning.guidance == 1
    ((weight, branch),) = conditioning.branches(30.0)
    assert (weight, branch.guidance) == (1, 30)
    plain = build(TRANSFORMER | {"guidance_embeds": False}).encode(make_batch())
    assert [weight for weight, _ in plain.branches(2.5)] == [-1.5, 2.5]


def test_halves_are_interleaved_by_row() -> None:
    pair = torch.arange(12.0).view(1, 1, 12, 1)  # 3 rows of 2 garment and 2 person tokens
    person, garment, others = split_pair(pair, rows=3)
    assert others.numel() == 0
    assert person.flatten().tolist() == [2, 3, 6, 7, 10, 11]
    assert garment.flatten().tolist() == [0, 1, 4, 5, 8, 9]


@pytest.mark.parametrize("kind", ["transformer_blocks", "single_transformer_blocks"])
def test_the_flow_is_where_the_person_looks_in_the_garment(kind: str) -> None:
    """Each person token equals itself, a token of text and one garment token; only the last may
    count, and only before RoPE is it the nearest."""
    grid, width = (3, 2), 6
    config = TRANSFORMER | {
        **{"num_attention_heads": 1, "attention_head_dim": width},
        **{"axes_dims_rope": [2, 2, 2], "num_single_layers": 1},
    }
    transformer = trained_transformer(config, TransformerSettings("all", tap="before_rope"))
    attn = transformer.get_submodule(f"{kind}.0.attn")
    with torch.no_grad():
        for name, parameter in attn.named_parameters():
            parameter.copy_(torch.eye(width) if parameter.ndim == 2 else 0)
            if "norm" in name:
                parameter.fill_(5)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    garment = torch.eye(6)
    person = garment[order]
    pair = torch.cat([garment.view(3, 2, 6), person.view(3, 2, 6)], dim=1).view(1, 12, 6)
    exchange = JointExchange(
        **{"image_height": 48, "grid": grid, "reference_grid": grid, "request": ALL_LAYERS},
        text=3,
        split=lambda tokens: split_pair(tokens, rows=3),
    )
    text = person[None, :3]
    if kind == "transformer_blocks":
        attn(pair, encoder_hidden_states=text, exchange=exchange)
    else:
        attn(torch.cat([text, pair], dim=1), exchange=exchange)
    places = coordinates(grid, device=pair.device, dtype=pair.dtype)
    (flow,) = exchange.flows.values()
    torch.testing.assert_close(flow, places[order].view(1, *grid, 2), atol=1e-4, rtol=0)


def test_every_block_shows_a_flow_of_the_person_s_grid(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    flows = predict(model, make_batch(), ALL_LAYERS).flows
    assert {name: tuple(flow.shape) for name, flow in flows.items()} == dict.fromkeys(
        BLOCKS, (2, 4, 3, 2)
    )
    for layers, count in (("single_transformer_blocks.*", 2), ("transformer_blocks", 1)):
        request = FlowRequest(1.0, 0.0, layers=(layers,))
        assert len(predict(model, make_batch(), request).flows) == count
    for least, count in ((0.25, 3), (0.26, 0)):  # a token is a quarter of 16 pixels
        assert len(predict(model, make_batch(), FlowRequest(min_resolution=least)).flows) == count


def test_asking_for_flows_changes_no_velocity_and_some_samples_are_those_of_all(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    check_flows_of_some(model, make_batch(4))


def test_before_rope_reads_content_alone_and_changes_no_velocity(make_batch: MakeBatch) -> None:
    after, before = (build(tap=tap) for tap in ("after_rope", "before_rope"))
    found = [predict(model, make_batch(), ALL_LAYERS) for model in (after, before)]
    assert torch.equal(found[0].noise, found[1].noise)
    for name in BLOCKS:
        assert not torch.allclose(found[0].flows[name], found[1].flows[name])


def test_the_garments_share_is_of_text_and_both_pictures(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    with torch.no_grad():  # keys of 0: every token counts alike
        for name, weight in model.transformer.named_parameters():
            if any(part in name for part in ("to_k", "add_k_proj")):
                weight.zero_()
    shares = predict(model, make_batch(), FlowRequest(1.0, 0.0, share=True)).shares
    assert list(shares) == BLOCKS
    for share in shares.values():
        torch.testing.assert_close(share, torch.full((2, 4, 3), 12 / (12 + 12 + 3)))


def trained(model: CatVTONFlux, batch: Any) -> dict[str, Tensor]:
    """Gradients of a step with both losses."""
    model.zero_grad()
    prediction = predict(model, batch, ALL_LAYERS)
    (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    return {name: value.clone() for name, value in gradients(model).items()}


def test_the_leffa_loss_reaches_queries_and_keys_of_every_block(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    leffa_loss(predict(model, batch, ALL_LAYERS), batch).backward()
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    for block in BLOCKS:
        for part in ("to_q.weight", "to_k.weight", "norm_q.weight", "norm_k.weight"):
            assert f"transformer.{block}.{part}" in reached
    last = f"transformer.{BLOCKS[-1]}"
    assert f"{last}.to_v.weight" not in reached  # nothing of it follows the flow


def test_gradient_checkpointing_changes_no_gradient(make_batch: MakeBatch) -> None:
    plain, checkpointed = (
        trained(build(gradient_checkpointing=on).train(), make_batch()) for on in (False, True)
    )
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient)


def test_every_weight_has_a_gradient_so_that_processes_agree(make_batch: MakeBatch) -> None:
    model = build().train()
    assert trained(model, make_batch()).keys() == {
        name for name, p in model.named_parameters() if p.requires_grad
    }


def test_samples_pictures_that_depend_on_the_garment_and_its_guidance(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    batch, other = make_batch(), make_batch()
    other["reference"] = -other["reference"]
    settings = SamplerSettings("euler", steps=2, guidance=1.0)
    pictures, others = (generate(model.eval(), each, settings) for each in (batch, other))
    assert pictures.shape == (2, 3, 16, 12)
    assert not torch.equal(pictures, others)
    guided = generate(model, batch, settings.with_changes(guidance=30.0))
    assert not torch.equal(pictures, guided)


def test_attention_alone_is_what_has_attn_in_its_name() -> None:
    """Of FLUX.1-Fill, as published: 684 tensors of 1,160, 2,511.1 M parameters of 11,902.4 M."""
    config = {"in_channels": 384, "out_channels": 64, "guidance_embeds": True}
    with torch.device("meta"):
        transformer = trained_transformer(config, TransformerSettings("attention"))
    parameters = dict(transformer.named_parameters())
    chosen = [p.numel() for p in parameters.values() if p.requires_grad]
    assert (len(chosen), len(parameters)) == (684, 1160)
    assert round(sum(chosen) / 1e6, 1) == 2511.1
    assert round(sum(p.numel() for p in parameters.values()) / 1e6, 2) == 11902.39
    frozen = {"proj_mlp", "proj_out", "norm1", "ff", "x_embedder"}
    assert frozen <= {
        part for n, p in parameters.items() if not p.requires_grad for part in n.split(".")
    }


def test_a_checkpoint_holds_what_is_trained(tmp_path: Path) -> None:
    build().transformer.save_pretrained(tmp_path)
    model = build(tmp_path, trainable="attention")
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert model.saved_state().keys() == names
    assert all(".attn." in name for name in names)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"trainable": "attention"},
            "model.trainable=attention: the rest of the network stays",
        ),
        ({"trainable": "half"}, "model.trainable must be one of attention, all, got 'half'"),
        ({"tap": "norm"}, "model.tap must be one of after_rope, before_rope, got 'norm'"),
        (
            {"transformer": TRANSFORMER | {"in_channels": 16}},
            "reads 16 channels, not the 48 of noisy pair, masked pair and mask; give a FLUX.1-Fill",
        ),
        ({"scheduler": {"beta_start": 0.1}}, "a PairFlux is trained by flow matching, but"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(changes: dict[str, Any], expected: str) -> None:
    parts = {"transformer": TRANSFORMER, "vae": VAE, "scheduler": SCHEDULER, "text": TEXT}
    with pytest.raises(ValueError, match=expected) as caught:
        CatVTONFlux(**{**parts, "trainable": "all", **changes})
    assert "\n" not in str(caught.value)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        SD3Transformer2DModel(num_layers=1).save_config(tmp_path / "transformer")
    with pytest.raises(ValueError, match="holds a SD3Transformer2DModel, not a FluxTransform"):
        build(tmp_path)


def test_a_picture_without_whole_tokens_is_refused(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    with pytest.raises(ValueError, match="images of 18x12 are not a multiple of 4 pixels, one tok"):
        model.encode(make_batch(2, 18, 12))
    stages = [Stage("small", 1, 16, 12, 1, 1e-3), Stage("full", 1, 18, 12, 1, 1e-3)]
    with pytest.raises(ValueError, match=r"curriculum\.stages, full: images of 18x12 are not a"):
        check_sizes(model, stages)
