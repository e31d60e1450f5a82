"""The surgery on stock UNets: what changes, what stays, and what is gone."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from leffa.models.attention import self_attention_names
from leffa.models.loading import SHIPPED_VAE, hub_file, load_scheduler, load_unet, load_vae
from leffa.models.unets import make_generative, make_reference, refit_conv_in

SD15 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL = {
    "sample_size": 128,
    "in_channels": 9,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def parameters(module: torch.nn.Module) -> dict[str, int]:
    return {name: parameter.numel() for name, parameter in module.named_parameters()}


def run(unet: UNet2DConditionModel, latent: Tensor) -> Tensor:
    text = torch.ones(len(latent), 3, unet.config.cross_attention_dim)
    with torch.no_grad():
        return unet(latent, torch.tensor(7), text).sample


def test_new_input_channels_do_not_change_the_output(unet_config: dict[str, Any]) -> None:
    unet = load_unet(unet_config)
    known = torch.randn(2, unet_config["in_channels"], 8, 6)
    expected = run(unet, known)
    refit_conv_in(unet, 12)
    new = torch.randn(2, 12 - unet_config["in_channels"], 8, 6) * 100
    assert unet.config.in_channels == 12
    torch.testing.assert_close(run(unet, torch.cat([known, new], dim=1)), expected)


def test_fewer_input_channels_keep_the_first_weights(sd15_config: dict[str, Any]) -> None:
    unet = load_unet(sd15_config | {"in_channels": 9})
    expected = unet.conv_in.weight[:, :4].clone()
    refit_conv_in(unet, 4)
    torch.testing.assert_close(unet.conv_in.weight, expected)


def test_channels_of_another_meaning_start_at_zero(sd15_config: dict[str, Any]) -> None:
    unet = load_unet(sd15_config | {"in_channels": 9})
    expected = unet.conv_in.weight[:, :4].clone()
    refit_conv_in(unet, 7, keep=4)  # the base's mask channel is not our densepose
    torch.testing.assert_close(unet.conv_in.weight[:, :4], expected)
    assert not unet.conv_in.weight[:, 4:].any()


def test_the_generative_unet_loses_the_text_and_nothing_else(unet_config: dict[str, Any]) -> None:
    stock = parameters(UNet2DConditionModel.from_config(unet_config))
    left = parameters(make_generative(load_unet(unet_config), 12))
    lost = {name for name in stock if ".attn2." in name or name.startswith("add_embedding.")}
    assert set(stock) - set(left) == lost
    assert lost
    stock["conv_in.weight"] = stock["conv_in.weight"] // unet_config["in_channels"] * 12
    assert left == {name: count for name, count in stock.items() if name not in lost}


def test_the_reference_unet_ends_after_its_last_recorded_layer(unet_config: dict[str, Any]) -> None:
    generative = make_generative(load_unet(unet_config), 12)
    reference = make_reference(load_unet(unet_config), 4)
    last = self_attention_names(generative)[-1].removesuffix(".attn1")
    lost = set(parameters(generative)) - set(parameters(reference))
    assert {name for name in lost if not name.startswith((last, "up_blocks.", "conv_"))} == set()
    assert f"{last}.norm1.weight" in parameters(reference)
    assert {"conv_out.weight", "conv_norm_out.weight", f"{last}.norm3.weight"} <= lost


def test_layers_are_named_in_the_order_in_which_they_run(unet_config: dict[str, Any]) -> None:
    unet = load_unet(unet_config)
    names = self_attention_names(unet)
    ran: list[str] = []
    for name in names:
        unet.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    run(unet, torch.randn(1, unet_config["in_channels"], 8, 6))
    assert ran == names


@pytest.mark.parametrize(
    ("config", "stock", "layers", "generative", "reference"),  # all but the first are counts
    [
        (SD15 | {"in_channels": 9}, 859_535_364, 16, 815_581_444, 813_800_640),
        (SDXL, 2_567_478_084, 70, 2_016_570_884, 1_994_704_000),
    ],
    ids=["sd15_inpainting", "sdxl_inpainting"],
)
def test_full_size_bases_have_the_expected_layers_and_sizes(
    config: dict[str, Any], stock: int, layers: int, generative: int, reference: int
) -> None:
    with torch.device("meta"):
        before = UNet2DConditionModel.from_config(config)
        ours = make_generative(load_unet(config), 12)
        theirs = make_reference(load_unet(config), 4)
    assert sum(parameters(before).values()) == stock
    assert ours.conv_in.weight.shape == (320, 12, 3, 3)
    assert theirs.conv_in.weight.shape == (320, 4, 3, 3)
    assert len(self_attention_names(ours)) == layers
    counted = [sum(parameters(unet).values()) for unet in (ours, theirs)]
    assert counted == [generative, reference]


@pytest.mark.parametrize("load", [load_unet, load_vae, load_scheduler])
def test_names_a_folder_that_does_not_exist(load: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist; give a diffusers folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("load", "part"), [(load_unet, "unet"), (load_vae, "vae"), (load_scheduler, "scheduler")]
)
def test_names_the_part_that_a_folder_lacks(load: Any, part: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name}: has no {part}/"):
        load(tmp_path)


def test_a_saved_unet_loads_from_its_folder(sd15_config: dict[str, Any], tmp_path: Path) -> None:
    unet = load_unet(sd15_config)
    unet.save_pretrained(tmp_path / "unet")
    torch.testing.assert_close(load_unet(tmp_path).state_dict(), unet.state_dict())


def test_an_autoencoder_without_a_weight_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED_VAE, tmp_path / "vae")
    file = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    lost = state.popitem()[0]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=rf"1 keys are missing \({re.escape(lost)}\)"):
        load_vae(tmp_path)


def test_a_single_file_comes_from_the_hub_where_there_is_none_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, filename: str, **_: Any) -> str:
        asked.append((repository, filename))
        return str(tmp_path / "cached")

    monkeypatch.setattr("diffusers.utils.hub_utils.hf_hub_download", download)
    assert hub_file("owner/name/folder/adapter.bin") == tmp_path / "cached"
    assert asked == [("owner/name", "folder/adapter.bin")]
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bin: no such file"):
        hub_file(tmp_path / "nowhere.bin")


def test_refuses_a_base_whose_up_blocks_have_no_attention(sd15_config: dict[str, Any]) -> None:
    unet = load_unet(sd15_config | {"up_block_types": ["UpBlock2D", "UpBlock2D"]})
    with pytest.raises(ValueError, match="needs one in its up blocks"):
        make_reference(unet, 4)
