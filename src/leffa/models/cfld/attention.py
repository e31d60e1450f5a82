"""CFLD's UNet: a stock one whose queries get biases, and whose flow goes through the prompt.

A pixel attends to the prompt tokens, and a prompt token has attended to the reference (`decoder`).
The product of the two is an attention from pixels to pixels, whose flow field is

    F = A_up (A_decoder C) = A_up places

a mean, for each pixel, of the places of the tokens (Leffa, Eq. 2-3, with the places for C). It is
coarse: 16 places, and what the tokens exchange among themselves is not followed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.models.attention import (
    Exchange,
    ExchangeProcessor,
    attend,
    layer_level,
    project,
    self_attention_names,
    split_heads,
)
from leffa.models.cfld.appearance import UpLayer

Trainable = Literal["prompt", "all"]


@dataclass(kw_only=True)
class PromptExchange(Exchange):
    """An exchange about the prompt; its sharpness is that among the prompt tokens.

    Args:
        biases: (B, L, C) of the queries by layer name.
        places: (B, K, 2) where the prompt tokens looked.
    """

    biases: Mapping[str, Tensor]
    places: Tensor

    def flow(
        self, name: str, query: Tensor, key: Tensor, grid: tuple[int, int], request: FlowRequest
    ) -> Tensor:
        places = self.places if request.samples is None else self.places[request.samples]
        return prompt_flow(query, key, places, request.temperature)


class PromptAttention(ExchangeProcessor):
    """An attention of the UNet, to itself or to the prompt.

    Args:
        shows_flow: whether it is one that the flow is read from.
        keeps_input: also returns what it is given, as networks do that were trained without text
            (`models.attention.PassthroughAttention`).
    """

    taps = False  # its keys are no tokens of an image

    def __init__(self, name: str, shows_flow: bool = False, keeps_input: bool = False) -> None:
        super().__init__(name)
        self.shows_flow = shows_flow
        self.keeps_input = keeps_input

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: PromptExchange | None
    ) -> Tensor:
        query, key, value = project(attn, tokens, text)
        if exchange is not None and self.name in exchange.biases:
            query = query + split_heads(exchange.biases[self.name], attn.heads)
        if exchange is not None and self.shows_flow:
            exchange.read_flow(self.name, query, key)
        attended = attend(attn, query, key, value)
        return tokens + attended if self.keeps_input else attended


def prompt_flow(query: Tensor, key: Tensor, places: Tensor, temperature: float) -> Tensor:
    """Where each query looks in the reference by way of the prompt; see `losses.flow.flow_field`.

    Args:
        query: (B, N, L, D).
        key: (B, N, K, D), of the prompt tokens.
        places: (B, K, 2) as (x, y) in [-1, 1].
    """
    _, heads, _, width = key.shape
    value = F.pad(places.to(key.dtype), (0, max(width - 2, 0)))[:, None].expand(-1, heads, -1, -1)
    scale = 1.0 / (temperature * math.sqrt(width))
    positions = F.scaled_dot_product_attention(query, key, value, scale=scale)
    return at_least_float32(positions[..., :2]).mean(dim=1)


def prepare_unet(unet: UNet2DConditionModel, trainable: Trainable) -> list[UpLayer]:
    """Give a stock UNet its attention, and freeze what is not trained, in place.

    A base that was trained without text has zeros in its cross-attentions: they are
    reinitialised, beside what the blocks did without them, and all of it must be trained.

    Args:
        trainable: "prompt", the keys and values of the cross-attentions of the up blocks, as
            published; or "all".

    Returns:
        The cross-attentions of the up blocks, in the order in which they run.
    """
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
            "are untrained; take backbone=sd15, or model.trainable=all"
        )
    if without_text:
        for attention in attentions.values():
            _reinitialise(attention)
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
    """Channels of the down blocks that get a residual of the pose: the first ones, which attend."""
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


def _reinitialise(attention: Attention) -> None:
    for projection in (attention.to_q, attention.to_k, attention.to_v):
        projection.reset_parameters()
    nn.init.zeros_(attention.to_out[0].weight)  # so that nothing changes at first
    nn.init.zeros_(attention.to_out[0].bias)
