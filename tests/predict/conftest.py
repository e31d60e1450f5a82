"""Synthetic data, and models trained on it for two steps: what a user has after the first hour."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leffa.cli import main
from leffa.synthetic.write import write_deepfashion, write_viton_hd

HEIGHT, WIDTH = 64, 48

Files = dict[str, Path]
GIVEN = ("person", "garment", "mask", "densepose")  # what try-on with a mask file needs


@pytest.fixture(autouse=True, scope="module")
def _read_once(read_once: None, loaded_once: None) -> None:
    """For all tests here."""


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Try-on samples in VITON-HD's layout."""
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=4, test=3, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def synthetic_poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pose-transfer samples in DeepFashion's layout."""
    root = tmp_path_factory.mktemp("synthetic_poses")
    write_deepfashion(root, train=4, test=2, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def run(
    synthetic: Path,
    tmp_path_factory: pytest.TempPathFactory,
    train_tiny: Callable[..., Path],
    lightened: Callable[[Path], Path],
) -> Path:
    """The folder of a try-on run of three steps, with a running average."""
    folder = tmp_path_factory.mktemp("run")
    return lightened(train_tiny("tryon_synthetic", synthetic, folder, "callbacks=ema"))


@pytest.fixture(scope="session")
def pose_run(
    synthetic_poses: Path,
    tmp_path_factory: pytest.TempPathFactory,
    train_tiny: Callable[..., Path],
) -> Path:
    return train_tiny("pose_synthetic", synthetic_poses, tmp_path_factory.mktemp("pose_run"))


@pytest.fixture(scope="session")
def adapted_run(
    run: Path,
    synthetic: Path,
    tmp_path_factory: pytest.TempPathFactory,
    train_tiny: Callable[..., Path],
) -> Path:
    """A run that trained low-rank adapters on that one, far enough from zero to be seen."""
    pytest.importorskip("peft")
    folder, changes = tmp_path_factory.mktemp("adapted"), ["data=synthetic_tryon", "seed=3"]
    changes += [f"start_from={run}", "model.lora.rank=2", "model.lora.alpha=3", "sampler.steps=1"]
    train_tiny("finetune_lora", synthetic, folder, *changes)
    last = folder / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    generator = torch.Generator().manual_seed(0)
    for key, weight in content["state_dict"].items():
        if ".lora_B." in key:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    torch.save(content, last)
    return folder


@pytest.fixture(scope="session")
def pair(synthetic: Path) -> Files:
    """The files of one try-on sample, by option."""
    test = synthetic / "test"
    stem = min(path.stem for path in (test / "image").iterdir())
    return {
        "person": test / "image" / f"{stem}.jpg",
        "garment": sorted((test / "cloth").iterdir())[0],
        "mask": test / "agnostic-mask" / f"{stem}_mask.png",
        "densepose": test / "image-iuv" / f"{stem}.png",
        "parse": test / "image-parse-v3" / f"{stem}.png",
        "keypoints": test / "openpose_json" / f"{stem}_keypoints.json",
    }


@pytest.fixture
def given(pair: Files) -> Files:
    return {name: pair[name] for name in GIVEN}


@pytest.fixture
def run_predict(run: Path) -> Callable[..., int]:
    """`leffa predict` with a try-on model and two steps; returns the exit code."""

    def call(out: Path, files: Files, *arguments: str, ckpt: Path = run) -> int:
        options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
        usual = ["--ckpt", str(ckpt), "--out", str(out), "--device", "cpu"]
        return main(["predict", *usual, "--steps", "2", *options, *arguments])

    return call
