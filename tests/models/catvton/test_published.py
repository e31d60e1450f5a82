"""The published layout: the self-attentions by number."""

from pathlib import Path
from typing import Any

import pytest
import torch
from catvton_parts import Bases, build
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import nn

from leffa.cli import main
from leffa.inference import load_model
from leffa.models.catvton import CatVTON
from leffa.models.latent import parameter_counts
from leffa.models.loading import load_vae

SD15 = {"in_channels": 9, "cross_attention_dim": 768}  # the rest is diffusers' default
SD15_VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
}


def test_the_published_layout_comes_back_as_it_was(bases: Bases, tmp_path: Path) -> None:
    model, fresh = build(bases(9), trainable="all"), build(bases(9))
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.1)
    model.save_published(tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    for place in (tmp_path, tmp_path / "model.safetensors"):
        fresh.load_published(place)
        for name, parameter in fresh.unet.named_parameters():
            changed = torch.equal(parameter, model.unet.get_parameter(name))
            assert changed == (".attn1." in name)
    started = build(bases(9))
    started.load_published(tmp_path)
    torch.testing.assert_close(started.state_dict(), fresh.state_dict())


def test_the_layout_is_that_of_a_list_of_all_modules_of_the_attentions(bases: Bases) -> None:
    """The authors' files are of a list of every module with "attn1" in its name, in the order of
    the UNet, where the processors were modules too. A tensor is kept by its first name."""

    class Processor(AttnProcessor, nn.Module):
        pass

    unet = UNet2DConditionModel.from_pretrained(bases(9), subfolder="unet")
    unet.set_attn_processor({name: Processor() for name in unet.attn_processors})
    listed = nn.ModuleList(m for name, m in unet.named_modules() if "attn1" in name)
    theirs = dict(listed.named_parameters())  # each once
    ours = build(bases(9)).published_keys()
    assert list(ours) == list(theirs)
    for key, parameter in ours.items():
        assert torch.equal(parameter, theirs[key])


def test_the_published_layout_numbers_the_layers_down_up_middle(model: CatVTON) -> None:
    keys = model.published_keys()
    assert {key.split(".")[0] for key in keys} == {"0", "8", "16", "24"}
    middle = model.unet.mid_block.attentions[0].transformer_blocks[0].attn1
    assert keys["24.to_out.0.bias"] is middle.to_out[0].bias


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"8.to_q.weight": None}, r"1 keys are missing \(8\.to_q\.weight\)"),
        ({"1.weight": (16, 16)}, r"1 keys have no place here \(1\.weight\)"),
        (
            {"0.to_v.weight": (32, 16), "120.to_q.weight": (1,)},
            r"1 keys have no place here \(120\.to_q\.weight\); 1 keys have another shape "
            r"\(0\.to_v\.weight \(32, 16\) for \(16, 16\)\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed_and_nothing_is_loaded(
    model: CatVTON, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    path = tmp_path / "model.safetensors"
    model.save_published(path)
    state = load_file(path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {key: tensor + 1 for key, tensor in state.items()}
    for key, shape in change.items():
        state.pop(key, None)
        if shape is not None:
            state[key] = torch.zeros(shape)
    save_file(state, path)
    with pytest.raises(ValueError, match=expected) as caught:
        model.load_published(path)
    assert str(caught.value).startswith(f"{path}: does not fit: ")
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


def test_has_the_published_numbers_of_parameters() -> None:
    """Section 1: 49.57 million trained of 899.06. We count 0.17 million more, 0.02 %."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(SD15)
        vae = load_vae(SD15_VAE)
    model = CatVTON(unet, vae, {"beta_schedule": "scaled_linear"})
    trained, whole = parameter_counts(model)["all"]
    assert (trained, whole) == (49_574_080, 899_226_667)
    assert round(trained / 1e6, 2) == 49.57
    keys = model.published_keys()
    assert len(keys) == 16 * 5
    assert {int(key.split(".")[0]) for key in keys} == set(range(0, 121, 8))
    assert keys["120.to_q.weight"].shape == (1280, 1280)  # the middle


def test_published_attention_becomes_a_checkpoint_that_can_be_evaluated(
    bases: Bases, tmp_path: Path
) -> None:
    model, file = build(bases(9)), tmp_path / "it's = here" / "model.safetensors"
    with torch.no_grad():
        for parameter in model.published_keys().values():
            parameter.add_(0.1)
    file.parent.mkdir()
    model.save_published(file)
    out = tmp_path / "catvton.ckpt"
    where = ["--weights", str(file.parent), "--experiment", "catvton_vitonhd", "--out", str(out)]
    assert main(["convert", *where, f"backbone.source={bases(9)}"]) == 0
    loaded = load_model(out)
    torch.testing.assert_close(loaded.model.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert load_model(out).name == "catvton_vitonhd_published"
    assert (loaded.inputs.task, loaded.settings.step) == ("tryon", 0)
    assert (loaded.inputs.height, loaded.inputs.width) == (512, 384)


def test_what_cannot_become_a_checkpoint_is_refused_in_one_line(
    bases: Bases, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(bases(9)).save_published(tmp_path / "model.safetensors")
    out, base = str(tmp_path / "x.ckpt"), f"backbone.source={bases(9)}"
    file, published = tmp_path / "none.safetensors", ["--experiment", "catvton_vitonhd"]
    cases = [
        (
            tmp_path,
            out,
            ["--experiment", "viton_256"],
            "viton_256: is of model=leffa; a released file",
        ),
        (tmp_path, out, [base], f"{base}: KEY=VALUE goes with --experiment"),
        (tmp_path, str(tmp_path / "x"), [*published, base], "give --out FILE.ckpt"),
        (tmp_path, out, [*published, "--raw"], "--experiment goes with --weights, --out and"),
        (tmp_path, out, [*published, "--published"], "--experiment goes with --weights, --out"),
        (file, out, [*published, base], f"error: --weights {file}: no such file or folder"),
    ]
    for weights, place, arguments, message in cases:
        assert main(["convert", "--weights", str(weights), "--out", place, *arguments]) == 1
        printed = capsys.readouterr().err.strip().splitlines()
        assert len(printed) == 1
        assert message in printed[0]
    assert not Path(out).exists()
