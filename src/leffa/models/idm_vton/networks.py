"""Builds the try-on network and the garment network from stock UNets.

Both keep their text cross-attention, unlike Leffa's. The try-on network gains input channels,
garment features in its self-attentions and the image-prompt adapter in its cross-attentions; the
garment network records its features and ends there.

The shipped small UNet was trained with the normalised input where text attention was. Its try-on
network keeps that term, and gets new cross-attentions beside it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from leffa.io.weights import fill
from leffa.models.attention import (
    ExchangeProcessor,
    ReferenceAttention,
    SelfAttention,
    attend,
    halved,
    layer_level,
    project,
)
from leffa.models.idm_vton.adapter import (
    fill_processors,
    new_processor,
    new_resampler,
    place_resampler,
    published_resampler,
    read_adapter,
    split_published,
)
from leffa.models.loading import (
    Source,
    is_shipped,
    load_unet,
    locate,
    read_network,
)
from leffa.models.unets import end_after_final_feature, make_reference, refit_conv_in

# In the config of a base that gets an adapter later; unlike `NO_TEXT`, text is still read.
NO_ADAPTER = {"encoder_hid_dim": None, "encoder_hid_dim_type": None}


class TextAttention(ExchangeProcessor):
    """A text cross-attention of the garment network; it has no part in the exchange."""

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: Any
    ) -> Tensor:
        return attend(attn, *project(attn, tokens, text))


class BesideInput(nn.Module):
    """A cross-attention whose input is added to its result, see `PassthroughAttention`."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return hidden_states + self.attention(hidden_states, *args, **kwargs)


def tryon_channels(latent: int) -> int:
    """Noisy, mask, masked source, DensePose: 13 for a latent of 4 channels."""
    return 3 * latent + 1


def load_garment(source: Source, latent: int) -> UNet2DConditionModel:
    """The garment network: a clean latent of so many channels in, the input of each self-attention
    out."""
    if is_shipped(source):
        return make_reference(load_unet(source), latent)
    unet = load_unet(source, latent)
    refit_conv_in(unet, latent)
    unet.set_attn_processor(
        {
            name: (SelfAttention if _is_self(name) else TextAttention)(_layer(name))
            for name in unet.attn_processors
        }
    )
    end_after_final_feature(unet)
    return unet


def load_tryon(
    source: Source, latent: int, image_width: int, adapter: str | Path | dict[str, Any] | None
) -> UNet2DConditionModel:
    """The try-on network, with its adapter.

    Args:
        source: of a base; or a published folder, whose UNet has the adapter in it.
        latent: channels of the autoencoder.
        image_width: of the image encoder's tokens.
        adapter: an IP-Adapter Plus file; a resampler's config, for a new adapter that changes
            nothing yet; None where the source has one.
    """
    if _has_adapter(source):
        if adapter is not None:
            raise ValueError(f"model.adapter: {source} has its own; give adapter=null")
        unet = _load_published(source, latent)
    elif adapter is None:
        raise ValueError(
            f"model.adapter: {source} has none; give an IP-Adapter Plus file, or a resampler's "
            "config for a new one"
        )
    else:
        unet = _load_base(source, latent)
        _add_adapter(unet, adapter, image_width)
    width = unet.encoder_hid_proj.image_projection_layers[0].proj_in.in_features
    if width != image_width:
        raise ValueError(
            f"model.adapter: reads image tokens {width} wide, and the image encoder's are "
            f"{image_width}"
        )
    return unet


def attach(unet: UNet2DConditionModel, tokens: int) -> None:
    """Give a stock UNet, in place, garment features in its self-attentions and an adapter of so
    many tokens in its cross-attentions."""
    unet.set_attn_processor(
        {
            name: ReferenceAttention(_layer(name))
            if _is_self(name)
            else new_processor(unet.get_submodule(_layer(name)), tokens)
            for name in unet.attn_processors
        }
    )


def no_features(
    unet: UNet2DConditionModel, grid: tuple[int, int], like: Tensor
) -> dict[str, Tensor]:
    """Zeros (1, L, C) in the place of every garment feature, as the published guidance has them;
    of a garment latent of `grid` (h, w), with the dtype and device of `like`."""
    zeros = {}
    for name in map(_layer, filter(_is_self, unet.attn_processors)):
        height, width = halved(grid, layer_level(unet, name))
        channels = unet.get_submodule(name).to_k.in_features
        zeros[name] = like.new_zeros(1, height * width, channels)
    return zeros


