"""The attention of CFLD's UNet: queries with biases, and the flow through the prompt.

No attention of this architecture goes from pixels of the new picture to pixels of the reference.
There are two that lie one behind the other: a pixel looks at the prompt tokens, and a prompt token
has looked at the reference (`decoder`). Their product is an attention from pixels to pixels, so its
flow field is

    F = A_up (A_decoder C) = A_up places

a mean, for each pixel, of the places of the tokens, (Eq. 2-3 of Leffa with the places for C). It is
coarse: 16 places, and what the tokens exchanged among themselves is not followed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor

from leffa.losses.flow import FlowRequest, Sharpness, attention_sharpness
from leffa.losses.precision import at_least_float32
from leffa.models.attention import attend, layer_grid, split_heads


@dataclass
class PromptExchange:
    """What the attention layers of one prediction read and write.

    Args:
        biases: (B, L, C) of the queries by layer name.
        places: (B, K, 2) where the prompt tokens looked.
        image_height: H of the picture.
        grid: (h, w) of the latent.
        request: which flows are wanted; None for none.
    """

    biases: Mapping[str, Tensor]
    places: Tensor
    image_height: int
    grid: tuple[int, int]
    request: FlowRequest | None = None
    flows: dict[str, Tensor] = field(default_factory=dict)  # (S, h_l, w_l, 2)
    sharpness: dict[str, Sharpness] = field(default_factory=dict)  # among the prompt tokens

    def read_flow(self, name: str, query: Tensor, key: Tensor) -> None:
        """Keep this layer's flow field if the request wants it; heads first, (B, N, L, D)."""
        grid = layer_grid(query.shape[2], self.grid)
        if self.request is None or not self.request.wants(grid[0], self.image_height):
            return
        places, samples = self.places, self.request.samples
        if samples is not None:
            query, key, places = query[samples], key[samples], places[samples]
        flow = prompt_flow(query, key, places, self.request.temperature)
        self.flows[name] = rearrange(flow, "b (h w) xy -> b h w xy", h=grid[0])
        if self.request.sharpness:
            self.sharpness[name] = attention_sharpness(query, key, self.request.temperature)


class PromptAttention:
    """An attention of the UNet, to itself or to the prompt.

    Args:
        name: of the layer.
        shows_flow: whether it is one that the flow is read from.
        keeps_input: also returns what it is given, as the networks do that were trained with
            nothing in the place of the text (`models.attention.NormalisedInput`).
    """

    def __init__(self, name: str, shows_flow: bool = False, keeps_input: bool = False) -> None:
        self.name = name
        self.shows_flow = shows_flow
        self.keeps_input = keeps_input

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        exchange: PromptExchange | None = None,
    ) -> Tensor:
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        tokens = attn.to_q(hidden_states)
        if exchange is not None and self.name in exchange.biases:
            tokens = tokens + exchange.biases[self.name]
        query = split_heads(tokens, attn.heads)
        key, value = (split_heads(p(seen), attn.heads) for p in (attn.to_k, attn.to_v))
        if exchange is not None and self.shows_flow:
            exchange.read_flow(self.name, query, key)
        attended = attend(attn, query, key, value)
        return hidden_states + attended if self.keeps_input else attended


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
