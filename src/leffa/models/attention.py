"""How features go from the reference UNet to the generative UNet, and how a flow comes back.

The reference UNet records the normalised hidden states that enter each of its self-attentions. The
same layer of the generative UNet appends them to its own tokens: keys and values are [generative;
reference] through the generative UNet's projections, queries come only from the generative tokens.
So two stock UNets and two processors are the whole network (Leffa, section 3.1).

Everything travels in one `AttentionExchange` passed at the call (`cross_attention_kwargs`), keyed
by the layer's dotted name: nothing depends on the order of calls and nothing stays on a module.
"""

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, Self, TypeAlias

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor, nn

from leffa.losses.flow import flow_field
from leffa.losses.monitoring import Sharpness, attention_sharpness, reference_share
from leffa.losses.precision import at_least_float32
from leffa.losses.request import FlowRequest
from leffa.models.interface import Prediction


@dataclass(kw_only=True)
class Exchange(ABC):
    """What the attention layers of one prediction read and write.

    Args:
        image_height: H of the image, to which the height of a layer is compared.
        grid: (h, w) of the generative latent.
        request: the flows to read; None for none.
    """

    image_height: int = 0
    grid: tuple[int, int] = (0, 0)
    request: FlowRequest | None = None
    flows: dict[str, Tensor] = field(default_factory=dict)  # (S, h_l, w_l, 2)
    sharpness: dict[str, Sharpness] = field(default_factory=dict)
    shares: dict[str, Tensor] = field(default_factory=dict)  # (S, h_l, w_l)

    def read_flow(self, name: str, query: Tensor, key: Tensor, own: Tensor | None = None) -> None:
        """Record this layer's flow field if the request asks for it; heads first, (B, N, L, D).

        `own` are the keys of the generative tokens, if the layer attends to them as well.
        """
        grid, request = layer_grid(query.shape[2], self.grid), self.request
        if request is None or not request.wants(name, grid[0], self.image_height):
            return
        if request.samples is not None:
            query, key = query[request.samples], key[request.samples]
        flow = self.flow(name, query, key, grid, request)
        self.flows[name] = rearrange(flow, "b (h w) xy -> b h w xy", h=grid[0])
        if request.sharpness:
            self.sharpness[name] = attention_sharpness(query, key, request.temperature)
        if request.share and own is not None:
            own = own if request.samples is None else own[request.samples]
            share = reference_share(query, own, key)
            self.shares[name] = rearrange(share, "b (h w) -> b h w", h=grid[0])

    def prediction(self, noise: Tensor) -> Prediction:
        """A network's prediction with what its layers recorded."""
        noise = at_least_float32(noise)
        return Prediction(noise, self.flows, self.sharpness, self.shares)

    def part(self, prefix: str) -> Self:
        """What layers whose names begin so read and write, by the rest of their names."""
        own = copy.copy(self)
        for name in self._by_layer():
            entries = getattr(self, name).items()
            found = {key.removeprefix(prefix): v for key, v in entries if key.startswith(prefix)}
            setattr(own, name, found)
        return own

    def take_back(self, own: Self, prefix: str) -> None:
        """Replace what those layers had by what they have in a part that they worked on."""
        for name in self._by_layer():
            entries = getattr(self, name)
            for key in [key for key in entries if key.startswith(prefix)]:
                del entries[key]
            entries.update({prefix + key: value for key, value in getattr(own, name).items()})

    def _by_layer(self) -> list[str]:
        return [each.name for each in fields(self) if isinstance(getattr(self, each.name), dict)]

    @abstractmethod
    def flow(
        self, name: str, query: Tensor, key: Tensor, grid: tuple[int, int], request: FlowRequest
    ) -> Tensor:
        """The flow (S, L, 2) of a layer of `grid` (h_l, w_l), for the samples of the request."""


@dataclass(kw_only=True)
class AttentionExchange(Exchange):
    """An exchange of reference features.

    Args:
        features: (B, L, C) by layer name; written by the reference UNet. B may be 1: one reference
            for all samples.
        projected: the generative UNet's keys and values of the features, each (B, L, C), written by
            a first prediction and read by the next ones with the same features; None: not cached.
        reference_grid: (h, w) of the reference latent.
    """

    features: dict[str, Tensor] = field(default_factory=dict)
    projected: dict[str, tuple[Tensor, Tensor]] | None = None
    reference_grid: tuple[int, int] = (0, 0)

    def reference_tokens(self, name: str, attn: Attention) -> tuple[Tensor, Tensor] | None:
        """Keys and values (B or 1, L, C) of a layer's reference feature; None: it has none."""
        if self.projected is not None and name in self.projected:
            return self.projected[name]
        if name not in self.features:
            return None
        feature = self.features[name]
        tokens = attn.to_k(feature), attn.to_v(feature)
        if self.projected is not None:
            self.projected[name] = tokens
            del self.features[name]  # not needed again
        return tokens

    def flow(
        self, name: str, query: Tensor, key: Tensor, grid: tuple[int, int], request: FlowRequest
    ) -> Tensor:
        key_grid = layer_grid(key.shape[2], self.reference_grid)
        if request.tap is not None:
            request.tap(name, query, key, grid, key_grid)
        return flow_field(query, key, key_grid, request.temperature)


MaybeExchange: TypeAlias = AttentionExchange | None  # None: nothing is recorded or read


