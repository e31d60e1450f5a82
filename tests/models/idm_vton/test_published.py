"""Published weights: every key has its place."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from idm_vton_parts import (
    GARMENT,
    IMAGE_WIDTH,
    SCHEDULER,
    TRYON,
    UNET_FILE,
    VAE,
    State,
    predict,
    published_attentions,
    published_resampler,
    scale_adapter,
)
from safetensors.torch import save_file
from torch import Tensor

from leffa.cli import main
from leffa.data.batch import Batch
from leffa.inference import load_model
from leffa.models.idm_vton import IDMVTON
from leffa.models.idm_vton.networks import freeze_text, load_garment, load_tryon

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def base() -> UNet2DConditionModel:
    torch.manual_seed(3)
    return UNet2DConditionModel.from_config(TRYON)


@pytest.fixture(scope="module")
def adapter(base: UNet2DConditionModel) -> dict[str, State]:
    """The content of an IP-Adapter file: its authors number the attentions as the UNet has them."""
    numbers = {name: number for number, name in enumerate(base.attn_processors)}
    attentions = {
        f"{numbers[name]}.{key}": tensor
        for name, state in published_attentions(base).items()
        for key, tensor in state.items()
    }
    return {"image_proj": published_resampler(), "ip_adapter": attentions}


@pytest.fixture(scope="module")
def parts(
    base: UNet2DConditionModel,
    adapter: dict[str, State],
    clip_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with everything that an IDM-VTON starts from, and `adapter.bin`."""
    folder = tmp_path_factory.mktemp("parts")
    base.save_pretrained(folder / "unet")
    UNet2DConditionModel.from_config(GARMENT).save_pretrained(folder / "unet_encoder")
    AutoencoderKL.from_config(VAE).save_pretrained(folder / "vae")
    DDPMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    shutil.copytree(clip_folder, folder / "image_encoder")
    torch.save(adapter, folder / "adapter.bin")
    return folder


