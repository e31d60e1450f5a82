"""The UNet of CFLD: a stock one whose cross-attentions read a prompt of its own making."""

from itertools import takewhile
from typing import Literal

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from leffa.models.attention import layer_level, self_attention_names
from leffa.models.cfld.appearance import UpLayer
from leffa.models.cfld.attention import PromptAttention

Trainable = Literal["prompt", "all"]


def prepare_unet(unet: UNet2DConditionModel, trainable: Trainable) -> list[UpLayer]:
    """Give a stock UNet its attention, and freeze what is not trained, in place.

    A base that was trained without text has zeros in its cross-attentions: they begin anew, beside
    what the blocks did without them, and all of it must be trained.

    Args:
        trainable: "prompt", the keys and values of the cross-attentions of the up blocks, as
            published; or "all".

    Returns:
        The cross-attentions of the up blocks, in the order in which they run.

    Raises:
        ValueError: the UNet has no cross-attention there, or knows no text and would stay as it is;
            or `trainable` is unknown.
    """
    if trainable not in ("prompt", "all"):
        raise ValueError(f"model.trainable must be 'prompt' or 'all', got {trainable!r}")
    prompt_names = [name.removesuffix("attn1") + "attn2" for name in self_attention_names(unet)]
    attentions = {name: _attention(unet, name) for name in prompt_names}
    layers = [
        UpLayer(name, attention.to_q.out_features, layer_level(unet, name))
        for name, attention in attentions.items()
        if name.startswith("up_blocks.")
    ]
    without_text = not any(_has_learnt(each) for each in attentions.values())
    if without_text and trainable == "prompt":
        raise ValueError(
            "model.trainable=prompt: this base was trained without text, so its cross-attentions "
            "say nothing; take backbone=sd15, or model.trainable=all"
        )
    if without_text:
        for attention in attentions.values():
            _begin_anew(attention)
    shown = {layer.name for layer in layers}
    unet.set_attn_processor(
        {
            f"{name}.processor": PromptAttention(
                name, name in shown, keeps_input=without_text and name in attentions
            )
            for name in (*self_attention_names(unet), *prompt_names)
        }
    )
    if trainable == "prompt":
        unet.requires_grad_(False)
        for name in shown:
            attentions[name].to_k.requires_grad_(True)
            attentions[name].to_v.requires_grad_(True)
    return layers


def adapted_channels(unet: UNet2DConditionModel) -> list[int]:
    """Channels of the down blocks that get a residual of the pose: the first ones, which attend.

    Raises:
        ValueError: the first block does not attend, as in SDXL.
    """
    kinds = unet.config.down_block_types
    count = len(list(takewhile(lambda kind: kind == "CrossAttnDownBlock2D", kinds)))
    if count == 0:
        raise ValueError(
            f"model.unet: its first down block is a {kinds[0]}; CFLD adds the pose to blocks with "
            "cross-attention, as SD1.5 has them: take backbone=sd15"
        )
    return list(unet.config.block_out_channels[:count])


def _attention(unet: UNet2DConditionModel, name: str) -> Attention:
    try:
        attention: Attention = unet.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"model.unet: has no cross-attention {name} to read a prompt") from error
    return attention


def _has_learnt(attention: Attention) -> bool:
    weight = attention.to_out[0].weight
    return weight.is_meta or bool(weight.any())  # without values it is counted only


def _begin_anew(attention: Attention) -> None:
    for projection in (attention.to_q, attention.to_k, attention.to_v):
        projection.reset_parameters()
    nn.init.zeros_(attention.to_out[0].weight)  # so that nothing changes at first
    nn.init.zeros_(attention.to_out[0].bias)