def layer_grid(tokens: int, latent_grid: tuple[int, int]) -> tuple[int, int]:
    """(h_l, w_l) of a layer with this many tokens: the latent halved, rounding up, as the UNet's
    convolutions do."""
    grid = latent_grid
    while grid[0] * grid[1] > tokens:
        grid = halved(grid, 1)
    if grid[0] * grid[1] != tokens:
        raise ValueError(
            f"{tokens} tokens are no halving of a latent of {latent_grid[0]}x{latent_grid[1]} cells"
        )
    return grid


def halved(grid: tuple[int, int], times: int) -> tuple[int, int]:
    """A grid after so many of the UNet's downsamplings, which round up."""
    for _ in range(times):
        grid = ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
    return grid


def layer_level(unet: UNet2DConditionModel, name: str) -> int:
    """How often the latent is halved where a layer stands, by its dotted name."""
    deepest = len(unet.config.block_out_channels) - 1
    stage, index, *_ = name.split(".")
    if stage == "mid_block":
        return deepest
    return int(index) if stage == "down_blocks" else deepest - int(index)


class ExchangeProcessor(ABC):
    """An attention processor of diffusers that takes part in an exchange.

    diffusers passes the `cross_attention_kwargs` that `__call__` names.
    """

    shows_flow = False  # whether the flow can be read from this layer
    taps = True  # whether a request's tap is then handed its queries and keys

    def __init__(self, name: str) -> None:
        self.name = name
        self._attention_backend = None  # what `set_attention_backend` of diffusers sets

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        exchange: Any = None,
    ) -> Tensor:
        return self.process(attn, hidden_states, encoder_hidden_states, exchange)

    @abstractmethod
    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: Any
    ) -> Tensor:
        """Tokens (B, L, C) after the attention, to themselves or to `text` (B, T, E)."""


class SelfAttention(ExchangeProcessor):
    """A self-attention of the reference UNet: records what enters it."""

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: MaybeExchange
    ) -> Tensor:
        if exchange is not None:
            exchange.features[self.name] = tokens
        return attend(attn, *project(attn, tokens))


class ReferenceAttention(ExchangeProcessor):
    """A self-attention of the generative UNet that also attends to the reference."""

    shows_flow = True

    def process(
        self, attn: Attention, tokens: Tensor, text: Tensor | None, exchange: MaybeExchange
    ) -> Tensor:
        reference = exchange.reference_tokens(self.name, attn) if exchange is not None else None
        if exchange is None or reference is None:
            raise ValueError(
                f"no reference feature for layer {self.name}: the UNets must have the same layers"
            )
        samples, own, _ = tokens.shape
        query = split_heads(attn.to_q(tokens), attn.heads)
        key, value = (
            split_heads(
                torch.cat([projection(tokens), other.expand(samples, -1, -1)], 1), attn.heads
            )
            for projection, other in zip((attn.to_k, attn.to_v), reference, strict=True)
        )
        exchange.read_flow(self.name, query, key[:, :, own:], key[:, :, :own])
        return attend(attn, query, key, value)


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, L, N*D) -> (B, N, L, D)."""
    return rearrange(tokens, "b l (n d) -> b n l d", n=heads)


def project(
    attn: Attention, tokens: Tensor, context: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of tokens (B, L, C), keys and values of the context (B, T, E), which is None for the
    tokens themselves; heads first, (B, N, L or T, D)."""
    seen = tokens if context is None else context
    query, key, value = (
        split_heads(projection(each), attn.heads)
        for projection, each in ((attn.to_q, tokens), (attn.to_k, seen), (attn.to_v, seen))
    )
    return query, key, value


def attend(attn: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention and the layer's output projection, (B, L, C)."""
    tokens_first = (each.transpose(1, 2) for each in (query, key, value))
    backend = getattr(attn.processor, "_attention_backend", None)
    heads = dispatch_attention_fn(*tokens_first, scale=attn.scale, backend=backend)
    projection, dropout = attn.to_out
    return dropout(projection(heads.flatten(2)))


class PassthroughAttention(nn.Module):
    """Replaces the text cross-attention, and returns its input.

    The block then computes h <- h + norm2(h). The official networks were trained with that term:
    their "skipped" attention returns its input too.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        exchange: AttentionExchange | None = None,
    ) -> Tensor:
        return hidden_states


class FinalFeatureBlock(nn.Module):
    """The last transformer block of the reference UNet: it records its feature, and nothing
    follows."""

    def __init__(self, name: str, norm1: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.norm1 = norm1

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: dict[str, AttentionExchange] | None = None,
        class_labels: Tensor | None = None,
    ) -> Tensor:
        if cross_attention_kwargs is not None:
            cross_attention_kwargs["exchange"].features[self.name] = self.norm1(hidden_states)
        return hidden_states


def flow_layers(model: nn.Module, tapped: bool = False) -> list[str]:
    """Names of the layers whose flow can be read, at any resolution; `tapped`: handed to a tap."""
    processors = [getattr(module, "processor", None) for module in model.modules()]
    return [
        each.name
        for each in processors
        if isinstance(each, ExchangeProcessor) and each.shows_flow and (each.taps or not tapped)
    ]


def self_attention_names(unet: UNet2DConditionModel) -> list[str]:
    """Dotted names of a UNet's self-attentions, in the order in which they run."""
    names = [name for name, _ in unet.named_modules() if name.endswith(".attn1")]
    order = ("down_blocks", "mid_block", "up_blocks")
    return sorted(names, key=lambda name: order.index(name.split(".")[0]))
