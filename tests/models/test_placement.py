"""Precision, offloading, attention backends, compiled blocks and tiles: the same pictures."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
import torch._dynamo.testing
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.losses.request import FlowRequest
from leffa.models import placement
from leffa.models.catvton import CatVTON
from leffa.models.cfld import CFLD
from leffa.models.compiled import CompiledBlock, compile_blocks
from leffa.models.interface import PersonGenerator
from leffa.models.leffa import LeffaModel
from leffa.models.placement import compute_device, networks_of, offload, place_model
from leffa.models.sampler import SamplerSettings, generate
from leffa.models.schedulers import known_samplers
from leffa.performance import Performance

sys.path += [str(Path(__file__).parent / folder) for folder in ("cfld", "fitdit", "idm_vton")]
import cfld_parts
import fitdit_parts
import idm_vton_parts

CPU = torch.device("cpu")
SLOW = pytest.mark.slow
SOURCES = (cfld_parts.UNET, idm_vton_parts.VAE, idm_vton_parts.SCHEDULER)
CFLD_PARTS = {"encoder": cfld_parts.ENCODER, "decoder": cfld_parts.DECODER, "appearance_depth": 1}
MODELS: dict[str, Callable[[], PersonGenerator]] = {
    "leffa": lambda: LeffaModel(*SOURCES),
    "catvton": lambda: CatVTON(*SOURCES, trainable="all"),
    "fitdit": fitdit_parts.random,
    "idm_vton": idm_vton_parts.build,
    "cfld": lambda: CFLD(*SOURCES, trainable="all", **CFLD_PARTS),
}


def built(name: str) -> PersonGenerator:
    torch.manual_seed(0)
    return MODELS[name]().eval().requires_grad_(False)


@pytest.fixture
def batch(make_batch: Callable[..., Batch]) -> Batch:
    return make_batch() | {"pose": torch.rand(2, 21, 16, 12)}  # type: ignore[return-value]


def pictures(model: PersonGenerator, batch: Batch, **changes: Any) -> Tensor:
    sampler = known_samplers(model.scheduler_config)[0]
    return generate(model, batch, SamplerSettings(scheduler=sampler, steps=2, **changes))


@pytest.fixture
def native() -> Iterator[None]:
    """`set_attention_backend` chooses for all models; afterwards as before."""
    yield
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[] if name == "leffa" or kind == "model" else SLOW)
        for name in MODELS
        for kind in ("model", "sequential", "group")
    ],
)
def test_offloading_changes_no_picture(name: str, kind: Any, batch: Batch) -> None:
    expected = pictures(built(name), batch)
    model = built(name)
    offload(model, CPU, kind)
    if kind == "sequential":
        for network in networks_of(model):
            assert {weight.device.type for weight in network.parameters()} == {"meta"}
    for _ in range(2):
        assert torch.equal(pictures(model, batch), expected)


def test_each_network_makes_room_for_the_next_and_the_autoencoder_is_last(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, come = built("leffa"), list[str]()
    names = {part: name for name, part in model.named_children()}
    arrive = accelerate.hooks.CpuOffload.pre_forward

    def recorded(self: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        come.append(names[module])
        return arrive(self, module, *args, **kwargs)

    monkeypatch.setattr(accelerate.hooks.CpuOffload, "pre_forward", recorded)
    offload(model, CPU, "model")
    networks: list[Any] = networks_of(model)
    assert [names[part] for part in networks] == ["reference_unet", "generative_unet", "vae"]
    hooks = [network._hf_hook.prev_module_hook for network in networks]
    assert [hook and names[hook.model] for hook in hooks] == [
        *(None, "reference_unet", "generative_unet")
    ]
    pictures(model, batch, reference_cache=True)
    first = come.index("reference_unet")
    assert set(come[:first]) == {"vae"}  # it encodes what is given
    assert come[first:] == ["reference_unet", "generative_unet", "generative_unet", "vae"]


@pytest.mark.parametrize("name", MODELS)
def test_attention_goes_through_the_dispatcher_of_diffusers(
    name: str, batch: Batch, native: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel of the CPU rounds otherwise: within 1e-4 of [-1, 1] after two steps."""
    model = built(name)
    expected = pictures(model, batch)
    used: list[str] = []
    math = AttentionBackendName._NATIVE_MATH
    kernel = _AttentionBackendRegistry._backends[math]

    def counted(**how: Any) -> Tensor:
        used.append("math")
        return kernel(**how)

    monkeypatch.setitem(_AttentionBackendRegistry._backends, math, counted)
    place_model(model, CPU, Performance(attention="native"))
    assert torch.equal(pictures(model, batch), expected)
    assert used == []
    place_model(model, CPU, Performance(attention="_native_math"))
    torch.testing.assert_close(pictures(model, batch), expected, atol=1e-4, rtol=0)
    assert len(used) >= 2


