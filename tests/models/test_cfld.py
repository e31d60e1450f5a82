"""CFLD behind the interface of every model, on tiny networks."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import FlowRequest, LeffaLoss, coordinates
from leffa.models.cfld import CFLD, Conditioning
from leffa.models.cfld.attention import prompt_flow
from leffa.models.cfld.count import count_parameters, parameter_table
from leffa.models.cfld.decoder import PerceptionDecoder
from leffa.models.cfld.encoder import SourceEncoder
from leffa.models.cfld.published import published_keys
from leffa.models.interface import Prediction
from leffa.models.sampler import SamplerSettings, generate, guided_noise
from leffa.models.unets import drop_text_attention, load_unet, load_vae, refit_conv_in
from leffa.training.objective import TrainingObjective

pytest.importorskip("timm")

MakeBatch = Callable[..., Batch]

UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": [16, 32, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 8,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.5,
}
ENCODER = {  # stages of 16, 8, 4 and 2 cells
    "image_size": 64,
    "embed_dim": 8,
    "depths": (2, 1, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 4,
    "drop_path_rate": 0.0,
}
DECODER = {"queries": 5, "depth": 2, "heads": 3}
SHOWN = [f"up_blocks.{b}.attentions.{a}.transformer_blocks.0.attn2" for b in (1, 2) for a in (0, 1)]
ALL_LAYERS = FlowRequest(temperature=1.0, min_resolution=0.0)
TIMESTEPS = torch.tensor([100, 700])


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pretrained tiny base."""
    place = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(UNET).save_pretrained(place / "unet")
    AutoencoderKL.from_config(VAE).save_pretrained(place / "vae")
    DDPMScheduler(beta_schedule="scaled_linear").save_pretrained(place / "scheduler")
    return place


def build(base: Path, seed: int = 0, **changes: Any) -> CFLD:
    """With biases that are not zero, unlike at the start of a training."""
    torch.manual_seed(seed)
    parts = {"encoder": ENCODER, "decoder": DECODER, "appearance_depth": 1}
    model = CFLD.build(base, base, base, **(parts | changes))
    for bias in model.appearance.biases:
        torch.nn.init.normal_(bias.conv_in.weight, std=0.5)
        torch.nn.init.normal_(bias.conv_out.weight, std=0.5)
    return model.eval()


@pytest.fixture
def model(base: Path) -> CFLD:
    return build(base)


@pytest.fixture
def with_pose(make_batch: MakeBatch) -> MakeBatch:
    """Makes a batch of noise that has a pose."""

    def make(count: int = 2, height: int = 16, width: int = 12) -> Batch:
        batch = make_batch(count, height, width)
        generator = torch.Generator().manual_seed(6)
        batch["pose"] = torch.rand(count, 21, height, width, generator=generator)
        return batch

    return make


def noise_for(model: CFLD, batch: Batch) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.randn(len(batch["name"]), *model.latent_shape(batch), generator=generator)


def predict(
    model: CFLD,
    batch: Batch,
    flow: FlowRequest | None = None,
    conditioning: Conditioning | None = None,
) -> Prediction:
    timesteps = TIMESTEPS.repeat(len(batch["name"]))[: len(batch["name"])]
    known = conditioning or model.encode(batch)
    return model.predict_noise(noise_for(model, batch), timesteps, known, flow)


def leffa_loss(prediction: Prediction, batch: Batch) -> Tensor:
    pictures = (batch["reference"], batch["source"], batch["loss_region"])
    return LeffaLoss()(prediction.flows, *pictures).total


