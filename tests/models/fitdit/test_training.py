"""What is trained, what the flows teach, and what leaves both as they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from fitdit_parts import ALL_LAYERS, SCHEDULER, TRANSFORMER, random, results
from model_parts import predict
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.attention import flow_layers
from leffa.models.fitdit import FitDiT
from leffa.models.memory import RunMemory
from leffa.models.sampler import SamplerSettings, generate, sample_latents
from leffa.training.compile import compile_model
from leffa.training.layers import check_supervision
from leffa.training.objective import FlowMatchingObjective

SAMPLER = SamplerSettings(scheduler="euler", steps=2, guidance=2.0)
LAYERS = [f"transformer_blocks.{index}.attn" for index in range(3)]


@pytest.fixture
def batch(make_batch: Callable[..., Batch]) -> Batch:
    return make_batch()


def norm(model: FitDiT, name: str) -> float:
    gradient = model.get_parameter(name).grad
    return 0.0 if gradient is None else float(gradient.norm())


def test_a_step_gives_every_trained_weight_a_gradient(batch: Batch) -> None:
    """So DDP needs no search for unused ones; there is no weight of a text stream."""
    model = random()
    objective = FlowMatchingObjective(reference_dropout=0.0)
    loss = LeffaLoss(1.0, max_sigma=1.0)
    result = objective(model, batch, loss, torch.Generator().manual_seed(0))
    result.loss.backward()
    assert result.selected == 2
    assert list(result.layers) == LAYERS
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == trained
    frozen = {name for name, _ in model.named_parameters()} - trained
    kept = ("attn.to_q", "attn.to_out", "ff.")
    unread = tuple(f"garment.transformer_blocks.2.{each}" for each in kept)
    assert all(
        name.startswith(("vae.", "garment.norm_out", "garment.proj_out", *unread))
        for name in frozen
    )
    assert not any("context" in name for name in trained)


def test_a_layer_s_flow_trains_its_queries_and_the_garment_s_keys(batch: Batch) -> None:
    model = random()
    request = FlowRequest(min_resolution=0.0, layers=("transformer_blocks.1",))
    (flow,) = predict(model, batch, request).flows.values()
    assert flow.shape == (2, 4, 3, 2)
    flow.square().mean().backward()
    for network in ("garment", "denoiser"):
        layer = f"{network}.transformer_blocks.1.attn"
        assert (norm(model, f"{layer}.to_q.weight") > 0) == (network == "denoiser")
        assert (norm(model, f"{layer}.to_k.weight") > 0) == (network == "garment")
        assert norm(model, f"{network}.transformer_blocks.2.attn.to_v.weight") == 0


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        (None, LAYERS),
        (("transformer_blocks.[01]",), LAYERS[:2]),
        ((LAYERS[2], "transformer_blocks.0"), [LAYERS[0], LAYERS[2]]),
    ],
)
def test_layers_are_named_by_block(
    layers: tuple[str, ...] | None, wanted: list[str], batch: Batch
) -> None:
    model = random()
    assert flow_layers(model) == LAYERS
    request = FlowRequest(sharpness=True, share=True, layers=layers)
    found = predict(model, batch, request)
    assert list(found.flows) == list(found.sharpness) == list(found.shares) == wanted


def test_the_flow_is_the_mean_place_of_the_garment_that_a_person_s_token_looks_at(
    batch: Batch,
) -> None:
    """Written out for the layer's own queries and keys, at tau = 2 over garment keys alone."""
    model, seen = random(), dict[str, Any]()

    def tap(name: str, query: Tensor, key: Tensor, *_: object) -> None:
        seen[name] = query.double(), key.double()

    flows = predict(model, batch, FlowRequest(2.0, 0.0, tap=tap)).flows
    y, x = torch.meshgrid(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 3), indexing="ij")
    places = torch.stack([x, y], dim=-1).view(12, 2).double()
    for name, (query, key) in seen.items():
        weights = (query @ key.transpose(-1, -2) / (2 * 8**0.5)).softmax(dim=-1)
        expected = (weights @ places).mean(dim=1).view(2, 4, 3, 2)
        torch.testing.assert_close(flows[name].double(), expected, atol=1e-5, rtol=0)


