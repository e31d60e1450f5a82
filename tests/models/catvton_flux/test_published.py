"""Layouts of others: adapters and whole transformers, there and back, and what they are kept in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from catvton_flux_parts import BLOCKS, TRANSFORMER, build
from diffusers import FluxPipeline, FluxTransformer2DModel
from model_parts import ALL_LAYERS, MakeBatch, gradients, leffa_loss, noise_for, predict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from leffa.data.batch import Batch
from leffa.models.catvton_flux import CatVTONFlux
from leffa.models.catvton_flux.attention import tap_joint_attention
from leffa.models.catvton_flux.networks import TransformerSettings
from leffa.models.catvton_flux.published import LORA_FILE
from leffa.models.lora import merge_adapters

LORA = {"rank": 2, "alpha": 6}
Model = Callable[..., CatVTONFlux]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained tiny transformer in diffusers' folder."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(1)
    FluxTransformer2DModel.from_config(TRANSFORMER).save_pretrained(folder)
    return folder


@pytest.fixture
def adapted(base: Path) -> Model:
    """Builds a model whose adapters count."""
    pytest.importorskip("peft")

    def make(**changes: Any) -> CatVTONFlux:
        model = build(base, trainable="attention", lora=LORA, **changes)
        torch.manual_seed(2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_(std=0.3)
        return model.eval()

    return make


@torch.no_grad()
def velocity(model: CatVTONFlux, batch: Batch) -> torch.Tensor:
    return predict(model, batch).noise


def test_adapters_are_all_that_is_trained_and_saved(adapted: Model, make_batch: MakeBatch) -> None:
    model, batch = adapted(gradient_checkpointing=True).train(), make_batch()
    assert all(".lora_" in name for name in model.saved_state())
    prediction = predict(model, batch, ALL_LAYERS)
    (prediction.noise.square().mean() + leffa_loss(prediction, batch)).backward()
    assert gradients(model).keys() == model.saved_state().keys()
    for block in BLOCKS:  # queries and keys move, so a flow can
        for part in ("to_q", "to_k"):
            name = f"transformer.{block}.{part}.lora_A.default.weight"
            assert gradients(model)[name].abs().max() > 0


def test_diffusers_own_loader_reads_the_adapters_that_are_written(
    adapted: Model, base: Path, make_batch: MakeBatch, tmp_path: Path
) -> None:
    model, batch = adapted(), make_batch()
    expected = velocity(model, batch)
    model.save_published(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [LORA_FILE]
    with safe_open(tmp_path / "out" / LORA_FILE, framework="pt") as file:
        layers = {key.rpartition(".attn.")[2].partition(".lora_")[0] for key in file.keys()}  # noqa: SIM118
    added = {"add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"}
    assert layers == {"to_q", "to_k", "to_v", "to_out.0"} | added
    stock = FluxTransformer2DModel.from_pretrained(base, low_cpu_mem_usage=False)
    pipeline = FluxPipeline(None, None, None, None, None, None, stock)
    plain = build(base, trainable="attention")
    assert not torch.allclose(velocity(plain, batch), expected, atol=1e-3)
    pipeline.load_lora_weights(tmp_path / "out")
    tap_joint_attention(stock, "after_rope")
    plain.transformer = stock
    torch.testing.assert_close(velocity(plain, batch), expected)


def test_adapters_come_back_as_they_were(
    adapted: Model, base: Path, make_batch: MakeBatch, tmp_path: Path
) -> None:
    model, batch = adapted(), make_batch()
    model.save_published(tmp_path / "out")
    fresh = build(base, trainable="attention", lora=LORA)
    fresh.load_published(tmp_path / "out")
    assert torch.equal(velocity(fresh, batch), velocity(model, batch))


def test_merged_adapters_are_saved_with_the_attentions(
    adapted: Model, base: Path, make_batch: MakeBatch
) -> None:
    model, batch = adapted(), make_batch()
    expected = velocity(model, batch)
    merge_adapters([model.transformer])
    merged = build(base, trainable="attention")
    kept = merged.load_state_dict(model.saved_state(), strict=False)
    assert not kept.unexpected_keys
    torch.testing.assert_close(velocity(merged, batch), expected)


def test_adapters_without_alpha_have_that_of_their_rank(
    adapted: Model, base: Path, tmp_path: Path
) -> None:
    adapted().save_published(tmp_path / "out")
    file = tmp_path / LORA_FILE
    save_file(load_file(tmp_path / "out" / LORA_FILE), file)  # without metadata
    message = (
        f"{file}: holds adapters of rank 2, alpha 2, and the model has {{}}; "
        'give "model.lora={{rank: 2, alpha: 2}}"'
    )
    with pytest.raises(ValueError) as caught:
        build(base, trainable="attention", lora=LORA).load_published(file)
    assert str(caught.value) == message.format("ones of rank 2, alpha 6")
    with pytest.raises(ValueError) as caught:
        build(base, trainable="attention").load_published(tmp_path)
    assert str(caught.value) == message.format("none")
    build(base, trainable="attention", lora={"rank": 2, "alpha": 2}).load_published(file)


def test_adapters_of_other_layers_are_refused(adapted: Model, tmp_path: Path) -> None:
    model = adapted()
    model.save_published(tmp_path / "out")
    file = tmp_path / "out" / LORA_FILE
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    name = next(iter(state))
    state["transformer.transformer_blocks.0.ff.net.2.lora_A.weight"] = state.pop(name)
    save_file(state, file, metadata)
    with pytest.raises(ValueError, match=r"1 keys have no place here .*ff.*; 1 keys are missing"):
        model.load_published(file)


def test_a_whole_transformer_goes_there_and_back(
    base: Path, make_batch: MakeBatch, tmp_path: Path
) -> None:
    model, batch = build(base, trainable="attention"), make_batch()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    model.save_published(tmp_path / "out")
    stock = FluxTransformer2DModel.from_pretrained(tmp_path / "out", low_cpu_mem_usage=False)
    own = model.transformer.state_dict()
    assert stock.state_dict().keys() == own.keys()
    fresh = build(base, trainable="attention")
    fresh.load_published(tmp_path / "out")
    assert torch.equal(velocity(fresh, batch), velocity(model, batch))
    again = build(tmp_path / "out", trainable="attention")
    assert torch.equal(velocity(again, batch), velocity(model, batch))


def test_a_transformer_that_was_trained_elsewhere_too_is_a_base(base: Path, tmp_path: Path) -> None:
    other = FluxTransformer2DModel.from_pretrained(base, low_cpu_mem_usage=False)
    with torch.no_grad():
        other.x_embedder.weight.add_(1)
    other.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"was trained in x_embedder\.weight, which is frozen he"):
        build(base, trainable="attention").load_published(tmp_path)
    build(base).load_published(tmp_path)


def test_frozen_weights_of_16_bits_give_nearly_the_same(base: Path, make_batch: MakeBatch) -> None:
    whole, half = (
        build(base, trainable="attention", frozen_dtype=dtype) for dtype in ("float32", "bfloat16")
    )
    for name, parameter in half.transformer.named_parameters():
        assert parameter.dtype == (torch.float32 if "attn" in name else torch.bfloat16)
    batch = make_batch()
    expected, found = velocity(whole, batch), velocity(half, batch)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.1 * expected.std()
    timesteps = torch.tensor([100.0, 200.0])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        mixed = half.predict_noise(noise_for(half, batch), timesteps, half.encode(batch)).noise
    torch.testing.assert_close(mixed, found, atol=0.05, rtol=0)


def test_quantisation_is_refused_without_adapters_its_package_or_a_gpu(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="quantised weights cannot be trained, but adapters on"):
        build(base, trainable="attention", quantization="4bit")
    pytest.importorskip("peft")
    installed = {"bitsandbytes": None}
    monkeypatch.setattr(
        "leffa.models.catvton_flux.networks.find_spec", lambda name: installed.get(name, True)
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for lacks in ("needs the package bitsandbytes: pip install", "needs an NVIDIA GPU"):
        with pytest.raises(ValueError, match=f"model.quantization=8bit {lacks}") as caught:
            build(base, trainable="attention", lora=LORA, quantization="8bit")
        assert "\n" not in str(caught.value)
        installed.clear()


def test_a_wrong_choice_is_told() -> None:
    with pytest.raises(ValueError, match=r"model.quantization must be one of none, 8bit, 4bit"):
        TransformerSettings(quantization="2bit")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"model.lora: rank=0 and alpha=1 must be positive"):
        TransformerSettings(lora={"rank": 0, "alpha": 1})
    with pytest.raises(ValueError, match=r"model.lora: the rest of the network stays as it is"):
        pytest.importorskip("peft")
        build(lora=LORA)


@pytest.mark.parametrize(
    ("settings", "bits"),
    [
        ({"frozen_dtype": "float32"}, 32),
        ({"frozen_dtype": "bfloat16"}, 16),
        ({"quantization": "8bit"}, 8),
        ({"quantization": "4bit"}, 4.5),
    ],
)
def test_an_estimate_knows_what_frozen_weights_occupy(settings: dict[str, Any], bits: int) -> None:
    """By shapes alone, without the package or a GPU: linear layers have all weights but biases."""
    pytest.importorskip("peft")
    with torch.device("meta"):
        model = build(lora=LORA, **settings)
    frozen = [p for p in model.transformer.parameters() if not p.requires_grad]
    weights = sum(p.numel() for p in frozen if p.ndim == 2)
    rest = sum(p.numel() for p in frozen if p.ndim == 1)
    width = {"float32": 4, "bfloat16": 2}[settings.get("frozen_dtype", "float32")]
    autoencoder = 4 * sum(p.numel() for p in model.vae.parameters())
    assert model.frozen_bytes() == int(weights * bits / 8) + rest * width + autoencoder