def gradients(model: CFLD) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def trained(model: CFLD) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def heads_first(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


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
    model = CFLD.build(base, base, base, ENCODER, DECODER, appearance_depth=1)
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


def test_a_place_is_where_the_tokens_of_the_decoder_looked() -> None:
    """One block written out: softmax over the picture, times its coordinates, mean over heads."""
    torch.manual_seed(0)
    decoder = PerceptionDecoder(12, 8, (3, 2), queries=5, depth=1, heads=3)
    feature = torch.randn(2, 8, 3, 2) * 3
    prompt, places = decoder(feature)
    assert prompt.shape == (2, 5, 12)
    block = decoder.blocks[0]
    picture = feature.flatten(2).transpose(1, 2) + decoder.picture_positions
    query = block.attn2.to_q(block.norm2(decoder.queries + decoder.positions)[None])
    query, key = (heads_first(tokens, 3) for tokens in (query, block.attn2.to_k(picture)))
    weights = (query @ key.transpose(-1, -2) / math.sqrt(4)).softmax(-1).mean(1)
    grid = coordinates((3, 2), device=feature.device, dtype=feature.dtype)
    torch.testing.assert_close(places, weights @ grid)


def test_the_decoder_is_a_transformer_that_looks_first_and_adds_positions_twice() -> None:
    """One block written out with torch's own attention (models/decoder.py of the authors)."""
    torch.manual_seed(0)
    decoder = PerceptionDecoder(12, 8, (2, 2), queries=4, depth=1, heads=3)
    feature, block = torch.randn(2, 8, 2, 2), decoder.blocks[0]

    def attention(layer: Any, seen: Tensor, given: Tensor) -> Tensor:
        return F.multi_head_attention_forward(
            *(tokens.transpose(0, 1) for tokens in (given, seen, seen)),
            embed_dim_to_check=12,
            num_heads=3,
            in_proj_weight=None,
            in_proj_bias=None,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=layer.to_out[0].weight,
            out_proj_bias=layer.to_out[0].bias,
            need_weights=False,
            use_separate_proj_weight=True,
            q_proj_weight=layer.to_q.weight,
            k_proj_weight=layer.to_k.weight,
            v_proj_weight=layer.to_v.weight,
        )[0].transpose(0, 1)

    picture = feature.flatten(2).transpose(1, 2) + decoder.picture_positions
    tokens = decoder.queries.expand(2, -1, -1) + decoder.positions
    tokens = tokens + attention(block.attn2, picture, block.norm2(tokens)) + decoder.positions
    normal = block.norm1(tokens)
    tokens = tokens + attention(block.attn1, normal, normal)
    tokens = tokens + block.ff(block.norm3(tokens))
    torch.testing.assert_close(decoder(feature)[0], tokens)


def test_the_flow_is_the_product_of_both_attentions() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 3, tokens, 4, generator=generator) for tokens in (6, 5))
    places = torch.rand(2, 5, 2, generator=generator) * 2 - 1
    weights = (query @ key.transpose(-1, -2) / (2.0 * math.sqrt(4))).softmax(-1).mean(1)
    torch.testing.assert_close(prompt_flow(query, key, places, 2.0), weights @ places)


def test_flows_come_from_the_up_blocks_that_are_fine_enough(
    model: CFLD, with_pose: MakeBatch
) -> None:
    batch = with_pose()
    for least, layers in ((0.51, []), (0.5, SHOWN[2:]), (0.25, SHOWN)):
        assert list(predict(model, batch, FlowRequest(min_resolution=least)).flows) == layers
    prediction = predict(model, batch, FlowRequest(1.0, 0.0, sharpness=True))
    assert set(prediction.sharpness) == set(prediction.flows) == set(SHOWN)
    assert all(flow.abs().max() <= 1 for flow in prediction.flows.values())


def test_asking_for_flows_changes_no_noise_and_some_samples_are_those_of_all(
    model: CFLD, with_pose: MakeBatch
) -> None:
    batch, chosen = with_pose(4), torch.tensor([3, 1])
    quiet, everyone = predict(model, batch), predict(model, batch, ALL_LAYERS)
    assert quiet.flows == {}
    assert torch.equal(quiet.noise, everyone.noise)
    some = predict(model, batch, FlowRequest(1.0, 0.0, samples=chosen)).flows
    for name, flow in some.items():
        torch.testing.assert_close(flow, everyone.flows[name][chosen])


