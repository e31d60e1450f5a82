"""Sound copies and real samples pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damages import (
    LAYOUTS,
    kinds,
    problem,
)
from PIL import Image

from leffa.data.doctor.examine import examine
from leffa.data.inshop import release_path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_passes_a_sound_copy_and_recognises_it(copies: Path, layout: str) -> None:
    report = examine(copies / layout)
    assert report.dataset == layout
    assert report.clean, report.to_text()
    assert report.synthetic
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


def test_reads_the_lists_of_nted_and_the_tree_below_img(broken: Callable[[str], Path]) -> None:
    root = broken("deepfashion")
    for folder in ("train_highres", "test_highres"):
        shutil.rmtree(root / folder)
    (root / "img").mkdir()
    for folder in ("MEN", "WOMEN"):
        if (root / folder).is_dir():
            (root / folder).rename(root / "img" / folder)
    for split in ("train", "test"):
        pairs = root / f"fasion-resize-pairs-{split}.csv"
        rows = [line.split(",") for line in pairs.read_text().split()[1:]]
        lines = [f"img/{release_path(to)}, img/{release_path(name)}" for name, to in rows]
        (root / f"{split}_pairs.txt").write_text("\n".join(lines))
        pairs.unlink()
    report = examine(root)
    assert report.dataset == "deepfashion"
    assert report.clean, report.to_text()
    assert not kinds(report) & {"list-missing", "extra-folder"}
    assert {count.what: count.found for count in report.counts}["test_pairs.txt"] == len(rows)
    (root / "test_pairs.txt").write_text(f"{lines[0]}\nimg/nothing.jpg,img/nobody.jpg\n")
    assert problem(examine(root), "list-columns").names == (
        "line 2 (img/nothing.jpg,img/nobody.jpg)",
    )


def test_reads_every_table_of_a_folder_of_ones_own(broken: Callable[[str], Path]) -> None:
    """As documented: train.csv and test.csv, the pictures anywhere."""
    root = broken("folder")
    assert {path.name for path in root.glob("*.csv")} >= {"train.csv", "test.csv"}
    for folder in ("persons", "garments"):
        (root / folder).rename(root / f"my_{folder}")
    for table in root.glob("*.csv"):
        text = table.read_text()
        for folder in ("persons", "garments"):
            text = text.replace(f"{folder}/", f"my_{folder}/")
        table.write_text(text)
    for dataset in ("auto", "folder"):
        report = examine(root, dataset)
        assert report.dataset == "folder"
        assert report.clean, report.to_text()
        assert report.folders["my_persons/*"] == 2 + 3
    listed = (root / "test.csv").read_text().splitlines()
    row = dict(zip(listed[0].split(","), listed[-1].split(","), strict=True))
    person = row["person"]
    Image.new("L", (9, 9)).save(root / "other.png")
    later = root / "test_masks.csv"  # names the same photograph
    later.write_text(f"person,garment,mask\n{person},{row['garment']},other.png\n")
    assert problem(examine(root), "size-mismatch").names[0].startswith("other.png (9x9, ")
    (root / person).write_bytes(b"")
    assert problem(examine(root), "empty-file").names == (Path(person).name,)


def test_a_misspelt_column_of_a_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("persn,garment\na.jpg,b.jpg\n")
    (tmp_path / "notes.csv").write_text("")
    with pytest.raises(ValueError, match=r"unknown column 'persn'; did you mean person"):
        examine(tmp_path)


@pytest.mark.parametrize(
    ("sample", "dataset", "says"),
    [
        ("viton_hd_pairs", "viton_hd", "subset: 33 of 2,032"),
        ("viton_hd_densepose", "viton_hd", "a subset; officially 2,032"),
        ("viton_hd_parse_pose", "viton_hd", "a subset; officially 2,032"),
        ("deepfashion_lists", "deepfashion", "a subset; officially 101,966"),
    ],
)
def test_passes_the_real_samples(shared: Path, sample: str, dataset: str, says: str) -> None:
    report = examine(shared / "samples" / sample)
    assert report.dataset == dataset
    assert report.clean, report.to_text()
    assert says in report.to_text()
