"""Masks for a folder of one's own: each photo has one, and the tables find it."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.data.folder import FolderPairs
from leffa.preprocess.prepare.masks import make_masks
from leffa.synthetic.labels import ATR_OF_CIHP


@pytest.fixture
def mine(download: Callable[[str], Path]) -> Path:
    """Three upper-body persons, two of them with two garments, and no mask."""
    root = download("folder")
    shutil.rmtree(root / "masks")
    (root / "test.csv").unlink()
    (root / "train.csv").unlink()
    write(root / "pairs.csv", [(0, 0), (0, 1), (1, 1), (2, 2)])
    return root


def write(table: Path, pairs: list[tuple[int, int]], **columns: str) -> None:
    with table.open("w", newline="") as file:
        names = ("person", "garment", "parse", "keypoints", "densepose", *columns)
        rows = csv.writer(file)
        rows.writerow(names)
        for person, garment in pairs:
            maps = (f"{kind}/00000{person}.{end}" for kind, end in MAPS)
            files = (f"persons/00000{person}.jpg", f"garments/00000{garment}.jpg")
            rows.writerow((*files, *maps, *columns.values()))


MAPS = (("parse", "png"), ("keypoints", "json"), ("densepose", "png"))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_the_masks_are_read_back_through_a_table_beside_the_users(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (mine / "pairs.csv").read_bytes()
    command = ["prepare", "masks", str(mine), "--recipe", "hr_viton", "--workers", "1"]
    for _ in range(2):  # the second finds everything there
        assert main(command) == 0
        assert str(mine / "pairs_masks.csv") in "".join(capsys.readouterr().out.split("\n"))
    assert (mine / "pairs.csv").read_bytes() == before
    records = FolderPairs(mine, "pairs_masks.csv")
    assert [record.mask for record in records] == [
        mine / f"masks/00000{person}.png" for person in (0, 0, 1, 2)
    ]
    assert [record.name for record in records] == [r.name for r in FolderPairs(mine)]
    shutil.rmtree(mine / "masks")  # for another recipe; the table that names them is no hindrance
    make_masks(mine, "viton_hd")


def test_lines_that_name_a_mask_keep_it(mine: Path) -> None:
    write(mine / "train.csv", [(1, 0)], mask="mine.png", category="dresses")
    Image.new("L", (72, 96)).save(mine / "mine.png")
    (files,) = (entry.files for entry in make_masks(mine, "hr_viton"))
    assert sorted(files) == ["000000.png", "000001.png", "000002.png"]
    assert not (mine / "train_masks.csv").exists()
    (mine / "pairs.csv").unlink()
    shutil.rmtree(mine / "masks")
    with pytest.raises(ValueError, match=r"train.csv: every line names its mask"):
        make_masks(mine, "hr_viton")


def test_a_person_with_garments_of_two_categories_has_two_masks(mine: Path) -> None:
    write(mine / "pairs.csv", [(0, 0), (1, 1)], category="upper_body")
    write(mine / "test.csv", [(0, 1)], category="lower_body")
    make_masks(mine, "dress_code")
    assert sorted(path.name for path in (mine / "masks").iterdir()) == [
        *("000000_lower_body.png", "000000_upper_body.png", "000001.png"),
    ]
    (upper, _), (lower,) = (FolderPairs(mine, f"{table}_masks.csv") for table in ("pairs", "test"))
    assert upper.mask is not None
    assert lower.mask is not None
    assert pixels(upper.mask)[:48].sum() > pixels(lower.mask)[:48].sum()


def test_photos_of_one_name_are_refused(mine: Path) -> None:
    for name in ("anna", "bob"):
        (mine / name).mkdir()
        shutil.copy(mine / "persons/000000.jpg", mine / name / "front.jpg")
    (mine / "pairs.csv").write_text(
        "name,person,garment\n"
        "a,anna/front.jpg,garments/000000.jpg\n"
        "b,bob/front.jpg,garments/000000.jpg\n"
    )
    with pytest.raises(ValueError, match=r"anna/front.jpg and .*bob/front.jpg would both have"):
        make_masks(mine, "hr_viton")


def test_atr_labels_are_read_as_such_when_they_are_noted_or_named(mine: Path) -> None:
    make_masks(mine, "hr_viton")
    expected = {path.name: pixels(path) > 0 for path in (mine / "masks").iterdir()}
    for path in (mine / "parse").iterdir():
        Image.fromarray(ATR_OF_CIHP[pixels(path)]).save(path)
    with pytest.raises(ValueError, match="by the recipe hr_viton, label_set cihp"):
        make_masks(mine, "hr_viton", label_set="atr")
    for label_set, note in (("atr", None), (None, '{"label_set": "atr"}')):
        shutil.rmtree(mine / "masks")
        if note is not None:
            (mine / "parse.json").write_text(note)
        make_masks(mine, "hr_viton", label_set=label_set)  # type: ignore[arg-type]
        for name, mask in expected.items():  # ATR has no neck of its own
            made = pixels(mine / "masks" / name) > 0
            assert (made & mask).sum() > 0.9 * (made | mask).sum()
    with pytest.raises(ValueError, match="parse: holds files of label_set atr"):
        make_masks(mine, "hr_viton", label_set="cihp")


def test_a_recipe_that_needs_densepose_is_told_how_it_is_encoded(mine: Path) -> None:
    with pytest.raises(
        ValueError, match=r"needs DensePose; .* \(its DensePose was not read: --enc"
    ):
        make_masks(mine, "catvton")
    make_masks(mine, "catvton", encoding="colour")
    assert 0 < pixels(mine / "masks/000001.png").mean() < 255
    with pytest.raises(ValueError, match="densepose=rgb: choose one of"):
        make_masks(mine, "catvton", encoding="rgb")


def test_a_known_data_set_is_not_told_what_its_files_hold(maskless: Path) -> None:
    with pytest.raises(ValueError, match="is viton_hd, whose labels and DensePose are known"):
        make_masks(maskless, "hr_viton", label_set="atr")