def test_exactly_what_is_published_as_trained_gets_a_gradient(
    base: Path, with_pose: MakeBatch
) -> None:
    model = build(base, gradient_checkpointing=False).train()
    objective = TrainingObjective(reference_dropout=0.5, timestep_law="cubic")
    loss = LeffaLoss(min_resolution=0.0, max_timestep=1000)
    objective(model, with_pose(4), loss, torch.Generator().manual_seed(0)).loss.backward()
    of_unet = {f"unet.{name}.{p}.weight" for name in SHOWN for p in ("to_k", "to_v")}
    assert {name for name in trained(model) if name.startswith("unet.")} == of_unet
    others = {name.split(".")[0] for name in trained(model) - of_unet}
    assert others == {"encoder", "decoder", "appearance", "pose_adapter", "no_prompt"}
    assert set(gradients(model)) == trained(model)


def test_everything_but_the_autoencoder_is_trained_where_that_is_wanted(
    base: Path, with_pose: MakeBatch
) -> None:
    model = build(base, trainable="all").train()
    known = model.encode(with_pose()).drop(torch.tensor([True, False]))
    predict(model, with_pose(), conditioning=known).noise.square().mean().backward()
    assert trained(model) == {n for n, _ in model.named_parameters() if not n.startswith("vae.")}
    assert set(gradients(model)) == trained(model)


def test_the_leffa_loss_teaches_prompt_biases_and_encoder(
    model: CFLD, with_pose: MakeBatch
) -> None:
    batch = with_pose()
    leffa_loss(predict(model, batch, ALL_LAYERS), batch).backward()
    reached = {name for name, gradient in gradients(model).items() if gradient.abs().max() > 0}
    assert {f"unet.{name}.to_k.weight" for name in SHOWN} <= reached
    assert {"decoder.queries", "decoder.blocks.0.attn2.to_q.weight"} <= reached
    assert {"appearance.biases.0.conv_out.weight", "encoder.swin.patch_embed.proj.weight"} < reached


def test_the_reference_is_mirrored_for_the_encoder_alone(base: Path, with_pose: MakeBatch) -> None:
    """In training; the places are those in the reference as the batch has it."""
    batch = with_pose()
    turned: Batch = {**batch, "reference": batch["reference"].flip(-1)}
    always, never = (build(base, reference_flip=share).train() for share in (1.0, 0.0))
    flipped, plain = always.encode(batch, sample=True), never.encode(turned, sample=True)
    torch.testing.assert_close(flipped.prompt, plain.prompt)
    torch.testing.assert_close(flipped.places, plain.places * torch.tensor([-1.0, 1.0]))
    assert torch.equal(flipped.pose[0], plain.pose[0])
    validated = always.eval().encode(batch, sample=True)
    assert torch.equal(validated.prompt, never.eval().encode(batch).prompt)


