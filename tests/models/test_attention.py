"""The attention processors, against stock diffusers attention."""

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor

from leffa.losses.flow import flow_field
from leffa.losses.monitoring import attention_sharpness, reference_share
from leffa.losses.request import FlowRequest
from leffa.models.attention import (
    AttentionExchange,
    PassthroughAttention,
    ReferenceAttention,
    SelfAttention,
    layer_grid,
    split_heads,
)

NAME = "layer.attn1"


def tokens(seed: int, batch: int = 2, count: int = 12, channels: int = 16) -> Tensor:
    return torch.randn(batch, count, channels, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def attention() -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=16, heads=2, dim_head=8)


@pytest.fixture
def exchange() -> AttentionExchange:
    """A layer of 4 x 3 cells and a reference of the same size, in a picture 32 pixels high."""
    return AttentionExchange(
        features={NAME: tokens(1)}, image_height=32, grid=(4, 3), reference_grid=(4, 3)
    )


def test_self_attention_is_that_of_diffusers(attention: Attention) -> None:
    attention.set_processor(AttnProcessor())
    expected = attention(tokens(0))
    attention.set_processor(SelfAttention(NAME))
    torch.testing.assert_close(attention(tokens(0)), expected)


def test_self_attention_records_what_enters_it(attention: Attention) -> None:
    exchange = AttentionExchange()
    attention.set_processor(SelfAttention(NAME))
    entering = tokens(0)
    attention(entering, exchange=exchange)
    assert exchange.features[NAME] is entering


def test_equals_the_generative_half_of_the_full_attention(
    attention: Attention, exchange: AttentionExchange
) -> None:
    own = tokens(0)
    attention.set_processor(AttnProcessor())
    full = attention(torch.cat([own, exchange.features[NAME]], dim=1))
    attention.set_processor(ReferenceAttention(NAME))
    torch.testing.assert_close(attention(own, exchange=exchange), full[:, :12])


def test_computes_no_queries_for_the_reference(
    attention: Attention, exchange: AttentionExchange
) -> None:
    seen: list[int] = []
    attention.to_q.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    attention.set_processor(ReferenceAttention(NAME))
    attention(tokens(0), exchange=exchange)
    assert seen == [12]


def test_reads_the_flow_from_the_attention_on_the_reference_alone(
    attention: Attention, exchange: AttentionExchange
) -> None:
    exchange.request = FlowRequest(temperature=0.7, min_resolution=1 / 8, sharpness=True)
    attention.set_processor(ReferenceAttention(NAME))
    own = tokens(0)
    attention(own, exchange=exchange)
    query = split_heads(attention.to_q(own), 2)
    key = split_heads(attention.to_k(exchange.features[NAME]), 2)
    expected = flow_field(query, key, (4, 3), temperature=0.7)
    torch.testing.assert_close(exchange.flows[NAME], expected.view(2, 4, 3, 2))
    torch.testing.assert_close(exchange.sharpness[NAME], attention_sharpness(query, key, 0.7))


def test_reads_the_references_share_of_the_attention_that_the_layer_has(
    attention: Attention, exchange: AttentionExchange
) -> None:
    exchange.request = FlowRequest(min_resolution=1 / 8, share=True, samples=torch.tensor([1]))
    attention.set_processor(ReferenceAttention(NAME))
    own = tokens(0)
    attention(own, exchange=exchange)
    query, key = (split_heads(each(own[1:]), 2) for each in (attention.to_q, attention.to_k))
    reference = split_heads(attention.to_k(exchange.features[NAME][1:]), 2)
    expected = reference_share(query, key, reference)
    torch.testing.assert_close(exchange.shares[NAME], expected.view(1, 4, 3))
    exchange.request, exchange.shares = FlowRequest(min_resolution=1 / 8), {}
    attention(own, exchange=exchange)
    assert exchange.shares == {}


@pytest.mark.parametrize("request_", [None, FlowRequest(min_resolution=1 / 4)])
def test_reads_no_flow_that_nobody_wants(
    attention: Attention, exchange: AttentionExchange, request_: FlowRequest | None
) -> None:
    exchange.request = request_
    attention.set_processor(ReferenceAttention(NAME))
    attention(tokens(0), exchange=exchange)
    assert exchange.flows == {}


def test_names_the_layer_that_has_no_reference_feature(attention: Attention) -> None:
    attention.set_processor(ReferenceAttention(NAME))
    with pytest.raises(ValueError, match=f"no reference feature for layer {NAME}"):
        attention(tokens(0), exchange=AttentionExchange())


def test_a_block_without_text_still_adds_its_normalised_input() -> None:
    torch.manual_seed(0)
    block = BasicTransformerBlock(16, 2, 8, cross_attention_dim=12)
    torch.nn.init.normal_(block.norm2.weight)  # so that norm2 is not the identity of normed input
    block.attn1.set_processor(SelfAttention(NAME))
    block.attn2 = PassthroughAttention()
    hidden = tokens(0)
    after_attention = hidden + block.attn1(block.norm1(hidden))
    after_text = after_attention + block.norm2(after_attention)
    expected = after_text + block.ff(block.norm3(after_text))
    torch.testing.assert_close(block(hidden), expected)


@pytest.mark.parametrize(
    ("count", "latent", "grid"),
    [
        (64 * 48, (64, 48), (64, 48)),
        (32 * 24, (64, 48), (32, 24)),
        (4 * 3, (7, 5), (4, 3)),
        (2 * 2, (7, 5), (2, 2)),
        (1, (7, 5), (1, 1)),
    ],
)
def test_the_grid_of_a_layer_is_the_latent_halved_and_rounded_up(
    count: int, latent: tuple[int, int], grid: tuple[int, int]
) -> None:
    assert layer_grid(count, latent) == grid


def test_says_which_tokens_are_no_halving_of_the_latent() -> None:
    with pytest.raises(ValueError, match="13 tokens are no halving of a latent of 7x5 cells"):
        layer_grid(13, (7, 5))