def freeze_text(unet: UNet2DConditionModel) -> None:
    """Freeze the text's keys and values: without captions they are given zeros, and learn
    nothing."""
    for name in unet.attn_processors:
        if ".attn2." in name:  # and not the resampler's attentions, which read the garment
            attention = unet.get_submodule(_layer(name))
            attention.to_k.requires_grad_(False)
            attention.to_v.requires_grad_(False)


def pooled_width(unet: Any) -> int:
    """Of the pooled text that a UNet's added embedding takes beside six crop sizes; 0: none."""
    if unet.config.addition_embed_type != "text_time":
        return 0
    whole = unet.config.projection_class_embeddings_input_dim
    return int(whole - 6 * unet.config.addition_time_embed_dim)


def check_fit(unet: Any, garment_unet: Any, text_width: int | None) -> None:
    """Raise ValueError where networks cannot read each other, or the text, whose tokens have a
    width of `text_width` (None: no text)."""
    layers, garment_layers = (
        {
            name: module.weight.shape[0]
            for name, module in network.named_modules()
            if name.endswith(".norm1") and "transformer_blocks" in name
        }
        for network in (unet, garment_unet)
    )
    if differing := sorted(dict(layers.items() ^ garment_layers.items())):
        raise ValueError(
            "model.garment_unet: must have the same self-attentions as model.unet, and differs in "
            f"{differing[0].removesuffix('.norm1')}"
        )
    if text_width is None:
        return
    for key, network in (("unet", unet), ("garment_unet", garment_unet)):
        reads_text = any(".attn2." in name for name in network.attn_processors)
        width = network.config.cross_attention_dim
        if not reads_text or width != text_width:
            raise ValueError(
                f"model.text: its tokens are {text_width} wide, and model.{key} reads "
                f"{width if reads_text else 'no text'}; give text=null"
            )


def _has_adapter(source: Source) -> bool:
    """Whether a folder or hub id has a UNet with an image-prompt adapter in it."""
    if isinstance(source, dict) or is_shipped(source):
        return False
    location, subfolder = locate(source, "unet")
    config = UNet2DConditionModel.load_config(location, subfolder=subfolder)
    return bool(config.get("encoder_hid_dim_type") == "ip_image_proj")


def _load_published(source: Any, latent: int) -> UNet2DConditionModel:
    """A published try-on network; every key of its file has a place."""
    location, subfolder = locate(source, "unet")
    config = UNet2DConditionModel.load_config(location, subfolder=subfolder)
    if config["in_channels"] != tryon_channels(latent):
        raise ValueError(
            f"{source}: its UNet takes {config['in_channels']} channels, "
            f"not the {tryon_channels(latent)} of IDM-VTON"
        )
    tokens, state = split_published(read_network(location, subfolder))
    with torch.device("meta"):  # until it is filled
        unet = UNet2DConditionModel.from_config({**config, **NO_ADAPTER})
    resampler = published_resampler(unet, tokens, source)
    with torch.device("meta"):
        attach(unet, resampler.latents.shape[1])
    fill(unet, state, source)
    place_resampler(unet, resampler)
    return unet


def _load_base(source: Source, latent: int) -> UNet2DConditionModel:
    channels = tryon_channels(latent)
    if is_shipped(source):
        unet = load_unet(source)
        _renew_cross_attention(unet)
    else:
        unet = load_unet(source, channels, changes=NO_ADAPTER)
    refit_conv_in(unet, channels)
    return unet


def _add_adapter(
    unet: UNet2DConditionModel, adapter: str | Path | dict[str, Any], image_width: int
) -> None:
    """Give a base the adapter of a file, or a new one of a config, in place."""
    if isinstance(adapter, dict):
        resampler = new_resampler(adapter, image_width, unet.config.cross_attention_dim)
        attach(unet, resampler.latents.shape[1])
    else:
        tokens, attentions = read_adapter(adapter)
        resampler = published_resampler(unet, tokens, adapter)
        attach(unet, resampler.latents.shape[1])
        fill_processors(unet, attentions, adapter)
    place_resampler(unet, resampler)


def _renew_cross_attention(unet: UNet2DConditionModel) -> None:
    """The shipped UNet's cross-attentions are zeros that were never trained: new ones, beside the
    term that stood in their place."""
    for name in [name for name in unet.attn_processors if not _is_self(name)]:
        block = unet.get_submodule(_layer(name).removesuffix(".attn2"))
        for projection in (block.attn2.to_q, block.attn2.to_k, block.attn2.to_out[0]):
            projection.reset_parameters()
        nn.init.zeros_(block.attn2.to_out[0].bias)
        block.attn2 = BesideInput(block.attn2)


def _layer(processor: str) -> str:
    return processor.removesuffix(".processor")


def _is_self(processor: str) -> bool:
    return processor.endswith(".attn1.processor")
