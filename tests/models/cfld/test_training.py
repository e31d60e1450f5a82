"""What is trained, what a checkpoint holds, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from cfld_parts import DECODER, ENCODER, SHOWN, TIMESTEPS, UNET, build, predict, trained
from diffusers import UNet2DConditionModel
from model_parts import ALL_LAYERS, MakeBatch, gradients, leffa_loss, noise_for
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.models.cfld import CFLD, Conditioning
from leffa.models.loading import SHIPPED, load_unet
from leffa.models.unets import drop_text_attention, refit_conv_in
from leffa.training.objective import DiffusionObjective

pytest.importorskip("timm")


def test_exactly_what_is_published_as_trained_gets_a_gradient(
    base: Path, with_pose: MakeBatch
) -> None:
    model = build(base, gradient_checkpointing=False).train()
    objective = DiffusionObjective(reference_dropout=0.5, timestep_sampling="cubic")
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


def test_flips_and_stochastic_depth_follow_the_sample_whatever_its_batch(
    base: Path, with_pose: MakeBatch
) -> None:
    model = build(base, encoder=ENCODER | {"drop_path_rate": 0.5}).train()
    batch, before = with_pose(4), torch.get_rng_state()

    def prompt(first: int, last: int, seed: int = 0) -> Tensor:
        part = {key: value[first:last] for key, value in batch.items()}
        generators = [torch.Generator().manual_seed(seed + n) for n in range(first, last)]
        return model.encode(part, generators, sample=True).prompt  # type: ignore[arg-type]

    whole = prompt(0, 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(torch.cat([prompt(0, 1), prompt(1, 4)]), whole)
    assert not torch.allclose(prompt(0, 4, seed=9), whole)
    model.eval()
    assert torch.equal(prompt(0, 4), prompt(0, 4, seed=9))


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiling_changes_neither_flows_nor_gradients(base: Path, with_pose: MakeBatch) -> None:
    torch.compiler.reset()  # other sizes were compiled before
    plain, compiled = (build(base, trainable="all") for _ in range(2))
    for name in ("encoder", "decoder", "appearance", "pose_adapter", "unet"):
        compiled.get_submodule(name).compile(backend="aot_eager", fullgraph=True)
    batch = with_pose()
    predictions = [predict(model, batch, ALL_LAYERS) for model in (plain, compiled)]
    torch.testing.assert_close(predictions[1].noise, predictions[0].noise)
    torch.testing.assert_close(predictions[1].flows, predictions[0].flows)
    for prediction in predictions:
        (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    torch.testing.assert_close(gradients(compiled), gradients(plain))


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
    excluded = first.excluded_keys()
    kept = {k: v for k, v in first.state_dict().items() if k not in excluded}
    assert set(kept) == trained(first)
    second.load_state_dict(kept, strict=False)
    expected = predict(first, with_pose()).noise
    torch.testing.assert_close(predict(second, with_pose()).noise, expected, atol=0, rtol=0)


def test_the_shipped_network_begins_as_the_one_that_was_trained(with_pose: MakeBatch) -> None:
    """It knows no text: new cross-attentions stand beside the term that it was trained with."""
    scheduler = {"beta_schedule": "scaled_linear"}
    decoder = DECODER | {"heads": 4}
    model = CFLD(SHIPPED, SHIPPED, scheduler, ENCODER, decoder, 1, trainable="all")
    stock = load_unet(SHIPPED)
    refit_conv_in(stock, model.vae.config.latent_channels)
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
        ({"trainable": "some"}, r"model\.trainable must be one of prompt, all, got 'some'"),
        ({"unet": UNET}, "this backbone's is random; take a pretrained backbone, or model.train"),
        ({"unet": SHIPPED}, f"{SHIPPED} takes 33 channels, not the 4 of a latent; take backbone="),
        ({"decoder": DECODER | {"heads": 5}}, "heads=5: does not divide 12, the width of the pro"),
        ({"encoder": ENCODER | {"image_size": 48}}, "image_size=48: is not a multiple of 32, one"),
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
        CFLD(vae=base, scheduler=base, **(parts | changes))
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
        CFLD(tmp_path, base, base, ENCODER, DECODER, 1)


def test_a_batch_without_a_pose_is_told_what_to_set(model: CFLD, make_batch: MakeBatch) -> None:
    with pytest.raises(ValueError, match="no pose: set pose=true in the data's transform"):
        model.encode(make_batch())
