"""The joint attention of text and images in FLUX, and the flow that is read from it.

A dual block has projections of its own for the text; a single block has one sequence, text first.
The flow goes from the person's queries to the garment's keys, and its softmax is over those alone:
text and the person's own keys stay out. A position is turned into query and key by RoPE, so what
the network compares depends on distance too; before RoPE only content is compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from leffa.models.attention import AttentionExchange, ExchangeProcessor

Tap = Literal["after_rope", "before_rope"]
# From the tokens of all images (B, N, L, D) to those of person, garment and any others.
Split = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(kw_only=True)
class JointExchange(AttentionExchange):
    """An exchange over one sequence of text and images.

    Args:
        text: how many tokens of text come first.
        split: finds person and garment among the rest.
    """

    text: int
    split: Split

    def read_joint(self, name: str, query: Tensor, key: Tensor) -> None:
        """Record the flow of a layer with these queries and keys of all tokens, (B, N, L, D)."""
        person, *_ = self.split(query[:, :, self.text :])
        own, garment, others = self.split(key[:, :, self.text :])
        if self.request is not None and self.request.share:
            own = torch.cat([key[:, :, : self.text], own, others], dim=2)
        self.read_flow(name, person, garment, own)


class JointAttention(ExchangeProcessor):
    """FLUX's attention, from which the flow can be read.

    Args:
        tap: where queries and keys are read.
    """

    shows_flow = True
    _parallel_config = None  # of diffusers' context parallelism, which is not used

    def __init__(self, name: str, tap: Tap = "after_rope") -> None:
        super().__init__(name)
        self.tap = tap

    def __call__(  # type: ignore[override]  # FLUX passes positions, and wants two results
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        exchange: JointExchange | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        query, key, value = _projected(attn, hidden_states)
        text = 0
        if encoder_hidden_states is not None:  # a dual block
            text = encoder_hidden_states.shape[1]
            query, key, value = (
                torch.cat(pair, dim=1)
                for pair in zip(
                    _projected_text(attn, encoder_hidden_states), (query, key, value), strict=True
                )
            )
        tapped = query, key
        if image_rotary_emb is not None:
            query, key = (apply_rotary_emb(x, image_rotary_emb, sequence_dim=1) for x in tapped)
        if exchange is not None and exchange.request is not None:
            tapped = tapped if self.tap == "before_rope" else (query, key)
            exchange.read_joint(self.name, *(each.transpose(1, 2) for each in tapped))
        query, key = query.to(value.dtype), key.to(value.dtype)
        heads = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        tokens = heads.flatten(2)
        if encoder_hidden_states is None:
            return tokens
        projection, dropout = attn.to_out
        return dropout(projection(tokens[:, text:])), attn.to_add_out(tokens[:, :text])

    def process(self, attn: Any, tokens: Tensor, text: Tensor | None, exchange: Any) -> Tensor:
        # Required by the base; `__call__` is overridden, since FLUX passes rotary positions.
        raise NotImplementedError("FLUX calls this processor with positions")


def _projected(attn: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised queries and keys, and values, of tokens (B, L, C): (B, L, N, D) each."""
    query, key, value = (
        projection(tokens).unflatten(-1, (-1, attn.head_dim))
        for projection in (attn.to_q, attn.to_k, attn.to_v)
    )
    return _normalised(attn.norm_q, query), _normalised(attn.norm_k, key), value


def _projected_text(attn: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (
        projection(tokens).unflatten(-1, (-1, attn.head_dim))
        for projection in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
    )
    return _normalised(attn.norm_added_q, query), _normalised(attn.norm_added_k, key), value


def _normalised(norm: nn.Module, heads: Tensor) -> Tensor:
    """In the precision of the norm's weights: autocast does not know this one."""
    normalised: Tensor = norm(heads.to(next(norm.parameters()).dtype))
    return normalised


def tap_joint_attention(transformer: Any, tap: Tap) -> None:
    """Give every attention of a FLUX transformer a processor from which the flow can be read."""
    transformer.set_attn_processor(
        {
            name: JointAttention(name.removesuffix(".processor"), tap)
            for name in transformer.attn_processors
        }
    )
