"""`leffa photo`."""

import errno
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.cli import main
from leffa.preprocess.densepose.chart import ChartDensePose, ChartOutput
from leffa.preprocess.photo import Tools, prepare_photos
from leffa.preprocess.synthetic_labels import SyntheticLabels
from leffa.synthetic.render import PersonDrawing


def test_the_command_makes_masks_from_maps_that_are_there(
    root: Path, drawings: dict[str, PersonDrawing], capsys: pytest.CaptureFixture[str]
) -> None:
    exact = SyntheticLabels(drawings.values())
    prepare_photos(root, Tools(parser=exact, densepose=exact, encoding="colour"))
    assert main(["photo", str(root), "--recipe", "catvton"]) == 0
    assert str(root / "masks" / "ben.png") in capsys.readouterr().out
    assert main(["photo", str(root), "--recipe", "catvton"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_command_says_which_photo_lacks_what(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["photo", str(root), "--recipe", "hr_viton"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "not prepared:" in out
    assert "needs a parsing; choose a parser" in out


def test_a_read_only_folder_is_told_before_networks_are_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(**_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    assert main(["photo", str(root), "--atr", str(root / "missing.onnx")]) == 1
    assert "cannot be written to (Read-only file system); give another ROOT" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("option", ["--atr", "--openpose", "--densepose"])
def test_the_command_names_a_missing_file(
    root: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = root / "missing.onnx"
    assert main(["photo", str(root), option, str(missing)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {missing}: no such")


class Reddish(torch.nn.Module):
    """Stands for DensePose: the whole picture is part 2; U is how bright the first channel is."""

    def forward(self, picture: Tensor) -> ChartOutput:
        box = torch.tensor([[0.0, 0.0, float(picture.shape[2]), float(picture.shape[1])]])
        foreground, parts = torch.zeros(1, 2, 4, 4), torch.zeros(1, 25, 4, 4)
        foreground[:, 1] = 1
        parts[:, 2] = 1
        u = torch.ones(1, 25, 4, 4) * picture[0].float().mean() / 255
        return ChartOutput(box, foreground, parts, u, torch.full_like(u, 0.25), torch.ones(1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [2, 255, 63]),
        (["--channels", "bgr"], [2, 0, 63]),
        (["--uv-range", "per_person"], [2, 255, 0]),
    ],
)
def test_the_command_hands_on_how_densepose_is_read(
    tmp_path: Path, options: list[str], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "persons").mkdir()
    Image.new("RGB", (24, 32), (255, 0, 0)).save(tmp_path / "persons" / "red.png")
    monkeypatch.setattr(
        "leffa.preprocess.densepose.densepose_r50_fpn",
        lambda _, device, *how: ChartDensePose(Reddish(), *how),
    )
    usual = ["--densepose", "published.pkl", "--encoding", "iuv"]
    assert main(["photo", str(tmp_path), *usual, *options]) == 0
    made = np.asarray(Image.open(tmp_path / "densepose" / "red.png")).astype(int)
    assert np.abs(made - expected).max() <= 1  # bytes are cut, not rounded
