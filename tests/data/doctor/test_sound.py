"""Sound copies and real samples pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damages import (
    LAYOUTS,
    problem,
)
from PIL import Image

from leffa.data.doctor.examine import examine


@pytest.mark.parametrize("layout", LAYOUTS)
def test_passes_a_sound_copy_and_recognises_it(copies: Path, layout: str) -> None:
    report = examine(copies / layout)
    assert report.dataset == layout
    assert report.clean, report.to_text()
    assert report.drawn
    assert report.files > 0
    assert examine(copies / layout, layout).files == report.files


def test_reads_the_release_tree_of_deepfashion(broken: Callable[[str], Path]) -> None:
    root = broken("deepfashion")
    for folder in ("train_highres", "test_highres"):
        shutil.rmtree(root / folder)
    report = examine(root)
    assert report.clean, report.to_text()
    picture = next(root.glob("*/*/id_*/*.jpg"))
    picture.write_bytes(b"")
    assert picture.name in " ".join(problem(examine(root), "empty-file").names)


@pytest.mark.parametrize(
    ("sample", "dataset", "says"),
    [
        ("viton_hd_pairs", "viton_hd", "subset: 33 of 2,032"),
        ("viton_hd_densepose", "viton_hd", "a subset; officially 2,032"),
        ("viton_hd_parse_pose", "viton_hd", "a subset; officially 2,032"),
        ("deepfashion_iuv", "deepfashion_iuv", "no problems"),
        ("deepfashion_lists", "deepfashion", "a subset; officially 101,966"),
        ("ubc_fashion", "unknown", "no layout the doctor knows"),
    ],
)
def test_passes_the_real_samples(shared: Path, sample: str, dataset: str, says: str) -> None:
    report = examine(shared / "samples" / sample)
    assert report.dataset == dataset
    assert report.clean, report.to_text()
    assert says in report.to_text()


def test_finds_a_real_garment_among_real_persons(shared: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(shared / "samples/viton_hd_pairs", tmp_path / "hd"))
    stem = "00013_00"
    Image.open(root / f"test/cloth/{stem}.jpg").save(root / f"test/image/{stem}.jpg", quality=70)
    assert problem(examine(root), "garment-as-person").names == (f"{stem}.jpg",)
