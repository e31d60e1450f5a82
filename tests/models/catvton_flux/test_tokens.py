"""Person and garment as tokens of their own, as FLUX.1-Kontext is told of pictures."""

import pytest
import torch
from catvton_flux_parts import BLOCKS, SCHEDULER, TEXT, TRANSFORMER
from diffusers import FluxKontextPipeline, FluxTransformer2DModel
from model_parts import ALL_LAYERS, VAE, MakeBatch, gradients, leffa_loss, noise_for, predict

from leffa.losses.request import FlowRequest
from leffa.models.catvton_flux import CatVTONFlux, PairFlux, TokensFlux
from leffa.models.catvton_flux.tokens import split_tokens
from leffa.models.sampler import SamplerSettings, generate

KONTEXT = TRANSFORMER | {"in_channels": 16}


@pytest.fixture
def model() -> CatVTONFlux:
    torch.manual_seed(0)
    return CatVTONFlux(KONTEXT, VAE, SCHEDULER, TEXT, layout="tokens", trainable="all")


def test_reads_what_kontext_s_pipeline_would_hand_a_stock_transformer(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    """Its own packing and ids; a second picture has 2 on the first axis, as RefTon has it."""
    assert isinstance(model, TokensFlux)
    batch = make_batch()
    shape = model.latent_shape(batch)
    assert (shape, model.token_count(shape)) == ((4, 8, 6), 12)
    noisy = noise_for(model, batch)
    latents = model.latents(batch)
    shown = [latents[name][:, :4] * 0.5 for name in ("masked_source", "reference")]
    kontext = FluxKontextPipeline
    tokens = [kontext._pack_latents(each, 2, 4, 8, 6) for each in (noisy, *shown)]
    ids = []
    for number in range(3):
        own = kontext._prepare_latent_image_ids(1, 4, 3, "cpu", torch.float32)
        own[..., 0] = number
        ids.append(own)
    stock = FluxTransformer2DModel.from_config(KONTEXT)
    stock.load_state_dict(model.transformer.state_dict())
    with torch.no_grad():
        velocity = stock(
            torch.cat(tokens, dim=1),
            encoder_hidden_states=model.text.expand(2, -1, -1),
            pooled_projections=model.pooled.expand(2, -1),
            timestep=torch.tensor([0.1, 0.2]),
            img_ids=torch.cat(ids),
            txt_ids=torch.zeros(3, 3),
            guidance=torch.ones(2),
        ).sample[:, :12]
        found = predict(model, batch).noise
    expected = kontext._unpack_latents(velocity, 8 * 2, 6 * 2, 2)
    torch.testing.assert_close(found, expected)


def test_the_flow_goes_from_the_noisy_tokens_to_the_garment_s() -> None:
    tokens = torch.arange(6.0).view(1, 1, 6, 1)
    noisy, garment, person = split_tokens(tokens, 2)
    assert noisy.flatten().tolist() == [0, 1]
    assert person.flatten().tolist() == [2, 3]
    assert garment.flatten().tolist() == [4, 5]


def test_every_block_shows_a_flow_and_the_garments_share_is_of_all_tokens(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    batch = make_batch()
    prediction = predict(model, batch, ALL_LAYERS)
    assert {name: tuple(flow.shape) for name, flow in prediction.flows.items()} == dict.fromkeys(
        BLOCKS, (2, 4, 3, 2)
    )
    leffa_loss(prediction, batch).backward()
    for block in BLOCKS:
        assert gradients(model)[f"transformer.{block}.to_q.weight"].abs().max() > 0
    with torch.no_grad():  # keys of 0: every token counts alike
        for name, weight in model.transformer.named_parameters():
            if any(part in name for part in ("to_k", "add_k_proj")):
                weight.zero_()
    for share in predict(model, batch, FlowRequest(1.0, 0.0, share=True)).shares.values():
        torch.testing.assert_close(share, torch.full((2, 4, 3), 12 / (3 * 12 + 3)))


def test_a_dropped_garment_is_a_latent_of_zeros(model: CatVTONFlux, make_batch: MakeBatch) -> None:
    conditioning = model.encode(make_batch(), sample=True)
    dropped = conditioning.drop(torch.tensor([True, False]))  # type: ignore[attr-defined]
    assert not dropped.garment[0].any()
    assert torch.equal(dropped.garment[1], conditioning.garment[1])  # type: ignore[attr-defined]
    assert torch.equal(dropped.person, conditioning.person)  # type: ignore[attr-defined]


def test_samples_pictures_that_depend_on_the_garment(
    model: CatVTONFlux, make_batch: MakeBatch
) -> None:
    batch, other = make_batch(), make_batch()
    other["reference"] = -other["reference"]
    settings = SamplerSettings("euler", steps=2, guidance=2.5)
    pictures, others = (generate(model.eval(), each, settings) for each in (batch, other))
    assert pictures.shape == (2, 3, 16, 12)
    assert not torch.equal(pictures, others)


def test_a_class_that_a_library_makes_of_a_layout_is_no_other_layout() -> None:
    """FSDP gives a model such a class."""
    known = dict(CatVTONFlux.layouts)
    assert isinstance(type("FSDPTokensFlux", (TokensFlux,), {}), type)
    assert CatVTONFlux.layouts == known == {"pair": PairFlux, "tokens": TokensFlux}


def test_another_flux_is_refused() -> None:
    parts = (VAE, SCHEDULER, TEXT)
    with pytest.raises(ValueError, match="reads 48 channels, not the 16 of a latent; give a FLUX"):
        CatVTONFlux(TRANSFORMER, *parts, layout="tokens", trainable="all")
    with pytest.raises(ValueError, match=r"model\.layout must be one of pair, tokens, got 'row'"):
        CatVTONFlux(TRANSFORMER, *parts, layout="row", trainable="all")
