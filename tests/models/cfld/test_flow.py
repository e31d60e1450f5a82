"""Where a pixel looks: at tokens that have looked at the reference."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cfld_parts import SHOWN, heads_first, predict
from model_parts import MakeBatch, check_flows_of_some
from torch import Tensor

from leffa.losses.flow import coordinates
from leffa.losses.request import FlowRequest
from leffa.models.cfld import CFLD
from leffa.models.cfld.attention import prompt_flow
from leffa.models.cfld.decoder import PerceptionDecoder

pytest.importorskip("timm")


def test_a_place_is_where_the_tokens_of_the_decoder_looked() -> None:
    """One block written out: softmax over the picture, times its coordinates, mean over heads."""
    torch.manual_seed(0)
    decoder = PerceptionDecoder(12, 8, (3, 2), queries=5, depth=1, heads=3)
    feature = torch.randn(2, 8, 3, 2) * 3
    prompt, places = decoder(feature)
    assert prompt.shape == (2, 5, 12)
    block = decoder.blocks[0]
    picture = feature.flatten(2).transpose(1, 2) + decoder.picture_positions
    query = block.attn2.to_q(block.norm2(decoder.queries + decoder.positions)[None])
    query, key = (heads_first(tokens, 3) for tokens in (query, block.attn2.to_k(picture)))
    weights = (query @ key.transpose(-1, -2) / math.sqrt(4)).softmax(-1).mean(1)
    grid = coordinates((3, 2), device=feature.device, dtype=feature.dtype)
    torch.testing.assert_close(places, weights @ grid)


def test_the_decoder_is_a_transformer_that_looks_first_and_adds_positions_twice() -> None:
    """One block written out with torch's own attention (models/decoder.py of the authors)."""
    torch.manual_seed(0)
    decoder = PerceptionDecoder(12, 8, (2, 2), queries=4, depth=1, heads=3)
    feature, block = torch.randn(2, 8, 2, 2), decoder.blocks[0]

    def attention(layer: Any, seen: Tensor, given: Tensor) -> Tensor:
        return F.multi_head_attention_forward(
            *(tokens.transpose(0, 1) for tokens in (given, seen, seen)),
            embed_dim_to_check=12,
            num_heads=3,
            in_proj_weight=None,
            in_proj_bias=None,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=layer.to_out[0].weight,
            out_proj_bias=layer.to_out[0].bias,
            need_weights=False,
            use_separate_proj_weight=True,
            q_proj_weight=layer.to_q.weight,
            k_proj_weight=layer.to_k.weight,
            v_proj_weight=layer.to_v.weight,
        )[0].transpose(0, 1)

    picture = feature.flatten(2).transpose(1, 2) + decoder.picture_positions
    tokens = decoder.queries.expand(2, -1, -1) + decoder.positions
    tokens = tokens + attention(block.attn2, picture, block.norm2(tokens)) + decoder.positions
    normal = block.norm1(tokens)
    tokens = tokens + attention(block.attn1, normal, normal)
    tokens = tokens + block.ff(block.norm3(tokens))
    torch.testing.assert_close(decoder(feature)[0], tokens)


def test_the_flow_is_the_product_of_both_attentions() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 3, tokens, 4, generator=generator) for tokens in (6, 5))
    places = torch.rand(2, 5, 2, generator=generator) * 2 - 1
    weights = (query @ key.transpose(-1, -2) / (2.0 * math.sqrt(4))).softmax(-1).mean(1)
    torch.testing.assert_close(prompt_flow(query, key, places, 2.0), weights @ places)


def test_flows_come_from_the_up_blocks_that_are_fine_enough(
    model: CFLD, with_pose: MakeBatch
) -> None:
    batch = with_pose()
    for least, layers in ((0.51, []), (0.5, SHOWN[2:]), (0.25, SHOWN)):
        assert list(predict(model, batch, FlowRequest(min_resolution=least)).flows) == layers
    prediction = predict(model, batch, FlowRequest(1.0, 0.0, sharpness=True))
    assert set(prediction.sharpness) == set(prediction.flows) == set(SHOWN)
    assert all(flow.abs().max() <= 1 for flow in prediction.flows.values())


def test_asking_for_flows_changes_no_noise_and_some_samples_are_those_of_all(
    model: CFLD, with_pose: MakeBatch
) -> None:
    check_flows_of_some(model, with_pose(4))
