"""From a stock diffusers UNet to a Leffa UNet: load it, refit its first convolution, drop what is
never used.

The surgery leaves stock classes behind; only parameters that never receive a gradient are gone, so
that distributed training needs no search for unused ones.
"""

import logging
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import nn

from leffa.models.attention import (
    FinalFeatureBlock,
    PassthroughAttention,
    ReferenceAttention,
    SelfAttention,
    self_attention_names,
)

log = logging.getLogger(__name__)

# "shipped", a diffusers folder, a hub id, or a config for random weights.
Source: TypeAlias = str | Path | dict[str, Any]
Autoencoder: TypeAlias = AutoencoderKL | AutoencoderTiny

# SDXL conditions on text and on crop sizes through `add_embedding`; Leffa has no text and drops
# both.
NO_TEXT = {"addition_embed_type": None, "encoder_hid_dim_type": None}

ASSETS = Path(__file__).parent.parent / "assets"
SHIPPED_VAE = ASSETS / "tiny_vae"
SHIPPED_UNET = ASSETS / "tiny_unet"


def shapes_alone() -> bool:
    """Whether networks are made under `torch.device("meta")`, where nothing has values: of a source
    its config is read then, and no weights."""
    return torch.get_default_device().type == "meta"


def load_unet(source: Source, channels: int | None = None) -> UNet2DConditionModel:
    """A stock UNet: "shipped", a diffusers folder or hub id (its `unet` subfolder), or a new one
    from a config dict, which may be told its input channels."""
    if isinstance(source, dict):
        config = {**source, **NO_TEXT}
        return UNet2DConditionModel.from_config(
            config if channels is None else {**config, "in_channels": channels}
        )
    subfolder = None if source == "shipped" else "unet"
    if subfolder is not None:
        _check_folder(source, subfolder)
    location = SHIPPED_UNET if source == "shipped" else source
    if shapes_alone():
        return unet_without_values(location, subfolder, **NO_TEXT)
    return UNet2DConditionModel.from_pretrained(
        location,
        subfolder=subfolder,
        torch_dtype=torch.float32,
        low_cpu_mem_usage=False,
        **NO_TEXT,
    )


def unet_without_values(
    location: str | Path, subfolder: str | None, **changes: Any
) -> UNet2DConditionModel:
    """The UNet of a folder's config, with some of its values changed; see `shapes_alone`."""
    config = UNet2DConditionModel.load_config(location, subfolder=subfolder)
    return UNet2DConditionModel.from_config({**config, **changes})


def load_vae(source: Source) -> Autoencoder:
    """A frozen autoencoder: "shipped", a diffusers folder (with or without `vae/`), a hub id, or a
    config dict."""
    if isinstance(source, dict):
        vae: Autoencoder = AutoencoderKL.from_config(source)
    else:
        folder = SHIPPED_VAE if source == "shipped" else Path(source)
        inside = (folder / "config.json").is_file()
        if not inside:
            _check_folder(source, "vae")
        location = str(folder if folder.is_dir() else source)
        subfolder = None if inside else "vae"
        config = AutoencoderKL.load_config(location, subfolder=subfolder)
        kind = config["_class_name"]
        classes: dict[str, type[Autoencoder]] = {
            "AutoencoderKL": AutoencoderKL,
            "AutoencoderTiny": AutoencoderTiny,
        }
        if kind not in classes:
            raise ValueError(
                f"{source}: the autoencoder is a {kind}; known are {', '.join(classes)}"
            )
        vae = (
            classes[kind].from_config(config)
            if shapes_alone()
            else classes[kind].from_pretrained(
                location, subfolder=subfolder, low_cpu_mem_usage=False
            )
        )
    return vae.requires_grad_(False).eval()


def load_scheduler(source: Source) -> DDPMScheduler:
    """The training noise schedule, from a diffusers folder, a hub id, or a config dict."""
    if isinstance(source, dict):
        return DDPMScheduler.from_config(source)
    _check_folder(source, "scheduler")
    return DDPMScheduler.from_pretrained(source, subfolder="scheduler")


def _check_folder(source: str | Path, part: str) -> None:
    """A path that is there must hold the part; a path that is not there must at least look like a
    hub id."""
    folder = Path(source)
    if folder.is_dir():
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"{folder} has no folder {part!r}: give a diffusers folder, or a hub id"
            )
    elif folder.is_absolute() or str(source).startswith(".") or str(source).count("/") != 1:
        raise FileNotFoundError(
            f"{source} does not exist: give a diffusers folder, or a hub id such as owner/name"
        )


def refit_conv_in(unet: UNet2DConditionModel, channels: int, keep: int | None = None) -> None:
    """Give `conv_in` another number of input channels, in place.

    The first `keep` channels (default: as many as both have) keep their weights; new ones start at
    zero, so the output does not change whatever they carry.
    """
    old = unet.conv_in
    keep = min(keep if keep is not None else channels, channels, old.in_channels)
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding).to(
        old.weight
    )
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, :keep] = old.weight[:, :keep]
        new.bias = old.bias
    if channels != old.in_channels:
        log.info(
            "conv_in: %d -> %d channels, %d kept, %d new at zero",
            old.in_channels,
            channels,
            keep,
            channels - keep,
        )
    unet.conv_in = new
    unet.register_to_config(in_channels=channels)


def load_partly_trained(
    source: Source, channels: int, trainable: str, base: tuple[str, str]
) -> UNet2DConditionModel:
    """A stock UNet with so many input channels, of which `trainable` is trained.

    Args:
        source: see `load_unet`.
        trainable: "all", or what is trained alone: the rest must be pretrained, with its channels.
        base: what such a UNet is of, and the `backbone` that is one.

    Raises:
        ValueError: something stays as it is, and the UNet has random weights or other channels.
        FileNotFoundError: see `load_unet`.
    """
    whole = trainable == "all"
    if isinstance(source, dict) and not whole:
        raise ValueError(
            f"model.trainable={trainable}: the rest of the UNet stays as it is, and this "
            "backbone's is random; take a pretrained backbone, or model.trainable=all"
        )
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
    reference."""
    refit_conv_in(unet, channels, keep)
    drop_text_attention(unet)
    unet.set_attn_processor(
        {f"{name}.processor": ReferenceAttention(name) for name in self_attention_names(unet)}
    )
    return unet


def make_reference(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """Turn a stock UNet into the reference one: a clean latent in, nothing kept after the last
    recorded feature."""
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
