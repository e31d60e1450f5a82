"""Agnostic masks for a data set that has none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.doctor.examine import examine
from leffa.data.published import DressCode, VitonHD
from leffa.preprocess.prepare.masks import make_masks


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def overlap(first: Path, second: Path) -> float:
    a, b = (np.asarray(Image.open(path).convert("L")) >= 128 for path in (first, second))
    return float((a & b).sum() / (a | b).sum())


def test_makes_the_masks_where_the_class_reads_them(maskless: Path, downloads: Path) -> None:
    sets = make_masks(maskless, "hr_viton")
    assert [entry.folder.parent.name for entry in sets] == ["train", "test"]
    records = VitonHD(maskless, "test")
    for record in records:
        assert record.mask is not None
        with Image.open(record.mask) as image:
            assert image.mode == "RGB"  # as in the release
        synthetic = downloads / "viton_hd/test/agnostic-mask" / record.mask.name
        assert overlap(record.mask, synthetic) > 0.5
    report = examine(maskless)
    assert report.clean, report.to_text()
    assert "hr_viton" in (maskless / "test/agnostic-mask.json").read_text()
    assert not list(maskless.glob("*/*.unfinished"))


def test_an_interrupted_run_leaves_no_half_folder_and_is_completed(maskless: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_masks(maskless, "hr_viton", progress=stop)
    assert not (maskless / "train/agnostic-mask").exists()
    assert all(record.mask is None for record in VitonHD(maskless, "train"))
    with pytest.raises(ValueError, match="by the recipe hr_viton"):
        make_masks(maskless, "viton_hd")
    seen: list[tuple[int, int]] = []
    make_masks(maskless, "hr_viton", progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (3, 6)
    again = contents(maskless / "train/agnostic-mask")
    shutil.rmtree(maskless / "train/agnostic-mask")
    make_masks(maskless, "hr_viton")
    assert contents(maskless / "train/agnostic-mask") == again


def test_dress_code_masks_follow_the_category(download: Callable[[str], Path]) -> None:
    root = download("dress_code")
    for category in ("upper_body", "lower_body", "dresses"):
        shutil.rmtree(root / category / "agnostic_masks")
    make_masks(root, "dress_code")
    masks = {record.category: record.mask for record in DressCode(root, "test")}
    assert all(masks.values())
    shares = {
        category: [np.asarray(Image.open(path))[half].mean() for half in (np.s_[:48], np.s_[48:])]
        for category, path in masks.items()
        if path
    }
    assert shares["upper_body"][0] > shares["lower_body"][0]
    assert shares["lower_body"][1] > shares["lower_body"][0]
    assert examine(root).clean


def test_masks_that_are_there_are_not_touched(download: Callable[[str], Path]) -> None:
    root = download("viton_hd")
    before = contents(root / "test/agnostic-mask")
    with pytest.raises(ValueError, match="not made here"):
        make_masks(root, "hr_viton")
    assert contents(root / "test/agnostic-mask") == before


def test_a_person_without_a_pose_is_named(maskless: Path) -> None:
    pose = sorted((maskless / "test/openpose_json").iterdir())[0]
    pose.write_text('{"people": []}')
    with pytest.raises(ValueError, match=f"1 of 6 masks could not be made.*{pose.name}"):
        make_masks(maskless, "hr_viton")
    assert not (maskless / "test/agnostic-mask").exists()


def test_a_second_run_beside_the_first_is_refused_and_does_not_touch_its_work(
    maskless: Path,
) -> None:
    beside: list[str] = []

    def start_another(done: int, total: int) -> None:
        with pytest.raises(ValueError, match="another run is making masks here") as told:
            make_masks(maskless, "hr_viton")
        beside.append(str(told.value))

    make_masks(maskless, "hr_viton", progress=start_another)
    assert len(beside) == 6
    assert examine(maskless).clean
