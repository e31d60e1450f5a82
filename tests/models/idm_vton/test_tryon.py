"""`leffa tryon --weights idm_vton` against a hub on this machine with a tiny published folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from idm_vton_parts import (
    CLIP,
    GARMENT,
    IMAGE_WIDTH,
    SCHEDULER,
    TRYON,
    UNET_FILE,
    published_attentions,
    published_resampler,
    save_text_encoders,
)
from PIL import Image

from leffa.preprocess.densepose.files import write_surface

sys.path.append(str(Path(__file__).parents[2] / "released"))
from fake_hub import FakeHub
from published import VAE, files_of, photo

transformers = pytest.importorskip("transformers")


@pytest.fixture
def published(tmp_path: Path) -> dict[str, bytes]:
    """The repository, whose autoencoder has large cells."""
    folder = save_text_encoders(tmp_path / "published")
    unet = UNet2DConditionModel.from_config(TRYON)
    adapter = {f"encoder_hid_proj.{key}": each for key, each in published_resampler().items()}
    for name, state in published_attentions(unet).items():
        adapter |= {f"{name}.{key}": each for key, each in state.items()}
    weights = dict(unet.state_dict()) | adapter
    unet.register_to_config(encoder_hid_dim=IMAGE_WIDTH, encoder_hid_dim_type="ip_image_proj")
    unet.save_config(folder / "unet")
    torch.save(weights, folder / UNET_FILE)
    UNet2DConditionModel.from_config(GARMENT).save_pretrained(folder / "unet_encoder")
    AutoencoderKL.from_config(VAE).save_pretrained(folder / "vae")
    DDPMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    encoder = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**CLIP))
    encoder.save_pretrained(folder / "image_encoder")
    return files_of(folder)


@pytest.mark.slow
def test_a_photo_and_a_garment_become_a_picture_with_captions(
    published: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("anna", "coat"):
        photo(size=(240, 300)).save(tmp_path / f"{name}.png")
    body = np.zeros((300, 240, 3), np.uint8)
    body[60:150, 80:160] = (2, 100, 50)
    write_surface(body, tmp_path / "colour.png", "colour")
    Image.fromarray(body[..., 0] > 0).convert("L").save(tmp_path / "mask.png")
    columns = {"person": "anna", "garment": "coat", "mask": "mask", "densepose": "colour"}
    rows = [",".join(columns), ",".join(f"{name}.png" for name in columns.values())]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    given = ["--table", str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "out")]
    command = ["tryon", *given, "--weights", "idm_vton", "--steps", "2", "--device", "cpu"]
    hub = FakeHub({"yisol/IDM-VTON": published})
    with hub.serving() as address:
        env = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        subprocess.run([sys.executable, "-m", "leffa", *command], env=env, check=True)
    told = capfd.readouterr().out
    assert told.index("sampling will take about") < told.index("idm_vton: fetched")
    assert {"diffusion_pytorch_model.bin", "tokenizer.json"} <= set(hub.downloads())
    (made,) = (tmp_path / "out").glob("*.png")
    with Image.open(made) as picture:
        assert picture.size == (240, 300)
