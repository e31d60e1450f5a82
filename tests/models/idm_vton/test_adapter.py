"""The image-prompt adapter and the encoders beside it."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from idm_vton_parts import (
    ADAPTER,
    ALL,
    CLIP,
    SCHEDULER,
    SDXL,
    TIMESTEPS,
    VAE,
    build,
    predict,
    scale_adapter,
)
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.attention import AttentionExchange
from leffa.models.clip import clip_pixels
from leffa.models.idm_vton import IDMVTON, Conditioning
from leffa.models.idm_vton.encoders import ImageEncoder, Prompt
from leffa.models.idm_vton.networks import TextAttention, attach, load_tryon, tryon_channels
from leffa.models.loading import SHIPPED, load_unet
from leffa.models.unets import make_generative

transformers = pytest.importorskip("transformers")

LATENT = 16  # channels of the shipped autoencoder


def without_adapter(unet: UNet2DConditionModel) -> None:
    """Stock text attention in the place of the adapter's, in place."""
    unet.encoder_hid_proj = None
    unet.set_attn_processor(
        {
            name: processor if "attn1" in name else TextAttention(name)
            for name, processor in unet.attn_processors.items()
            if not name.startswith("encoder_hid_proj")
        }
    )


def test_an_adapter_of_scale_zero_is_the_network_without_it(batch: Batch, noisy: Tensor) -> None:
    model = build()
    known = model.encode(batch)
    with_adapter = predict(model, noisy, known)
    scale_adapter(model, 0.0)
    silent = predict(model, noisy, known)
    without_adapter(model.unet)
    assert torch.allclose(silent, predict(model, noisy, known), atol=1e-6)
    assert (silent - with_adapter).abs().max() > 1e-3


def test_a_new_adapter_changes_nothing_until_it_has_learnt(batch: Batch, noisy: Tensor) -> None:
    torch.manual_seed(0)
    parts = {"unet": SDXL, "garment_unet": SDXL, "image_encoder": CLIP, "adapter": ADAPTER}
    model = IDMVTON(**parts, vae=VAE, scheduler=SCHEDULER, trainable=ALL)
    known = model.encode(batch)
    begun = predict(model, noisy, known)
    scale_adapter(model, 0.0)
    assert torch.allclose(begun, predict(model, noisy, known), atol=1e-6)


def test_the_shipped_network_begins_as_the_one_that_was_trained(noisy: Tensor) -> None:
    """New cross-attentions stand beside the term that it was trained with."""
    ours = load_tryon(SHIPPED, LATENT, 16, ADAPTER)
    theirs = make_generative(load_unet(SHIPPED), tryon_channels(LATENT))
    names = [name.removesuffix(".processor") for name in theirs.attn_processors]
    features = {
        name: torch.randn(2, 48, theirs.get_submodule(name).to_k.in_features) for name in names
    }
    inputs = torch.randn(2, tryon_channels(LATENT), 8, 6)
    added = {"image_embeds": [torch.randn(2, 1, 5, 16)]}
    exchange = AttentionExchange(features=features, grid=(8, 6), reference_grid=(8, 6))
    with torch.no_grad():
        results = [
            unet(
                inputs,
                TIMESTEPS,
                prompt,
                added_cond_kwargs=added,
                cross_attention_kwargs={"exchange": exchange},
            ).sample
            for unet, prompt in ((ours, torch.zeros(2, 1, 32)), (theirs, None))
        ]
    assert torch.allclose(*results, atol=1e-5)


def test_what_a_new_input_carries_changes_nothing_yet(noisy: Tensor) -> None:
    """The base's channels keep their weights; DensePose begins at zero."""
    unet = load_tryon(SHIPPED, LATENT, 16, ADAPTER)
    assert unet.config.in_channels == tryon_channels(LATENT)
    known = load_unet(SHIPPED).conv_in.weight
    assert torch.equal(unet.conv_in.weight[:, : known.shape[1]], known)
    assert not unet.conv_in.weight[:, known.shape[1] :].any()


def test_one_token_of_zeros_is_as_good_as_77(model: IDMVTON, batch: Batch, noisy: Tensor) -> None:
    known = model.encode(batch)
    assert known.prompt.tokens.shape == (2, 1, 12)
    assert known.prompt.pooled.shape == (2, 16)
    assert not known.prompt.tokens.any()
    longer = Conditioning(
        **{
            **vars(known),
            "prompt": Prompt(torch.zeros(2, 77, 12), known.prompt.pooled),
            "garment_prompt": torch.zeros(2, 77, 12),
        }
    )
    assert torch.allclose(predict(model, noisy, longer), predict(model, noisy, known), atol=1e-6)


def test_the_base_is_told_the_whole_size_of_the_picture(
    model: IDMVTON, batch: Batch, noisy: Tensor
) -> None:
    told = []
    hook = model.unet.add_time_proj.register_forward_pre_hook(
        lambda _, inputs: told.append(inputs[0])
    )
    predict(model, noisy, model.encode(batch))
    hook.remove()
    assert told[0].view(2, 6).tolist() == [[16, 12, 0, 0, 16, 12]] * 2


def test_pictures_are_prepared_as_clip_s_own_processor_does() -> None:
    picture = torch.randint(0, 256, (3, 64, 48), generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(picture.float()[None], 9, 1, 4).round()
    ours = clip_pixels(smooth / 127.5 - 1, 24)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
    )
    theirs = processor(smooth[0].to(torch.uint8), return_tensors="pt").pixel_values
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1.01 / 255 / 0.26  # it rounds to bytes in between


def test_tokens_are_clip_s_states_before_its_last_layer() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder.load(CLIP).eval()
    images = torch.rand(2, 3, 16, 12)
    tokens = encoder(images)
    assert tokens.shape == (2, 5, 16)
    assert encoder.nothing(images).shape == (1, 5, 16)
    torch.nn.init.zeros_(encoder.clip.vision_model.encoder.layers[-1].mlp.fc2.weight)
    assert torch.equal(encoder(images), tokens)


def test_attaching_gives_every_attention_its_processor() -> None:
    unet = UNet2DConditionModel.from_config(SDXL)
    attach(unet, 3)
    kinds = {name.split(".")[-2]: type(p).__name__ for name, p in unet.attn_processors.items()}
    assert kinds == {"attn1": "ReferenceAttention", "attn2": "ImagePromptAttention"}