def test_stochastic_depth_follows_from_the_step_s_generator(
    base: Path, with_pose: MakeBatch
) -> None:
    model = build(base, encoder=ENCODER | {"drop_path_rate": 0.5}, reference_flip=0.0).train()
    batch, before = with_pose(8), torch.get_rng_state()

    def prompt(seed: int) -> Tensor:
        return model.encode(batch, torch.Generator().manual_seed(seed), sample=True).prompt

    first = prompt(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(prompt(1), first)
    assert not torch.equal(prompt(2), first)


def test_checkpointing_changes_neither_flows_nor_gradients(
    base: Path, with_pose: MakeBatch
) -> None:
    """With stochastic depth, which must be drawn the same the second time."""
    encoder = ENCODER | {"drop_path_rate": 0.5}
    models = [
        build(base, encoder=encoder, gradient_checkpointing=on, trainable="all").train()
        for on in (False, True)
    ]
    batch, predictions = with_pose(), []
    for model in models:
        known = model.encode(batch, torch.Generator().manual_seed(3), sample=True)
        predictions.append(predict(model, batch, ALL_LAYERS, known))
    torch.testing.assert_close(predictions[1].flows, predictions[0].flows)
    for prediction in predictions:
        (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    torch.testing.assert_close(gradients(models[1]), gradients(models[0]))
    assert models[1].encoder.swin.layers[0].grad_checkpointing


def test_a_model_in_16_bits_samples(model: CFLD, with_pose: MakeBatch) -> None:
    model.to(torch.bfloat16)
    batch = with_pose()
    for key in ("source", "reference", "pose"):
        batch[key] = batch[key].bfloat16()  # type: ignore[literal-required]
    pictures = generate(model, batch, SamplerSettings(scheduler="ddim", steps=2, guidance=1.5))
    assert pictures.dtype == torch.bfloat16
    assert pictures.isfinite().all()


def test_samples_pictures_that_depend_on_the_reference(model: CFLD, with_pose: MakeBatch) -> None:
    batch, other = with_pose(), with_pose()
    other["reference"] = -other["reference"]
    settings = SamplerSettings(scheduler="ddim", steps=2, guidance=1.5, reference_cache=True)
    pictures, others = (generate(model, each, settings) for each in (batch, other))
    assert pictures.shape == (2, 3, 16, 12)
    assert not torch.equal(pictures, others)


def test_only_the_source_is_encoded_and_a_cache_may_bring_it(
    model: CFLD, with_pose: MakeBatch
) -> None:
    batch = with_pose()
    assert model.inputs == {"pose"}
    latents = model.latents(batch)
    assert set(latents) == {"source"}
    expected = model.vae.encode(batch["source"]).latent_dist.mode() * 0.5
    target = model.encode_target({**batch, "latents": latents, "source": -batch["source"]})
    torch.testing.assert_close(target, expected)


def test_a_checkpoint_needs_what_is_trained_alone(base: Path, with_pose: MakeBatch) -> None:
    first, second = build(base, 1), build(base, 2)
    with torch.no_grad():
        for name in trained(first):
            first.get_parameter(name).add_(0.05)
    kept = {k: v for k, v in first.state_dict().items() if k not in first.left_out()}
    assert set(kept) == trained(first)
    second.load_state_dict(kept, strict=False)
    expected = predict(first, with_pose()).noise
    torch.testing.assert_close(predict(second, with_pose()).noise, expected, atol=0, rtol=0)


def test_a_checkpoint_of_the_whole_network_lacks_the_autoencoder_alone(base: Path) -> None:
    model = build(base, trainable="all")
    assert model.left_out() == {key for key in model.state_dict() if key.startswith("vae.")}


def test_the_shipped_network_begins_as_the_one_that_was_trained(with_pose: MakeBatch) -> None:
    """It knows no text: new cross-attentions stand beside the term that it was trained with."""
    scheduler = {"beta_schedule": "scaled_linear"}
    decoder = DECODER | {"heads": 4}
    model = CFLD.build("shipped", "shipped", scheduler, ENCODER, decoder, 1, trainable="all")
    stock = load_unet("shipped")
    refit_conv_in(stock, 4)
    drop_text_attention(stock)
    batch = with_pose(2, 32, 24)
    known = Conditioning(**(vars(model.encode(batch)) | {"pose": ()}))
    noisy = noise_for(model, batch)
    with torch.no_grad():
        begun = model.predict_noise(noisy, TIMESTEPS, known).noise
        torch.testing.assert_close(begun, stock(noisy, TIMESTEPS, None).sample)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trainable": "some"}, r"model\.trainable must be 'prompt' or 'all', got 'some'"),
        ({"unet": UNET}, "this backbone's is random; take a pretrained backbone, or model.train"),
        ({"unet": "shipped"}, "shipped takes 9 channels, not the 4 of a latent; take backbone="),
        ({"start_from": {"swin": "x"}}, "unknown swin; known are encoder, published"),
        ({"decoder": DECODER | {"heads": 5}}, "heads=5: does not divide 12, the width of the pro"),
        ({"encoder": ENCODER | {"image_size": 48}}, "image_size=48: is no multiple of 32, one"),
        (
            {"encoder": ENCODER | {"depths": (1, 1), "num_heads": (1, 1)}},
            "needs 3 stages, since the UNet attends to the prompt after 1 halvings; it has 2",
        ),
        ({"reference_flip": 1.5}, r"reference_flip must lie in \[0, 1\], got 1\.5"),
        (
            {
                "unet": UNET
                | {"down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"]},
                "trainable": "all",
            },
            "its first down block is a DownBlock2D; CFLD adds the pose to blocks with cross-att",
        ),
        (
            {
                "unet": UNET | {"up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"]},
                "encoder": ENCODER | {"depths": (1, 1), "num_heads": (1, 1)},
                "trainable": "all",
            },
            "needs 4 stages",
        ),
        (
            {"unet": UNET | {"up_block_types": ["UpBlock2D"] * 3}, "trainable": "all"},
            "has no cross-attention in its up blocks, unlike SD1.5",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    base: Path, changes: dict[str, Any], line: str
) -> None:
    parts = {"unet": base, "encoder": ENCODER, "decoder": DECODER, "appearance_depth": 1}
    with pytest.raises(ValueError, match=line) as caught:
        CFLD.build(vae=base, scheduler=base, **(parts | changes))
    assert "\n" not in str(caught.value)


