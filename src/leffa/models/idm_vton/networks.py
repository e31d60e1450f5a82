"""Stock UNets become the try-on network and the garment network.

Both keep their text cross-attention, unlike Leffa's. The try-on network gains input channels,
garment features in its self-attentions and the image-prompt adapter in its cross-attentions; the
garment network records its features and ends there.

The shipped small UNet was trained as Leffa uses it: with the normalised input where text attention
was. It keeps that term, and its try-on network gets new cross-attentions beside it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

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
    read_adapter,
    resampler_of,
    resampler_of_published,
    translate_published,
    translate_resampler,
)
from leffa.models.idm_vton.sources import fill, load_stock_unet, locate, read_unet
from leffa.models.unets import (
    NO_TEXT,
    Source,
    end_after_final_feature,
    load_unet,
    make_reference,
    refit_conv_in,
)


class TextAttention(ExchangeProcessor):
    """A text cross-attention of the garment network; it leaves the exchange alone."""

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
    """The garment network: a clean latent in, the input of each self-attention out.

    Args:
        source: "shipped"; a diffusers folder or hub id (its `unet`, or the subfolder that the hub
            id names); or a config, for random weights.
        latent: channels of the autoencoder.
    """
    if source == "shipped":
        return make_reference(load_unet(source), latent)
    if isinstance(source, dict):
        unet = load_unet(source, latent)
    else:
        unet = load_stock_unet(source, **NO_TEXT)
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
        source: as for `load_garment`; or a published folder, whose UNet has the adapter in it.
        latent: channels of the autoencoder.
        image_width: of the image encoder's tokens.
        adapter: an IP-Adapter Plus file; a resampler's config, for a new adapter that changes
            nothing yet; None where the source has one.

    Raises:
        ValueError: the adapter is missing, there is one too many, or a file does not fit.
    """
    if isinstance(source, str | Path) and source != "shipped":
        location, subfolder = locate(source, "unet")
        config = dict(UNet2DConditionModel.load_config(location, subfolder=subfolder))
        if config.get("encoder_hid_dim_type") == "ip_image_proj":
            if adapter is not None:
                raise ValueError(f"model.adapter: {source} has its own; give adapter=null")
            return _published(config, read_unet(location, subfolder), latent, source)
    if adapter is None:
        raise ValueError(
            f"model.adapter: {source} has none; give an IP-Adapter Plus file, or a resampler's "
            "config for a new one"
        )
    unet = _load_base(source, latent)
    width = unet.config.cross_attention_dim
    if isinstance(adapter, dict):
        resampler = new_resampler(adapter, image_width, width)
        attach(unet, resampler.latents.shape[1])
    else:
        tokens, attentions = read_adapter(adapter)
        resampler = resampler_of(tokens, adapter)
        fill(resampler, translate_resampler(tokens), adapter)
        attach(unet, resampler.latents.shape[1])
        fill_processors(unet, attentions, adapter)
    place_resampler(unet, resampler)
    _check_width("model.adapter", unet, image_width)
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
    """Zeros (1, L, C) in the place of every garment feature, as the published guidance has them.

    Args:
        unet: the try-on network.
        grid: (h, w) of the garment's latent.
        like: gives dtype and device.
    """
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


def _load_base(source: Source, latent: int) -> UNet2DConditionModel:
    channels = tryon_channels(latent)
    if source == "shipped":
        unet = load_unet(source)
        _renew_cross_attention(unet)
    elif isinstance(source, dict):
        unet = UNet2DConditionModel.from_config(
            {**source, "encoder_hid_dim_type": None, "in_channels": channels}
        )
    else:
        unet = load_stock_unet(source)
    refit_conv_in(unet, channels)
    return unet


def _published(
    config: dict[str, Any], state: dict[str, Tensor], latent: int, source: str | Path
) -> UNet2DConditionModel:
    """A published try-on network; every key of its file has a place."""
    if config["in_channels"] != tryon_channels(latent):
        raise ValueError(
            f"{source}: its UNet takes {config['in_channels']} channels, "
            f"not the {tryon_channels(latent)} of IDM-VTON"
        )
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(
            {**config, "encoder_hid_dim": None, "encoder_hid_dim_type": None}
        )
        resampler = resampler_of_published(state, source)
        attach(unet, resampler.latents.shape[1])
        place_resampler(unet, resampler)
    fill(unet, translate_published(state), source)
    return unet


def _renew_cross_attention(unet: UNet2DConditionModel) -> None:
    """The shipped UNet's cross-attentions are zeros that were never trained: new ones, beside the
    term that stood in their place."""
    for name in [name for name in unet.attn_processors if not _is_self(name)]:
        block = unet.get_submodule(_layer(name).removesuffix(".attn2"))
        for projection in (block.attn2.to_q, block.attn2.to_k, block.attn2.to_out[0]):
            projection.reset_parameters()
        nn.init.zeros_(block.attn2.to_out[0].bias)
        block.attn2 = BesideInput(block.attn2)


def _check_width(key: str, unet: UNet2DConditionModel, image_width: int) -> None:
    resampler = unet.encoder_hid_proj.image_projection_layers[0]
    if resampler.proj_in.in_features != image_width:
        raise ValueError(
            f"{key}: reads image tokens {resampler.proj_in.in_features} wide, and the image "
            f"encoder's are {image_width}"
        )


def _layer(processor: str) -> str:
    return processor.removesuffix(".processor")


def _is_self(processor: str) -> bool:
    return processor.endswith(".attn1.processor")
