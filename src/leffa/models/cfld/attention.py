"""The attention of CFLD's UNet: queries with biases, and the flow through the prompt.

A pixel attends to the prompt tokens, and a prompt token has attended to the reference (`decoder`).
The product of the two is an attention from pixels to pixels, whose flow field is

    F = A_up (A_decoder C) = A_up places

a mean, for each pixel, of the places of the tokens (Leffa, Eq. 2-3, with the places for C). It is
coarse: 16 places, and what the tokens exchange among themselves is not followed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor

from leffa.losses.flow import FlowRequest
from leffa.losses.precision import at_least_float32
from leffa.models.attention import Exchange, ExchangeProcessor, attend, project, split_heads


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
        name: of the layer.
        shows_flow: whether it is one that the flow is read from.
        keeps_input: also returns what it is given, as the networks do that were trained with
            nothing in the place of the text (`models.attention.PassthroughAttention`).
    """

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
    """Where each query looks in the reference by way of the prompt, on average over heads.

    Args:
        query: (B, N, L, D).
        key: (B, N, K, D), of the prompt tokens.
        places: (B, K, 2) as (x, y) in [-1, 1].
        temperature: tau > 0; it divides the logits of the attention to the prompt.

    Returns:
        (B, L, 2) in the convention of `losses.flow.flow_field`.
    """
    _, heads, _, width = key.shape
    value = F.pad(places.to(key.dtype), (0, max(width - 2, 0)))[:, None].expand(-1, heads, -1, -1)
    scale = 1.0 / (temperature * math.sqrt(width))
    looked_at = F.scaled_dot_product_attention(query, key, value, scale=scale)
    return at_least_float32(looked_at[..., :2]).mean(dim=1)