@pytest.fixture(scope="module")
def published(
    parts: Path,
    base: UNet2DConditionModel,
    adapter: dict[str, State],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same as the authors publish it: the adapter is in the UNet's own file."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(parts, folder, dirs_exist_ok=True)
    names = list(base.attn_processors)
    state = dict(base.state_dict())
    for key, tensor in adapter["image_proj"].items():
        state[f"encoder_hid_proj.{key}"] = tensor
    for key, tensor in adapter["ip_adapter"].items():
        number, _, rest = key.partition(".")
        state[f"{names[int(number)]}.{rest}"] = tensor
    as_one = copy.copy(base)
    as_one.register_to_config(encoder_hid_dim=IMAGE_WIDTH, encoder_hid_dim_type="ip_image_proj")
    as_one.save_config(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state, folder / UNET_FILE)
    return folder


def build(folder: Path, adapter: Path | None) -> IDMVTON:
    garment, image = folder / "unet_encoder", folder / "image_encoder"
    return IDMVTON(folder, garment, image, folder, folder, adapter).eval()


def values(state: State) -> Tensor:
    """Every number of a state dict, sorted."""
    return torch.cat([tensor.flatten() for tensor in state.values()]).sort().values


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_an_adapter_file_is_read_as_diffusers_reads_it(
    parts: Path,
    base: UNet2DConditionModel,
    adapter: dict[str, State],
    suffix: str,
    tmp_path: Path,
) -> None:
    flat = {f"{part}.{key}": t for part, state in adapter.items() for key, t in state.items()}
    file = tmp_path / f"adapter{suffix}"
    save_file(flat, file) if suffix == ".safetensors" else torch.save(adapter, file)
    ours = load_tryon(parts, 4, IMAGE_WIDTH, file)
    base = copy.deepcopy(base)
    base._load_ip_adapter_weights([adapter], low_cpu_mem_usage=False)
    same = {"atol": 0.0, "rtol": 0.0}
    torch.testing.assert_close(
        ours.encoder_hid_proj.state_dict(), base.encoder_hid_proj.state_dict(), **same
    )
    found = 0
    for name, processor in ours.attn_processors.items():
        if name.endswith(".attn2.processor"):
            theirs = base.attn_processors[name].state_dict()
            torch.testing.assert_close(processor.state_dict(), theirs, **same)
            found += len(theirs)
    assert found == len(adapter["ip_adapter"])
    assert values(ours.encoder_hid_proj.state_dict()).equal(values(adapter["image_proj"]))


def test_every_number_of_the_published_network_is_in_ours(published: Path) -> None:
    state = torch.load(published / UNET_FILE, weights_only=True)
    unet = build(published, None).unet
    assert values(unet.state_dict()).equal(values(state))
    assert unet.conv_in.weight.equal(state["conv_in.weight"])


def test_the_published_network_is_that_of_its_parts(
    parts: Path, published: Path, batch: Batch, noisy: Tensor
) -> None:
    from_parts = build(parts, parts / "adapter.bin")
    as_one = build(published, None)
    expected = predict(from_parts, noisy, from_parts.encode(batch))
    torch.testing.assert_close(predict(as_one, noisy, as_one.encode(batch)), expected)
    scale_adapter(as_one, 0.0)  # so that it counts at all
    assert (predict(as_one, noisy, as_one.encode(batch)) - expected).abs().max() > 1e-3


def test_of_the_garment_network_only_the_crop_sizes_are_unused(parts: Path) -> None:
    stock = UNet2DConditionModel.from_pretrained(parts / "unet_encoder")
    unused = {name for name, _ in stock.named_parameters() if name.startswith("add_embedding.")}
    assert unused
    ours = load_garment(parts / "unet_encoder", 4)
    for name, parameter in ours.named_parameters():
        assert parameter.equal(stock.get_parameter(name))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("conv_out.bias"), r"1 keys are missing \(conv_out\.bias\)"),
        (lambda s: s.update(more=torch.zeros(1)), r"1 keys have no place here \(more\)"),
        (
            lambda s: s.update({"encoder_hid_proj.norm_out.bias": torch.zeros(5)}),
            r"is no IP-Adapter Plus .*size mismatch for norm_out\.bias",
        ),
        (
            lambda s: s.pop(
                "mid_block.attentions.0.transformer_blocks.1.attn2.processor.to_v_ip.weight"
            ),
            r"1 keys are missing \(mid_block\..*attn2\.processor\.to_v_ip\.0\.weight\)",
        ),
        (
            lambda s: s.pop("encoder_hid_proj.layers.2.0.to_kv.weight"),
            r"is no IP-Adapter Plus .*Missing key\(s\).*layers\.2\.attn\.to_k\.weight",
        ),
        (lambda s: s.pop("encoder_hid_proj.latents"), r"is no IP-Adapter Plus \('latents'\)"),
    ],
)
def test_a_published_network_that_does_not_fit_is_refused_in_one_line(
    published: Path, change: Change, line: str, tmp_path: Path
) -> None:
    state = torch.load(published / UNET_FILE, weights_only=True)
    change(state)
    shutil.copytree(published / "unet", tmp_path / "unet")
    torch.save(state, tmp_path / UNET_FILE)
    with pytest.raises(ValueError, match=line) as caught:
        load_tryon(tmp_path, 4, IMAGE_WIDTH, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda a: a["ip_adapter"].pop("1.to_k_ip.weight"), r"1 keys are missing \(1\.to_k_ip"),
        (
            lambda a: a["ip_adapter"].update({"0.to_k_ip.weight": torch.zeros(1)}),
            r"1 keys have no place here \(0\.to_k_ip",
        ),
        (
            lambda a: a["image_proj"].pop("layers.3.1.3.weight"),
            r"is no IP-Adapter Plus .*Missing key\(s\).*layers\.3\.ff\.1\.net\.2\.weight",
        ),
        (lambda a: a.pop("image_proj"), "is no IP-Adapter file, .* this one has ip_adapter"),
        (lambda a: a.update(more={}), "is no IP-Adapter file, .* this one has image_proj, ip"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_in_one_line(
    parts: Path, change: Change, line: str, tmp_path: Path
) -> None:
    content = torch.load(parts / "adapter.bin", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "adapter.bin")
    with pytest.raises(ValueError, match=line) as caught:
        load_tryon(parts, 4, IMAGE_WIDTH, tmp_path / "adapter.bin")
    assert "\n" not in str(caught.value)


def test_a_second_adapter_is_refused(published: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.adapter: .* has its own; give adapter=null"):
        build(published, published / "adapter.bin")


def test_an_adapter_of_another_image_encoder_is_refused(parts: Path) -> None:
    with pytest.raises(ValueError, match="reads image tokens 16 wide, and the image encoder's are"):
        load_tryon(parts, 4, 32, parts / "adapter.bin")


def test_the_full_network_has_the_published_number_of_parameters() -> None:
    """The file unet/diffusion_pytorch_model.bin of the release has 11.97 GB in float32."""
    config = {
        "in_channels": 13,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 2,
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    full = {"hidden_dims": 1280, "depth": 4, "heads": 20, "dim_head": 64, "num_queries": 16}
    with torch.device("meta"):
        unet = load_tryon(config, 4, 1280, full)
        garment = load_garment(config, 4)
    count = sum(p.numel() for p in unet.parameters())
    assert count == 2_991_238_468
    assert 0 < 11_965_769_774 - 4 * count < 1e6  # the rest names the tensors
    assert sum(p.numel() for p in garment.parameters()) == 2_536_933_120
    assert sum(p.numel() for p in unet.encoder_hid_proj.parameters()) == 82_961_664
    freeze_text(unet)  # without captions
    assert sum(p.numel() for p in unet.parameters() if p.requires_grad) == 2_650_451_268


def test_the_published_folder_becomes_a_checkpoint_that_can_be_evaluated(
    published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "idm.ckpt"
    where = ["--weights", str(published), "--experiment", "idm_vton_vitonhd", "--out", str(out)]
    assert main(["convert", *where, "backbone.idm_vton.text=null"]) == 0
    loaded = load_model(out)
    expected = build(published, None).state_dict()
    torch.testing.assert_close(loaded.model.state_dict(), expected, atol=0, rtol=0)
    assert loaded.inputs.task == "tryon"