def test_gradient_checkpointing_changes_nothing(batch: Batch) -> None:
    plain, checkpointed = (
        results(random(gradient_checkpointing=on).train(), batch) for on in (False, True)
    )
    torch.testing.assert_close(checkpointed, plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_blocks_are_compiled_once_with_their_flows(batch: Batch) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    networks = dict.fromkeys(("garment", "denoiser"), TRANSFORMER | {"num_layers": 6})
    plain = results(random(**networks).train(), batch)
    model = random(**networks, gradient_checkpointing=True).train()
    names = list(model.state_dict())
    compile_model(model, True, False, backend=counter)
    torch.testing.assert_close(results(model, batch), plain)
    assert list(model.state_dict()) == names
    # Blocks of either network, and those that are repeated with their flows read; not 24.
    assert 0 < counter.frame_count <= 8
    torch._dynamo.reset()


def test_adapters_begin_as_nothing_and_all_are_trained(batch: Batch) -> None:
    pytest.importorskip("peft")
    expected = predict(random(), batch, ALL_LAYERS)
    model = random(lora={"rank": 2, "alpha": 2})
    found = predict(model, batch, ALL_LAYERS)
    torch.testing.assert_close(found.noise, expected.noise)
    torch.testing.assert_close(found.flows, expected.flows)
    results(model, batch)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in model.named_parameters() if p.grad is not None}
    assert all("lora_" in name or name.startswith("pose_guider.") for name in trained)
    assert any(name.startswith("garment.") for name in trained)


def test_without_its_garment_a_sample_has_zeros(batch: Batch) -> None:
    model = random().eval()
    known = model.encode(batch)
    both = known.drop(torch.tensor([True, False]))
    assert both.garment[0].abs().sum() == both.pooled[0].abs().sum() == 0
    assert torch.equal(both.garment[1], known.garment[1])
    noisy, timesteps = torch.zeros(2, *model.latent_shape(batch)), torch.tensor([300.0, 300.0])
    dropped, with_all, without = (
        model.predict_noise(noisy, timesteps, each).noise
        for each in (both, known, known.unconditional())
    )
    torch.testing.assert_close(dropped, torch.stack([without[0], with_all[1]]))


def test_the_garment_network_runs_once_for_a_picture(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = random().eval(), list[int]()
    model.garment.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    expected = generate(model, batch, SAMPLER)
    assert calls == [1, 2]  # one empty garment for all, and both garments
    calls.clear()
    memory = RunMemory(one_reference=True)
    batch["reference"] = batch["reference"][:1].expand(2, -1, -1, -1)
    first = sample_latents(model, batch, SAMPLER, memory=memory)
    again = sample_latents(model, batch, SAMPLER, memory=memory)
    assert calls == [1, 1]  # the second call remembers
    torch.testing.assert_close(again, first, atol=0, rtol=0)
    torch.testing.assert_close(model.decode(first)[:1].clamp(-1, 1), expected[:1])


def test_the_garment_network_learns_first_to_denoise_garments(batch: Batch) -> None:
    model = random(denoises="garment")
    with pytest.raises(ValueError, match="no attention of this FitDiT attends to a reference"):
        check_supervision(LeffaLoss(), model, None)  # type: ignore[arg-type]
    objective = FlowMatchingObjective(reference_dropout=0.0)
    objective(model, batch, None, torch.Generator().manual_seed(0)).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {f"garment.{name}" for name, _ in model.garment.named_parameters()}
    expected = model.latent(batch, "reference")
    assert torch.equal(model.encode_target(batch), expected)
    assert set(model.saved_state()) == {
        name for name in model.state_dict() if not name.startswith("vae.")
    }


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"pooled": "text"}, "model.pooled must be one of clip, none, got 'text'"),
        ({"pooled": "clip"}, "model.pooled=clip: give the folders of CLIP's image encoders, model"),
        ({"trainable": ["unet"]}, "model.trainable: unknown 'unet'; choose from garment, denoiser"),
        ({"trainable": ["denoiser"]}, "model.garment: a config gives random weights, and it is fr"),
        ({"denoises": "both"}, "model.denoises must be one of person, garment, got 'both'"),
        (
            {"denoises": "garment", "trainable": ["denoiser"]},
            "model.denoises=garment: trains the garment network; add it to trainable",
        ),
        (
            {"scheduler": {"beta_schedule": "linear"}},
            "model.scheduler: a FitDiT is trained by flow",
        ),
        ({"pose_guider": [4, 8, 8]}, "model.pose_guider: halves the image to 1/4, and a latent"),
        (
            {"denoiser": TRANSFORMER | {"num_layers": 2}},
            "model.garment has num_layers=3, model.den",
        ),
        ({"garment": "/nowhere"}, "/nowhere: does not exist; give a diffusers folder, or a hub id"),
        ({"lora": {"rank": 0, "alpha": 1}}, "model.lora: rank=0 and alpha=1 must be positive"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        random(**changes)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_sizes_are_refused_that_are_no_whole_tokens_or_have_no_positions(
    make_batch: Callable[..., Batch],
) -> None:
    model = random()
    assert model.token_count(model.latent_shape(make_batch())) == 12
    for height, line in (
        (18, "images of 18x12 are not a multiple of 4 pixels, one token of the network"),
        (36, "images of 36x12: this network supports positions up to 32 pixels per side"),
    ):
        with pytest.raises(ValueError, match=line):
            model.latent_shape(make_batch(height=height))


def test_the_schedule_is_that_of_the_base() -> None:
    assert random().schedule.kind == "flow matching"
    assert random().scheduler_config["shift"] == SCHEDULER["shift"]