def test_a_base_without_text_is_refused_where_it_would_stay_as_it_is(
    base: Path, tmp_path: Path
) -> None:
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    for name, parameter in unet.named_parameters():
        if ".attn2.to_out." in name:
            torch.nn.init.zeros_(parameter)
    unet.save_pretrained(tmp_path / "unet")
    with pytest.raises(ValueError, match="this base was trained without text"):
        CFLD.build(tmp_path, base, base, ENCODER, DECODER, 1)


def test_a_batch_without_a_pose_is_told_what_to_set(model: CFLD, make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match="no pose: set pose=true in the data's transform"):
        model.encode(make_batch())


@pytest.fixture(scope="module")
def whole() -> CFLD:
    """The network at its published sizes, without values."""
    sd15_vae = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({"in_channels": 4, "cross_attention_dim": 768})
        return CFLD(load_vae(sd15_vae), unet, SourceEncoder(), {"beta_schedule": "scaled_linear"})


def test_the_parts_have_their_numbers_of_parameters_at_the_published_sizes(whole: CFLD) -> None:
    """248.2 million trained is what we know from the paper; it counts no parts."""
    assert {part: tuple(count) for part, count in count_parameters(whole).items()} == {
        "source encoder": (86_991_864, 86_991_864),
        "perception-refined decoder": (97_724_416, 97_724_416),
        "hybrid-granularity attention": (22_549_632, 22_549_632),
        "pose adapter": (30_636_480, 30_636_480),
        "UNet": (10_321_920, 859_520_964),
        "autoencoder": (0, 83_653_863),
        "all": (248_224_312, 1_181_077_219),
    }
    assert parameter_table(whole).splitlines()[-1].split() == ["all", "248.22", "M", "1181.08", "M"]


def test_the_keys_of_the_authors_files_have_their_names_and_shapes(whole: CFLD) -> None:
    """As their code makes them (models/*.py); every parameter but the autoencoder's has one."""
    keys = {key: tuple(place.shape) for key, place in published_keys(whole).items()}
    assert len(keys) == len(list(whole.parameters())) - len(list(whole.vae.parameters()))
    expected = {
        "backbone.layers.0.downsample.reduction.weight": (256, 512),
        "backbone.layers.2.blocks.17.attn.relative_position_bias_table": (961, 16),
        "backbone.layers.3.blocks.1.attn.relative_position_bias_table": (225, 32),
        "decoder.query_feat": (16, 768),
        "decoder.pos_embed": (16, 768),
        "decoder.kv_pos_embed": (1, 64, 1024),
        "decoder.blocks.7.attn2.to_k.weight": (768, 1024),
        "appearance_encoder.zero_conv_ins.0.weight": (64, 128, 1, 1),
        "appearance_encoder.zero_conv_outs.0.weight": (320, 64, 1, 1),
        "appearance_encoder.zero_conv_outs.8.bias": (1280,),
        "appearance_encoder.blocks.8.3.ff.net.2.weight": (256, 1024),
        "pose_encoder.conv_in.weight": (320, 336, 1, 1),
        "pose_encoder.resnets.2.conv_shortcut.weight": (1280, 640, 1, 1),
        "learnable_vector": (1, 16, 768),
        "model.up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    }
    assert {key: keys.get(key) for key in expected} == expected
    assert not any("layers.3.downsample" in key for key in keys)
    parts = ("backbone", "decoder", "appearance_encoder", "pose_encoder", "learnable_vector")
    assert {key.split(".")[0] for key in keys} == {*parts, "model"}
