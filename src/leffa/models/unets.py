"""Converts a stock diffusers UNet into those of the models, and back.

The surgery leaves stock classes behind. What is cut away never receives a gradient, so distributed
training needs no search for unused parameters.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from leffa.models.attention import (
    FinalFeatureBlock,
    PassthroughAttention,
    ReferenceAttention,
    SelfAttention,
    self_attention_names,
)
from leffa.models.loading import Source, load_unet
from leffa.models.trainable import check_pretrained

log = logging.getLogger(__name__)


def refit_conv_in(unet: UNet2DConditionModel, channels: int, keep: int | None = None) -> None:
    """Give `conv_in` another number of input channels, in place.

    The first `keep` channels (default: as many as both have) keep their weights; new ones start at
    zero, so the output does not change whatever they carry.
    """
    old = unet.conv_in
    keep = min(keep if keep is not None else channels, channels, old.in_channels)
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    new = new.to(old.weight)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, :keep] = old.weight[:, :keep]
        new.bias = old.bias
    if channels != old.in_channels:
        counts = (old.in_channels, channels, keep, channels - keep)
        log.info("conv_in: %d -> %d channels, %d kept, %d new at zero", *counts)
    unet.conv_in = new
    unet.register_to_config(in_channels=channels)


def load_partly_trained(
    source: Source | UNet2DConditionModel, channels: int, trainable: str, base: tuple[str, str]
) -> UNet2DConditionModel:
    """A stock UNet with so many input channels, of which `trainable` is trained.

    Args:
        trainable: "all", or the only part that is trained: the rest must be pretrained.
        base: what such a UNet is of, and the `backbone` that is one.
    """
    whole = trainable == "all"
    if not whole:
        check_pretrained(source, f"model.trainable={trainable}")
    unet = load_unet(source, channels)
    if unet.config.in_channels != channels and not whole:
        raise ValueError(
            f"model.trainable={trainable}: {source} takes {unet.config.in_channels} channels, not "
            f"the {channels} of {base[0]}; take backbone={base[1]}, or model.trainable=all"
        )
    refit_conv_in(unet, channels)
    return unet


def make_generative(
    unet: UNet2DConditionModel, channels: int, keep: int | None = None
) -> UNet2DConditionModel:
    """Turn a stock UNet into the generative one: `channels` inputs, no text, attention on the
    reference. One that is, stays."""
    if _has(unet, PassthroughAttention):
        return unet
    refit_conv_in(unet, channels, keep)
    drop_text_attention(unet)
    unet.set_attn_processor(
        {f"{name}.processor": ReferenceAttention(name) for name in self_attention_names(unet)}
    )
    return unet


def make_reference(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """Turn a stock UNet into the reference one: a clean latent in, nothing kept after the last
    recorded feature. One that is, stays."""
    if _has(unet, FinalFeatureBlock):
        return unet
    refit_conv_in(unet, channels)
    drop_text_attention(unet)
    unet.set_attn_processor(
        {f"{name}.processor": SelfAttention(name) for name in self_attention_names(unet)}
    )
    end_after_final_feature(unet)
    return unet


def drop_text_attention(unet: UNet2DConditionModel) -> None:
    """Put `PassthroughAttention` in the place of every text cross-attention, in place."""
    for name in self_attention_names(unet):
        block = unet.get_submodule(name.removesuffix(".attn1"))
        if block.attn2 is not None:
            block.attn2 = PassthroughAttention()


def end_after_final_feature(unet: UNet2DConditionModel) -> None:
    """Take out of a reference UNet, in place, what runs after its last self-attention's input."""
    last = self_attention_names(unet)[-1]
    stage, index, *_ = last.split(".")
    if stage != "up_blocks":
        raise ValueError(
            f"the last self-attention is {last}; a Leffa backbone needs one in its up blocks"
        )
    up_block = unet.up_blocks[int(index)]
    transformer = up_block.attentions[-1]
    transformer.transformer_blocks[-1] = FinalFeatureBlock(
        last, transformer.transformer_blocks[-1].norm1
    )
    transformer.proj_out = nn.Identity()
    up_block.upsamplers = None
    unet.up_blocks = unet.up_blocks[: int(index) + 1]
    unet.conv_norm_out = None
    unet.conv_out = nn.Identity()


def cut_unets(
    reference_unet: UNet2DConditionModel,
    unet: UNet2DConditionModel,
    latent_channels: int,
    channels: int,
) -> None:
    """Make stock UNets the reference and the generative one, in place; those that are, stay."""
    wanted = {"reference_unet": (reference_unet, latent_channels), "unet": (unet, channels)}
    for name, (network, inputs) in wanted.items():
        if network.config.in_channels != inputs:
            raise ValueError(
                f"{name} takes {network.config.in_channels} channels, {inputs} are wanted; "
                "`leffa convert` makes a folder that fits"
            )
    make_reference(reference_unet, latent_channels)
    make_generative(unet, channels)


def stock_unet(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The stock UNet that ours was cut from, sharing its weights; what was cut away is zeros."""
    with torch.device("meta"):
        stock = UNet2DConditionModel.from_config(unet.config)
    stock.load_state_dict(stock_state(unet), assign=True)
    return stock.eval()


def stock_state(network: Any, unused: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state of the stock network that ours was cut from, with `unused` or zeros for the rest.

    Raises:
        ValueError: a weight of ours has no place in the stock network, and would be lost.
    """
    own, stock = network.state_dict(), stock_weights(network)
    if homeless := [key for key in own if key not in stock]:
        raise ValueError(
            f"{type(network).__name__}: {len(homeless)} weights have no place in the stock "
            f"network, first {homeless[0]!r}; adapters must be merged first "
            "(leffa.models.lora.merge_adapters)"
        )
    known = {**(unused or {}), **own}
    return {
        key: known[key] if key in known else torch.zeros(tensor.shape, dtype=network.dtype)
        for key, tensor in stock.items()
    }


def stock_weights(network: Any) -> dict[str, Tensor]:
    """The weights of the stock network that ours was cut from, without values."""
    with torch.device("meta"):
        state: dict[str, Tensor] = type(network).from_config(network.config).state_dict()
    return state


def _has(unet: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in unet.modules())
