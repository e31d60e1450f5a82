"""What is read out of a real network equals what training and evaluation read."""

import pytest
import torch

from leffa.data.batch import Batch
from leffa.evaluation.flows import flow_values
from leffa.explain.attention import ModelReading, layer_shapes, read_attention
from leffa.explain.view import (
    View,
    attended_position,
    attention,
    best_layer,
    flow,
    flow_error,
    peak_mass,
    short_names,
)
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.generate import generate_batch
from leffa.losses.matches import nearest_tokens
from leffa.losses.request import FlowRequest
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings

TAU = 0.5
POINTS = torch.tensor([[0.0, 0.0], [-0.4, 0.3], [0.02, 0.01], [1.0, -1.0]])


@pytest.fixture(scope="module")
def seen(model: LeffaModel, batch: Batch) -> ModelReading:
    return read_attention(model, batch, POINTS, [400, 200], TAU, title="tiny")


def test_the_heads_average_to_the_flow_that_evaluation_reads(
    model: LeffaModel, batch: Batch, seen: ModelReading
) -> None:
    request = FlowRequest(TAU, min_resolution=0.0)
    expected = noised_forward(model, encode_batch(model, batch), 200, request).prediction.flows
    layers = seen.layers[200]
    assert list(layers) == list(expected) == list(layer_shapes(model, batch))
    assert {layers[name].shape.heads for name in layers} == {1, 2, 3}
    for name, field in expected.items():
        assert field.std() > 0.01  # a flat attention would prove nothing
        mean = layers[name].flows.mean(dim=0, keepdim=True)
        torch.testing.assert_close(mean, field, rtol=0, atol=1e-5)


def test_each_head_s_row_points_where_its_flow_does(seen: ModelReading) -> None:
    for layers in seen.layers.values():
        for layer in layers.values():
            tokens = nearest_tokens(POINTS, layer.shape.grid)
            at = layer.rows.at[layer.token]  # (P, N, 2)
            field = layer.flows.flatten(1, 2)[:, tokens].transpose(0, 1)
            # Two kernels, and places up to 1: rounding of a sum over the reference's tokens.
            torch.testing.assert_close(at, field, rtol=0, atol=5e-5)


def test_points_on_one_token_share_a_row(seen: ModelReading) -> None:
    for layer in seen.layers[200].values():
        tokens = nearest_tokens(POINTS, layer.shape.grid)
        assert len(layer.rows.peak) == len(tokens.unique())
        assert (layer.token[0] == layer.token[2]) == (tokens[0] == tokens[2])


def test_the_errors_are_those_of_an_evaluation(
    model: LeffaModel, batch: Batch, seen: ModelReading
) -> None:
    expected = flow_values(model, batch, FlowRequest(TAU, min_resolution=0.0), [200])
    for name, values in expected.items():
        error = flow_error(seen.layers[200], View(200, name), batch)
        assert error == pytest.approx(values["epe_px"], abs=1e-3)
    best = best_layer(seen.layers[200], View(200), batch)
    assert expected[best]["epe_px"] == min(values["epe_px"] for values in expected.values())


def test_the_view_of_all_layers_is_their_mean(seen: ModelReading) -> None:
    layers = seen.layers[400]
    size = (64, 48)
    each = [flow(layers, View(400, name), size) for name in layers]
    torch.testing.assert_close(flow(layers, View(400), size), torch.stack(each).mean(dim=0))
    places = torch.stack([attended_position(layers, View(400, name), 1) for name in layers])
    torch.testing.assert_close(attended_position(layers, View(400), 1), places.mean(dim=0))
    peaks = [peak_mass(layers, View(400, name), 1) for name in layers]
    assert peak_mass(layers, View(400), 1) == pytest.approx(sum(peaks) / len(peaks))


def test_a_head_is_one_part_of_the_mean(seen: ModelReading) -> None:
    layers = seen.layers[200]
    name = next(name for name, layer in layers.items() if layer.shape.heads == 3)
    heads = [attention(layers, View(200, name, head), 0) for head in range(3)]
    torch.testing.assert_close(
        attention(layers, View(200, name), 0), torch.stack(heads).mean(dim=0)
    )
    assert not torch.allclose(heads[0], heads[1])


def test_another_timestep_and_another_picture_are_seen_otherwise(
    model: LeffaModel, batch: Batch, seen: ModelReading
) -> None:
    name = list(seen.layers[200])[-1]
    assert not torch.allclose(seen.layers[200][name].flows, seen.layers[400][name].flows)
    other = read_attention(model, batch, POINTS, [200], TAU, painted=batch["source"].flip(-1))
    assert not torch.allclose(seen.layers[200][name].flows, other.layers[200][name].flows)


def test_only_the_layers_asked_for_are_kept(model: LeffaModel, batch: Batch) -> None:
    names = list(layer_shapes(model, batch))[::4]
    assert list(read_attention(model, batch, POINTS, [0], TAU, layers=names).layers[0]) == names


def test_refuses_a_timestep_that_the_schedule_does_not_have(
    model: LeffaModel, batch: Batch
) -> None:
    with pytest.raises(ValueError, match="timestep=1000: give 0 to 999"):
        read_attention(model, batch, POINTS, [1000], TAU)


def test_short_names_tell_layers_apart() -> None:
    names = [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        "mid_block.attentions.0.transformer_blocks.0.attn1",
        "up_blocks.2.attentions.1.transformer_blocks.0.attn1",
    ]
    assert list(short_names(names).values()) == ["down 0.0", "mid 0", "up 2.1"]
    deep = [*names, "up_blocks.2.attentions.1.transformer_blocks.1.attn1"]
    assert list(short_names(deep).values())[-2:] == ["up 2.1.0", "up 2.1.1"]
    assert short_names(["a.b", "a.c"]) == {"a.b": "a.b", "a.c": "a.c"}


def test_the_released_noise_begins_with_the_seed_and_changes_no_later_draw(
    model: LeffaModel, batch: Batch
) -> None:
    settings, state = SamplerSettings.official(steps=1), torch.get_rng_state()
    first = generate_batch(model, batch, settings)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert torch.equal(generate_batch(model, batch, settings), first)
