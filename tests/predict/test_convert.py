"""`leffa convert`: every kind of weights into every other, and back with equal pictures."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file

from leffa.cli import main
from leffa.inference import load_model
from leffa.io.png import read_png
from leffa.io.weights import load_weights
from leffa.models.checkpoints import load_official
from leffa.models.export import load_exported, read_settings
from leffa.models.pipeline import LeffaPipeline
from leffa.models.sampler import SamplerSettings, sample_latents

pytestmark = pytest.mark.usefixtures("built_once")

BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}
PRESETS = {"sd15": "virtual_tryon", "sdxl": "pose_transfer"}


def convert(weights: Path, out: Path, *arguments: str) -> int:
    return main(["convert", "--weights", str(weights), "--out", str(out), *arguments])


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    assert convert(run, out) == 0
    return out


def test_from_training_to_export_to_prediction_pictures_are_equal(
    run: Path, exported: Path, pair: dict[str, Path], tmp_path: Path
) -> None:
    assert convert(exported, tmp_path / "again.ckpt") == 0
    names = ("person", "garment", "mask", "densepose")
    files = [part for name in names for part in (f"--{name}", str(pair[name]))]
    pictures = []
    for number, ckpt in enumerate((run, exported, tmp_path / "again.ckpt")):
        out = tmp_path / str(number)
        where = ["--ckpt", str(ckpt), "--out", str(out), "--device", "cpu", "--steps", "2"]
        assert main(["predict", *where, *files, "--save-flow"]) == 0
        pictures.append([read_png(path) for path in sorted(out.rglob("*.png"))])
    assert len(pictures[0]) == 3
    # Kernels round differently for weights that lie elsewhere in memory.
    one_level = {"atol": 1.01 * 2 / 255, "rtol": 0.0}
    torch.testing.assert_close(pictures[1], pictures[0], **one_level)
    torch.testing.assert_close(pictures[2], pictures[0], **one_level)


def test_stock_classes_open_the_folder(exported: Path) -> None:
    kinds = {"unet": UNet2DConditionModel, "reference_unet": UNet2DConditionModel}
    for name, kind in (kinds | {"vae": AutoencoderDC}).items():
        _, report = kind.from_pretrained(
            exported, subfolder=name, output_loading_info=True, low_cpu_mem_usage=False
        )
        assert not report["missing_keys"] + report["unexpected_keys"]
    assert DDPMScheduler.from_pretrained(exported, subfolder="scheduler")
    pipeline = LeffaPipeline.from_pretrained(exported)
    assert (pipeline.config.height, pipeline.config.width) == (64, 48)


def test_the_folder_says_how_the_model_is_fed(exported: Path, run: Path) -> None:
    settings = read_settings(exported)
    assert (settings.inputs.task, settings.inputs.densepose, settings.step) == ("tryon", "iuv", 3)
    assert (settings.inputs.height, settings.inputs.width) == (64, 48)
    assert settings.sampler == SamplerSettings("ddim", 20, 1.0, noise_scale=0.7)
    assert settings == load_model(run).settings


def test_a_folder_of_the_first_format_is_read(exported: Path, tmp_path: Path) -> None:
    """Its inputs stood beside the rest."""
    content = json.loads((exported / "leffa.json").read_text())
    inputs = content.pop("inputs")
    del inputs["fit"]
    (tmp_path / "leffa.json").write_text(json.dumps(content | inputs | {"format": 1}))
    assert read_settings(tmp_path) == read_settings(exported)


def test_the_card_is_filled_from_the_run(run: Path, tmp_path: Path) -> None:
    result = {
        "dataset": "synthetic",
        "samples": 3,
        "subset_of": 9,
        "metrics": {"paired/ssim": 0.51234},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(result))
    assert convert(run, tmp_path / "model", "--evaluation", str(tmp_path)) == 0
    card = (tmp_path / "model" / "README.md").read_text()
    for words in (
        "# tryon_synthetic: virtual try-on with Leffa",
        "| images | 64x48 (height x width) |",
        "| data | VitonHD (synthetic, rendered by this package) |",
        "| steps | 3 optimizer steps |",
        "| leffa | 1 | 64 | 48 | 2 | 0.001 | True |",
        "| synthetic | 3 (a part) | paired/ssim | 0.5123 |",
        "Training data. Synthetic, rendered by this package: Apache-2.0.",
    ):
        assert words in card


def test_the_average_is_taken_unless_the_raw_weights_are_asked_for(
    run: Path, tmp_path: Path
) -> None:
    assert convert(run, tmp_path / "average", "--dtype", "bfloat16") == 0
    assert convert(run, tmp_path / "raw.safetensors", "--raw") == 0
    key = "conv_in.weight"
    average = load_file(tmp_path / "average" / "unet" / "diffusion_pytorch_model.safetensors")[key]
    raw = load_weights(tmp_path / "raw.safetensors")[f"unet.{key}"]
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert torch.equal(raw, content["state_dict"][f"model.generative_unet.{key}"])
    expected = content["ema"]["weights"][f"model.generative_unet.{key}"]
    assert torch.equal(average, expected.bfloat16())
    assert not torch.equal(raw, expected)
    model, _ = load_exported(tmp_path / "average")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", BASES)
def test_a_released_file_becomes_a_folder_that_gives_the_recorded_latents(
    kind: str, recordings: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recordings(kind)
    base, weights = folder / BASES[kind], folder / "official.pth"
    recorded = load_file(folder / "golden.safetensors")
    arguments = ["--base", str(base), "--as", PRESETS[kind]]
    assert convert(weights, tmp_path / "model", *arguments) == 0
    assert re.search(
        r"official\.pth: \d+ tensors loaded; its other \d+ are of layers that",
        capsys.readouterr().err,
    )
    model, settings = load_exported(tmp_path / "model")
    assert (settings.inputs.height, settings.inputs.width) == (1024, 768)
    inputs = {"source": "src_image", "reference": "ref_image", "mask": "mask"}
    batch = {key: recorded[name] for key, name in (inputs | {"densepose": "densepose"}).items()}
    batch |= {"loss_region": recorded["mask"], "name": ["a", "b"], "category": ["", ""]}
    torch.manual_seed(10)
    latents = sample_latents(model, batch, SamplerSettings.official(steps=4, seed=42))  # type: ignore[arg-type]
    torch.testing.assert_close(latents, recorded["pipeline_final_latent"], atol=1e-4, rtol=0)
    assert "MIT" in (tmp_path / "model" / "README.md").read_text()
    # And back into the released layout.
    assert convert(tmp_path / "model", tmp_path / "again.pth") == 0
    again, before = load_official(base, tmp_path / "again.pth"), load_official(base, weights)
    expected = before.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in again.state_dict().items())


class Intruder:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["virtual_tryon.pth", "last.ckpt"])
def test_runs_nothing_that_hides_in_a_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], recordings: Callable[[str], Path]
) -> None:
    victim = tmp_path / "victim"
    payload = {"state_dict": {"w": torch.ones(1)}, "config": {"x": 1}, "evil": Intruder(victim)}
    torch.save(payload, tmp_path / name)
    base = ["--base", str(recordings("sd15") / BASES["sd15"])]
    arguments = base if name.endswith(".pth") else []
    assert convert(tmp_path / name, tmp_path / "out", *arguments) == 1
    printed = capsys.readouterr().err
    assert "not a file of plain tensors" in printed
    assert len(printed.strip().splitlines()) == 1
    assert not victim.exists()
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_one_line(
    run: Path, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "weights.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / "virtual_tryon.pth")
    (tmp_path / "metrics.json").write_text("{}")
    cases = [
        (tmp_path / "weights.pth", tmp_path / "x", [], "add --as virtual_tryon|virtual_tryon_dc"),
        (tmp_path / "virtual_tryon.pth", tmp_path / "x", [], "holds no configs of its networks"),
        (run, exported, [], f"{exported}: is not empty; give another --out, or delete it"),
        (run, tmp_path / "x", ["--base", "y"], "--base goes with a released file (.pth)"),
        (run, tmp_path / "x.pth", ["--dtype", "float16"], "go with a folder as --out"),
        (run, tmp_path / "x.ckpt", ["--published"], "x.ckpt: a .ckpt is of this program"),
        (run, tmp_path / "x", ["--published"], "x: give --out FILE.pth or FILE.safetensors"),
        (run, tmp_path / "x", ["--evaluation", str(tmp_path)], "is not a result of evaluate.py"),
        (tmp_path / "y", tmp_path / "x", [], "y: no such weights"),
    ]
    for weights, out, arguments, message in cases:
        assert convert(weights, out, *arguments) == 1
        printed = capsys.readouterr().err.strip().splitlines()
        assert len(printed) == 1
        assert message in printed[0]
    assert not (tmp_path / "x").exists()


def test_a_damaged_folder_is_named(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    for name in ("leffa.json", "model_index.json"):
        (copy / name).write_bytes((exported / name).read_bytes())
    assert convert(copy, tmp_path / "x") == 1
    assert "model" in capsys.readouterr().err
    settings = json.loads((copy / "leffa.json").read_text())
    (copy / "leffa.json").write_text(json.dumps(settings | {"format": 99}))
    assert convert(copy, tmp_path / "x") == 1
    assert "leffa.json: is of another version of leffa" in capsys.readouterr().err