# What compiling one model costs is what ten other tests cost; `make test` does it once, below.
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_blocks_have_no_graph_break_and_change_no_picture(
    name: str, backend: str, batch: Batch
) -> None:
    """`fullgraph`: a break would be an error. Within 1e-5 of [-1, 1]."""
    torch._dynamo.reset()
    model = built(name)
    expected = pictures(model, batch, reference_cache=True)
    flows = flows_of(model, batch)
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    for network in networks_of(model):
        compile_blocks(network, counter)
    found = pictures(model, batch, reference_cache=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert counter.frame_count > 0
    for layer, flow in flows_of(model, batch).items():
        torch.testing.assert_close(flow, flows[layer], atol=1e-5, rtol=0)
    torch._dynamo.reset()


def flows_of(model: PersonGenerator, batch: Batch) -> dict[str, Tensor]:
    conditioning = model.encode(batch)
    noisy = torch.zeros(2, *model.latent_shape(batch))
    with torch.no_grad():
        request = FlowRequest(min_resolution=1 / 32)
        flows = model.predict_noise(noisy, torch.tensor([200, 200]), conditioning, request).flows
    assert flows
    return flows


@SLOW
def test_one_graph_serves_all_layers_of_a_size(batch: Batch) -> None:
    torch._dynamo.reset()
    unet = cfld_parts.UNET | {"layers_per_block": 3}
    model = LeffaModel(unet, *SOURCES[1:]).eval().requires_grad_(False)
    counter = torch._dynamo.testing.CompileCounter()
    compile_blocks(model.generative_unet, counter)
    blocks = [part for part in model.modules() if isinstance(part, CompiledBlock)]
    with torch.no_grad():
        pictures(model, batch)
    assert counter.frame_count < len(blocks) / 2
    torch._dynamo.reset()


def test_weights_of_16_bits_give_nearly_the_same_picture(batch: Batch) -> None:
    expected = pictures(built("leffa"), batch)
    for precision, tolerance in {"16-true": 0.02, "bf16-true": 0.15}.items():
        model = built("leffa")
        model.vae.register_to_config(force_upcast=True)
        place_model(model, CPU, Performance(precision=precision))  # type: ignore[arg-type]
        assert next(model.generative_unet.parameters()).dtype == placement.DTYPES[precision]
        assert (model.vae.dtype == torch.float32) == (precision == "16-true")
        torch.testing.assert_close(pictures(model, batch), expected, atol=tolerance, rtol=0)


def test_tiles_change_a_picture_only_where_they_meet(make_batch: Callable[..., Batch]) -> None:
    model = built("leffa")
    vae: Any = model.vae
    with torch.no_grad():
        small, large = torch.randn(2, 4, 8, 8), torch.randn(1, 4, 24, 24)
        expected = [model.decode(latents) for latents in (small, large)]
        place_model(model, CPU, Performance(tile_vae=True))
        assert vae.use_tiling and vae.use_slicing
        one_tile = model.decode(small)  # picture by picture
        torch.testing.assert_close(one_tile, expected[0], atol=1e-5, rtol=1e-5)
        vae.tile_sample_min_size, vae.tile_latent_min_size = 32, 16
        tiled = model.decode(large)
    assert tiled.shape == expected[1].shape
    difference = (tiled - expected[1]).abs()
    assert 0 < difference.mean() < 0.1
    assert difference[..., :8, :8].max() < 0.5


def test_what_cannot_be_is_told(batch: Batch) -> None:
    with pytest.raises(ValueError, match="runs on the CPU; leave it out"):
        place_model(built("leffa"), CPU, Performance(offload="model"))
    gpu = torch.device("cuda")
    with pytest.raises(ValueError, match="give one of them, or --offload model"):
        place_model(built("leffa"), gpu, Performance(offload="group", compile_networks=True))
    with pytest.raises(ValueError, match=r"--attention flash: .*flash"):
        place_model(built("leffa"), CPU, Performance(attention="flash"))
    with pytest.raises(ValueError, match=r"--attention quick: .*must be one of"):
        place_model(built("leffa"), CPU, Performance(attention="quick"))


def test_a_model_is_placed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = built("leffa"), []
    monkeypatch.setattr(placement, "compile_blocks", calls.append)
    for _ in range(2):
        place_model(model, CPU, Performance(compile_networks=True))
    assert len(calls) == len(networks_of(model))
    assert compute_device(model) == CPU
