"""The weights of others in CFLD: the authors' checkpoints, and Swins of timm and of Microsoft."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from model_parts import SD15, save_base
from safetensors.torch import save_file
from torch import Tensor

from leffa.cli import main
from leffa.inference import load_model
from leffa.models.cfld import CFLD
from leffa.models.cfld.encoder import SourceEncoder, load_encoder
from leffa.models.cfld.published import load_published, published_keys
from leffa.run import settings

timm_swin = pytest.importorskip("timm.models.swin_transformer")

SWIN = {"embed_dim": 8, "depths": (2, 1, 1), "num_heads": (1, 1, 2), "window_size": 4}
ENCODER = SWIN | {"image_size": 32, "drop_path_rate": 0.0}
DECODER = {"queries": 5, "depth": 2, "heads": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(tmp_path_factory.mktemp("base"), SD15)


def build(base: Path, seed: int = 0, **changes: Any) -> CFLD:
    torch.manual_seed(seed)
    return CFLD(base, base, base, ENCODER, DECODER, appearance_depth=1, **changes).eval()


def published(model: CFLD) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The two files of a model, whose values all differ from the model's; with Swin's buffers."""
    state = {key: place.detach() + 1 for key, place in published_keys(model).items()}
    unet = {key: value for key, value in state.items() if key.startswith("model.")}
    rest = {key: value for key, value in state.items() if key not in unet}
    rest["backbone.layers.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    rest["backbone.layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(16, 16).long()
    return rest, unet


def write(folder: Path, rest: dict[str, Tensor], unet: dict[str, Tensor]) -> Path:
    torch.save(rest, folder / "pytorch_model.bin")
    save_file(unet, folder / "model_1.safetensors")
    return folder


def test_a_checkpoint_of_the_authors_fills_what_is_trained(base: Path, tmp_path: Path) -> None:
    untouched = build(base).state_dict()
    rest, unet = published(build(base))
    model = build(base, 1)
    model.load_published(write(tmp_path, rest, unet))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    for name, value in model.state_dict().items():
        expected = untouched[name] + 1 if name in trained else untouched[name]
        assert torch.equal(value, expected), name


def test_the_authors_count_the_up_layers_from_the_last_one(base: Path) -> None:
    model = build(base)
    keys, biases = published_keys(model), model.appearance.biases
    assert len(biases) == 2
    for number, bias in enumerate(reversed(biases)):
        assert keys[f"appearance_encoder.zero_conv_ins.{number}.weight"] is bias.conv_in.weight
        assert keys[f"appearance_encoder.zero_conv_outs.{number}.bias"] is bias.conv_out.bias
        block = bias.blocks[0].attn1.to_q.weight
        assert keys[f"appearance_encoder.blocks.{number}.0.attn1.to_q.weight"] is block


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"decoder.query_feat": None}, r"1 keys are missing \(decoder\.query_feat\)$"),
        (
            {"decoder.fc.weight": (1,), "learnable_vector": (1, 16, 768)},
            r"1 keys have no place here \(decoder\.fc\.weight\); 1 keys have another shape "
            r"\(learnable_vector \(1, 16, 768\) for \(1, 5, 12\)\)$",
        ),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(
    base: Path, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    model = build(base)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rest, unet = published(model)
    for key, shape in change.items():
        rest.pop(key, None)
        if shape is not None:
            rest[key] = torch.zeros(shape)
    with pytest.raises(ValueError, match=expected) as caught:
        load_published(model, write(tmp_path, rest, unet))
    assert str(caught.value).startswith(f"{tmp_path}: does not fit: ")
    torch.testing.assert_close(model.state_dict(), before, atol=0, rtol=0)


def test_a_folder_without_the_two_files_is_named(base: Path, tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pytorch_model.bin")
    message = (
        f"{tmp_path}: has neither pytorch_model_1.bin nor model_1.safetensors; give the folder"
    )
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_published(build(base), tmp_path)


def encoder(**changes: Any) -> SourceEncoder:
    return SourceEncoder(**(ENCODER | changes)).eval()


def swin(seed: int = 3, **changes: Any) -> Any:
    """timm's own, with a classifier."""
    torch.manual_seed(seed)
    model = timm_swin.SwinTransformer(
        **({"img_size": 32, "num_classes": 3} | SWIN | changes)
    ).eval()
    for name, parameter in model.named_parameters():
        if "relative_position_bias_table" in name:
            torch.nn.init.normal_(parameter)
    return model


def of_microsoft(state: dict[str, Tensor]) -> dict[str, Any]:
    """timm's weights as Microsoft's files hold them."""
    renamed = {
        re.sub(
            r"layers\.(\d)\.downsample", lambda n: f"layers.{int(n[1]) - 1}.downsample", key
        ).replace("head.fc.", "head."): value
        for key, value in state.items()
    }
    buffer = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(16, 16).long()}
    return {"model": renamed | buffer, "epoch": 3}


@pytest.mark.parametrize("file", ["timm.safetensors", "timm.bin", "microsoft.pth"])
def test_a_swin_file_fills_the_encoder(tmp_path: Path, file: str) -> None:
    whole, path = swin(), tmp_path / file
    if path.suffix == ".safetensors":
        save_file(whole.state_dict(), path)
    else:
        ours = file.startswith("timm")
        torch.save(whole.state_dict() if ours else of_microsoft(whole.state_dict()), path)
    filled = encoder()
    load_encoder(filled, path)
    image = torch.rand(2, 3, 32, 32)
    expected = whole.forward_intermediates(image, intermediates_only=True, norm=False)
    for stage, wanted in zip(filled(image), expected, strict=True):
        torch.testing.assert_close(stage, wanted)


def test_biases_of_another_window_are_interpolated(tmp_path: Path) -> None:
    path = tmp_path / "swin.safetensors"
    save_file(swin(window_size=2).state_dict(), path)
    filled = encoder()
    load_encoder(filled, path)
    table = filled.swin.layers[0].blocks[0].attn.relative_position_bias_table
    assert table.shape == (49, 1)
    middle = swin(window_size=2).layers[0].blocks[0].attn.relative_position_bias_table[4]
    torch.testing.assert_close(table[24], middle)  # of a patch to itself


def test_a_hub_id_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def download(name: str, **options: Any) -> dict[str, Tensor]:
        asked.append((name, options))
        return swin().state_dict()

    monkeypatch.setattr("timm.models._hub.load_state_dict_from_hf", download)
    filled = encoder()
    name = settings("train", ["experiment=cfld_512"], "model")["model"]["encoder_weights"]
    assert name == "timm/swin_base_patch4_window12_384.ms_in22k_ft_in1k"  # a name with a dot
    load_encoder(filled, name)
    assert asked == [(name, {"weights_only": True})]
    expected = swin().patch_embed.proj.weight
    assert torch.equal(filled.swin.patch_embed.proj.weight, expected)


def test_a_hub_that_is_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("cannot find the file.\nCheck your connection.")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", unreachable)
    message = "model.encoder_weights=timm/swin.in1k: no such file here, and the hub did not give"
    with pytest.raises(FileNotFoundError, match=re.escape(message)) as caught:
        load_encoder(encoder(), "timm/swin.in1k")
    assert str(caught.value).endswith("(cannot find the file.); give the path of your copy")


def test_another_swin_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "swin.safetensors"
    save_file(swin(embed_dim=16).state_dict(), path)
    message = f"model.encoder_weights={path}: does not fit: "
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_encoder(encoder(), path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "swin.pth"
    with pytest.raises(FileNotFoundError, match=f"{path}: no such weights file"):
        build(base, encoder_weights=str(path))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="model=cfld needs the package timm: pip install timm"):
        encoder()


def test_a_picture_of_any_shape_is_squashed_to_the_encoder_s_size() -> None:
    filled, picture = encoder(), torch.rand(1, 3, 32, 32)
    wide = picture.repeat_interleave(3, dim=3)
    shapes = [tuple(stage.shape) for stage in filled(wide)]
    assert shapes == [(1, 8, 8, 8), (1, 16, 4, 4), (1, 32, 2, 2)]
    same, other = filled(picture)[-1], filled(wide)[-1]
    assert (same - other).abs().max() < 0.5 * same.abs().max()


def test_a_checkpoint_of_the_authors_becomes_one_of_ours(base: Path, tmp_path: Path) -> None:
    write(tmp_path, *published(build(base)))
    expected = build(base)
    expected.load_published(tmp_path)
    settings = {"encoder": ENCODER | {k: list(ENCODER[k]) for k in ("depths", "num_heads")}}
    changes = [f"backbone.source={base}", "backbone.cfld.appearance_depth=1"]
    for part, values in (settings | {"decoder": DECODER}).items():
        changes += [f"backbone.cfld.{part}.{key}={value}" for key, value in values.items()]
    out = tmp_path / "cfld.ckpt"
    where = ["--weights", str(tmp_path), "--experiment", "cfld_512", "--out", str(out)]
    assert main(["convert", *where, *changes]) == 0
    loaded = load_model(out)
    torch.testing.assert_close(loaded.model.state_dict(), expected.state_dict(), atol=0, rtol=0)
    assert (loaded.inputs.task, loaded.inputs.width) == ("pose", 352)
