"""Scoring folders: what is refused, what comes out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.metrics import score
from leffa.metrics.folders import FolderMismatch
from leffa.metrics.paired import PSNR, SSIM
from leffa.metrics.protocols import (
    PROTOCOLS,
    KIDSettings,
    LPIPSSettings,
    SSIMSettings,
)
from leffa.metrics.score import score_folders

from .noise import draw

LEFFA = PROTOCOLS["leffa"]
PAIRED = {name: LEFFA.paired[name] for name in ("ssim", "psnr")}
FAST = replace(LEFFA, paired=PAIRED, sets={})
KID_ONLY = replace(LEFFA, paired=PAIRED, sets={"kid": KIDSettings()})


def tensor(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255


def problems(pred: Path, true: Path, names: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(FolderMismatch) as raised:
        score_folders(pred, true, FAST, names=names)
    return raised.value.problems


def test_values_are_those_of_the_metrics_on_the_decoded_files(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    scores = score_folders(pred, true, FAST, batch_size=2)
    ssim, psnr = SSIM(), PSNR()
    for name in ("00", "01", "02"):
        images = tensor(pred / f"{name}.png"), tensor(true / f"{name}.jpg")
        ssim.update(*images)
        psnr.update(*images)
    assert scores.values["ssim"] == pytest.approx(ssim.compute().item(), abs=1e-9)
    assert scores.values["psnr"] == pytest.approx(psnr.compute().item(), abs=1e-9)
    assert list(scores.per_image["ssim"].values()) == pytest.approx(ssim.per_image().tolist())
    assert scores.images == {"pred": 3, "real": 3}
    assert scores.formats == {"pred": {"PNG": 3}, "true": {"JPEG": 3}}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_neither_batch_size_nor_mixed_sizes_change_a_value(
    folders: tuple[Path, Path], batch_size: int
) -> None:
    for folder in folders:
        draw(folder, "03.png", "04.png", size=(16, 20), seed=len(folder.name))
    expected = score_folders(*folders, FAST, batch_size=2)
    scores = score_folders(*folders, FAST, batch_size=batch_size)
    assert scores.values == pytest.approx(expected.values, abs=1e-6)
    for metric, values in expected.per_image.items():
        assert scores.per_image[metric] == pytest.approx(values, abs=1e-6)


def test_names_pair_predictions_with_other_true_images(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    draw(pred, "00.png", seed=1)  # what is in true/00.jpg, before JPEG
    names = {"00": "00", "01": "00", "02": "01"}
    psnr = score_folders(pred, true, FAST, names=names).per_image["psnr"]
    assert psnr["00"] > psnr["01"]


def test_refuses_missing_and_superfluous_predictions(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    (pred / "01.png").rename(pred / "montage.png")
    assert problems(pred, true) == [
        "predictions missing (1): 01",
        "predictions without a true image (1): montage",
    ]


def test_refuses_names_that_are_not_in_the_folders(folders: tuple[Path, Path]) -> None:
    names = {"00": "00", "01": "01", "02": "7"}
    assert problems(*folders, names=names) == ["true images missing (1): 7"]


def test_refuses_pairs_of_different_size(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    draw(pred, "01.png", size=(12, 16))
    assert problems(pred, true) == [
        "sizes differ, resize one side (1): 01.png 16x12 but 01.jpg 32x24"
    ]


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_refuses_images_that_are_not_rgb(folders: tuple[Path, Path], mode: str) -> None:
    pred, true = folders
    draw(pred, "02.png", mode=mode)
    assert problems(pred, true) == [f"{pred}: not 8-bit RGB, convert (1): 02.png ({mode})"]


def test_refuses_two_files_of_one_name(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    draw(true, "02.png")
    assert problems(pred, true) == [
        f"{true}: two files of one name, remove one (1): 02.jpg and 02.png"
    ]


def test_refuses_unreadable_files(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    (pred / "02.png").write_text("not a picture")
    assert problems(pred, true) == [
        f"{pred}: unreadable, save again (1): 02.png",
        "predictions missing (1): 02",
    ]


def test_refuses_images_in_sub_folders(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    draw(pred / "grids", "all.png")
    assert "images in sub-folders" in problems(pred, true)[0]


def test_refuses_an_empty_folder(folders: tuple[Path, Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"{empty}: no images" in problems(empty, folders[1])[0]


def test_refuses_a_folder_that_does_not_exist(folders: tuple[Path, Path]) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        score_folders(folders[0] / "nowhere", folders[1], FAST)


def test_a_refusal_counts_and_names_the_first_few(tmp_path: Path) -> None:
    draw(tmp_path / "pred", "x.png")
    draw(tmp_path / "true", "x.png", *(f"{i}.png" for i in range(8)))
    (line,) = problems(tmp_path / "pred", tmp_path / "true")
    assert line == "predictions missing (8): 0, 1, 2, 3, 4 and 3 more"


def test_a_truncated_image_is_named(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    file = pred / "01.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"01\.png: is not a readable image"):
        score_folders(pred, true, FAST)


@pytest.mark.usefixtures("without_networks")
def test_a_missing_network_leaves_the_other_metrics(folders: tuple[Path, Path]) -> None:
    scores = score_folders(
        *folders, replace(LEFFA, paired={"ssim": SSIMSettings(), "lpips": LPIPSSettings()}, sets={})
    )
    assert scores.values.keys() == {"ssim"}
    assert "alexnet-owt-7be5be79.pth not found" in scores.missing["lpips"]
    table = scores.to_markdown()
    assert "| SSIM ↑ | LPIPS ↓ |" in table
    assert "- lpips is missing: alexnet-owt-7be5be79.pth not found" in table


def test_the_result_file_holds_all_that_decides_the_numbers(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pred, _ = folders
    score_folders(pred, pred, FAST).save(tmp_path / "scores.json")
    result = json.loads((tmp_path / "scores.json").read_text())
    assert result["values"]["ssim"] == pytest.approx(1)
    assert result["values"]["psnr"] == "inf"
    assert result["protocol"]["paired"]["ssim"]["border"] == "full"
    assert result["protocol"]["source"] == "this project"
    assert len(result["names_sha256"]) == 64
    assert result["intervals"] == {"ssim": [1.0, 1.0]}  # that of an infinite PSNR has no end
    assert result["versions"]["torchmetrics"]
    assert result["images"] == {"pred": 3, "real": 3}


@pytest.mark.usefixtures("inception")
def test_unpaired_folders_get_set_metrics_only(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    scores = score_folders(pred, true, KID_ONLY, paired=False)
    assert scores.values.keys() == {"kid", "kid_std"}
    assert scores.images == {"pred": 3, "real": 3}
    assert "biased" in scores.notes[0]
    assert "2015-12-05" in scores.weights["kid"]


def test_unpaired_folders_of_different_size_need_a_named_real_set(
    folders: tuple[Path, Path],
) -> None:
    pred, true = folders
    draw(true, "more.png")
    with pytest.raises(FolderMismatch, match=r"3 predictions but 4 true images: .*--real"):
        score_folders(pred, true, LEFFA, paired=False)


def test_no_convolution_is_rounded_to_tf32_while_pictures_are_scored(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    convolutions, seen = torch.backends.cudnn.conv, []
    before = convolutions.fp32_precision
    feed = score._feed

    def watched(*arguments: Any) -> None:
        seen.append(convolutions.fp32_precision)
        feed(*arguments)

    monkeypatch.setattr(score, "_feed", watched)
    score_folders(*folders, FAST)
    assert seen == ["ieee"]
    assert convolutions.fp32_precision == before != "ieee"
    with pytest.raises(FolderMismatch):
        score_folders(folders[0], folders[0].parent, FAST)
    assert convolutions.fp32_precision == before


def test_names_without_pairs_are_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="they need paired=True"):
        score_folders(*folders, FAST, paired=False, names={"00": "01"})


def test_a_turned_image_is_refused_by_name(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(true / "01.jpg").save(true / "01.jpg", exif=exif)
    with pytest.raises(FolderMismatch, match=r"true: stored rotated \(EXIF.*upright \(1\): 01.jpg"):
        score_folders(pred, true, FAST)


def test_colour_profiles_are_told_and_not_applied(
    folders: tuple[Path, Path], display_p3: bytes
) -> None:
    pred, true = folders
    before = score_folders(pred, true, FAST)
    Image.open(pred / "01.png").save(pred / "01.png", icc_profile=display_p3)
    scores = score_folders(pred, true, FAST)
    assert scores.values == before.values
    (note,) = set(scores.notes) - set(before.notes)
    assert note.endswith("(pred: sRGB 2, Display P3 1; true: sRGB 3)")


def test_files_that_are_no_pictures_are_told(folders: tuple[Path, Path]) -> None:
    pred, true = folders
    for name in ("a.heic", "b.HEIC", ".DS_Store", "._00.png", "00.json"):
        (pred / name).write_bytes(b"?")
    (note,) = (note for note in score_folders(pred, true, FAST).notes if "left out" in note)
    assert note.startswith(f"{pred}: left out: 2 .heic; what is read: .jpg")
