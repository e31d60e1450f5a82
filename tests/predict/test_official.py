"""`leffa predict --official`: from files to the pictures of the released pipeline."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from leffa.cli import main
from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.inference import load_model
from leffa.io.png import save_png, to_uint8
from leffa.models.checkpoints import load_official
from leffa.models.sampler import SamplerSettings, generate
from leffa.predict import Job, predict

BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}
RECORDED = {"source": "src_image", "reference": "ref_image", "densepose": "densepose"}


@pytest.fixture(params=BASES)
def golden(
    request: pytest.FixtureRequest, recordings: Callable[[str], Path]
) -> tuple[Path, Path, dict[str, Tensor]]:
    """The weights of a tiny official network, their base, and what was recorded of them."""
    folder = recordings(request.param)
    recorded = load_file(folder / "golden.safetensors")
    return folder / "official.pth", folder / BASES[request.param], recorded


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_picture_is_that_of_the_official_settings(
    golden: tuple[Path, Path, dict[str, Tensor]], pair: dict[str, Path], tmp_path: Path
) -> None:
    weights, base, _ = golden
    files = {name: pair[name] for name in ("person", "garment", "mask", "densepose")}
    arguments = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    arguments += ["--ckpt", str(weights), "--base", str(base), "--as", "virtual_tryon"]
    arguments += ["--size", "64x48", "--encoding", "iuv", "--device", "cpu"]
    arguments += ["--official", "--steps", "4", "--seed", "5"]
    name, settings = pair["person"].stem, SamplerSettings.official(steps=4, seed=5)
    assert main(["predict", *arguments, "--out", str(tmp_path / "out")]) == 0
    one = tmp_path / "out" / f"{name}.png"
    assert json.loads(one.with_suffix(".json").read_text())["sampler"] == asdict(settings)

    record = Record(name, "", *files.values())
    transform = PersonTransform(64, 48, densepose="colour", densepose_files="iuv")
    batch = collate([PersonDataset([record], transform)[0]])
    model = load_official(base, weights)
    torch.manual_seed(5)
    expected = generate(model, batch, settings)
    assert np.array_equal(pixels(one), to_uint8(expected[0]))


def test_the_recorded_pictures_come_out_of_files(
    golden: tuple[Path, Path, dict[str, Tensor]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, base, recorded = golden
    files = {key: recorded[name] for key, name in RECORDED.items()}
    files["mask"] = recorded["mask"] * 2 - 1
    records = []
    for index in range(2):
        paths = {key: tmp_path / f"{key}_{index}.png" for key in files}
        for key, path in paths.items():
            save_png(files[key][index].expand(3, -1, -1), path)
        records.append(Record(name=str(index), category="", **paths))
    # The recorded inputs are noise, and the recorder's global generator began elsewhere than its
    # other one.
    monkeypatch.setattr("leffa.predict.check._MOST_BODY", 1)
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda _: seed(10))
    settings = SamplerSettings.official(steps=4, seed=42)
    transform = PersonTransform(64, 48, densepose="colour")
    job = Job(weights, records, transform, settings, tmp_path / "out", batch_size=2)
    made = predict(
        job, load_model(weights, None, str(base), "virtual_tryon"), "cpu", progress=False
    )
    found = np.stack([pixels(path) for path in made])
    difference = np.abs(found - recorded["pipeline_image"].numpy().astype(int))
    assert difference.max() <= 4  # files hold 8 bits of what was recorded in 32
    assert difference.mean() < 0.5


def test_a_picture_with_its_neighbours_noise_is_refused(
    run: Path, pair: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("person", "garment", "mask", "densepose")
    files = [part for name in names for part in (f"--{name}", str(pair[name]))]
    where = ["--ckpt", str(run), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["predict", *where, *files, "--official", "--batch-size", "2"]) == 1
    assert "--batch-size 2: the released pipeline draws the noise" in capsys.readouterr().err
