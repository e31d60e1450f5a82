"""The published layout, SD3's own, and what is refused."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from fitdit_parts import TRANSFORMER, VAE, build, random
from model_parts import predict
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from leffa.models.fitdit.published import TEXT, load_encoders, load_transformer
from leffa.models.loading import load_vae

NETWORKS = ("transformer_garm", "transformer_vton")
FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    shutil.copytree(published, folder)
    return folder


def test_every_key_comes_back_and_the_text_stream_as_zeros(
    published: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    model = build(published)
    assert (
        "transformer_garm: 20 tensors (0.0 million weights) of the text stream are left"
        in caplog.text
    )
    model.save_published(tmp_path / "again")
    for part in NETWORKS:
        theirs, ours = (load_file(root / part / FILE) for root in (published, tmp_path / "again"))
        assert theirs.keys() == ours.keys()
        for key, tensor in theirs.items():
            text = TEXT.fullmatch(key) is not None
            assert torch.equal(ours[key], torch.zeros_like(tensor) if text else tensor), key
        configs = [
            json.loads((root / part / "config.json").read_text())
            for root in (published, tmp_path / "again")
        ]
        for config in configs:
            config.pop("_diffusers_version")
        assert configs[1].items() >= configs[0].items()
    again = build(tmp_path / "again").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_adapters_are_merged_into_what_is_published(tmp_path: Path, make_batch: Any) -> None:
    pytest.importorskip("peft")
    model, batch = random(lora={"rank": 2, "alpha": 2}), make_batch()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    expected = predict(model, batch).noise
    model.save_published(tmp_path / "out")
    found = predict(build(tmp_path / "out"), batch).noise
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_denoiser_of_a_base_reads_at_first_the_noisy_latent_alone(tmp_path: Path) -> None:
    """SD3's own file has `add_q_proj` and the like, too."""
    torch.manual_seed(0)
    base = SD3Transformer2DModel(**{**TRANSFORMER, "in_channels": 4, "out_channels": 4})
    base.save_pretrained(tmp_path / "transformer")
    network = load_transformer(tmp_path, 9, 4)
    weight = network.pos_embed.proj.weight
    assert torch.equal(weight[:, :4], base.pos_embed.proj.weight)
    assert weight[:, 4:].abs().sum() == 0
    assert network.config.in_channels == 9
    own = network.state_dict()
    assert all(key in own or TEXT.fullmatch(key) for key in base.state_dict())


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"_class_name": "FluxTransformer2DModel"}, "is a FluxTransformer2DModel; give the transf"),
        ({"qk_norm": "rms_norm"}, "is of Stable Diffusion 3.5, whose blocks differ; give"),
        ({"out_channels": 4}, "predicts 4 channels, and the autoencoder has 16; give the transf"),
        ({"in_channels": 9}, "takes 9 channels, neither 16 nor 33; give the transformer of Stable"),
        ({"patch_size": 4}, "has patches of 4 cells, not 2; give the transformer of Stable"),
    ],
)
def test_another_base_is_refused_in_one_line(
    changes: dict[str, Any], line: str, copy: Path
) -> None:
    path = copy / "transformer_vton" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=line) as caught:
        build(copy)
    assert str(caught.value).startswith(f"{path.parent}: ")
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_keys_are_refused(copy: Path) -> None:
    file = copy / "transformer_garm" / FILE
    state = load_file(file)
    state["transformer_blocks.0.attn.norm_q.weight"] = torch.ones(16)
    del state["proj_out.bias"]
    save_file(state, file)
    with pytest.raises(ValueError, match=r"transformer_garm: does not fit: 1 keys have no place"):
        build(copy)


def test_a_pose_guider_is_as_wide_as_its_file_says(copy: Path) -> None:
    file = copy / "pose_guider" / "diffusion_pytorch_model.bin"
    assert build(copy).pose_guider.out.in_features == 4 * 16
    state = torch.load(file)
    torch.save({key: each for key, each in state.items() if key != "out.bias"}, file)
    with pytest.raises(ValueError, match=r"\.bin: does not fit: 1 keys are missing \(out\.bias\)"):
        build(copy)


def test_published_weights_are_a_base_and_no_start(published: Path) -> None:
    with pytest.raises(ValueError, match=f"backbone=fitdit_published backbone.source={published}"):
        random().load_published(published)


def test_a_whole_clip_s_image_side_is_taken(tmp_path: Path) -> None:
    tiny = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    vision = tiny | {"image_size": 8, "patch_size": 4, "projection_dim": 3}
    config = CLIPConfig(
        text_config=tiny | {"vocab_size": 9}, vision_config=vision, projection_dim=3
    )
    CLIPModel(config).save_pretrained(tmp_path)
    encoders = load_encoders([tmp_path, tmp_path], 6)
    assert encoders(torch.zeros(2, 3, 16, 12)).shape == (2, 6)
    with pytest.raises(ValueError, match="embeddings of 3 in all, and the networks take 6; give"):
        load_encoders([tmp_path], 6)


def test_the_network_is_as_wide_as_the_autoencoder() -> None:
    model = random()
    assert model.garment.config.in_channels == load_vae(VAE).config.latent_channels
    assert model.denoiser.config.in_channels == 2 * VAE["latent_channels"] + 1
