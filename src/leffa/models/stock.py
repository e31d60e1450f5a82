"""Stock UNets <-> the two that Leffa cuts from them, as a diffusers folder holds them."""

from collections.abc import Collection, Sequence
from typing import Any, cast

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from leffa.models.attention import FinalFeatureBlock, PassthroughAttention
from leffa.models.leffa import LeffaModel, input_channels
from leffa.models.unets import make_generative, make_reference


def cut_unets(
    reference_unet: UNet2DConditionModel,
    unet: UNet2DConditionModel,
    latent_channels: int,
    parts: Sequence[str],
) -> None:
    """Make stock UNets the reference and the generative one, in place; those that are, stay.

    Raises:
        ValueError: they have other input channels than `parts` asks for.
    """
    channels = input_channels(latent_channels, tuple(parts))
    for name, network, wanted in (
        ("reference_unet", reference_unet, latent_channels),
        ("unet", unet, channels),
    ):
        if network.config.in_channels != wanted:
            raise ValueError(
                f"{name} takes {network.config.in_channels} channels, {wanted} are wanted with "
                f"parts={','.join(parts)}: `leffa convert` makes a folder that fits"
            )
    if not _has(reference_unet, FinalFeatureBlock):
        make_reference(reference_unet, latent_channels)
    if not _has(unet, PassthroughAttention):
        make_generative(unet, channels)


def stock_unet(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The stock UNet that ours was cut from, sharing its weights; what was cut away is zeros.

    Raises:
        ValueError: see `check_places`.
    """
    own = unet.state_dict()
    with torch.device("meta"):
        stock = UNet2DConditionModel.from_config(unet.config)
    check_places("the UNet", own, stock.state_dict())
    state = {
        key: own[key] if key in own else torch.zeros(tensor.shape, dtype=unet.dtype)
        for key, tensor in stock.state_dict().items()
    }
    stock.load_state_dict(state, assign=True)
    return stock.eval()


def check_places(name: str, own: Collection[str], stock: Collection[str]) -> None:
    """Raise ValueError where a weight of ours has no place among the keys of the stock network: it
    would be lost without a word."""
    if homeless := [key for key in own if key not in stock]:
        raise ValueError(
            f"{name}: {len(homeless)} weights have no place in the stock network, first "
            f"{homeless[0]!r}; adapters must be merged first (leffa.models.stock.merge_adapters)"
        )


def merge_adapters(model: LeffaModel) -> None:
    """Add low-rank adapters (LoRA), if there are any, to the weights that they change, in place."""
    for part in (model.reference_unet, model.generative_unet):
        unet = cast(Any, part)  # a UNet2DConditionModel, whose adapters are not typed
        if hasattr(unet, "peft_config"):
            unet.fuse_lora()
            unet.unload_lora()


def _has(unet: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in unet.modules())
