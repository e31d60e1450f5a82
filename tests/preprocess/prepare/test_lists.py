"""Lists that a download lacks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leffa.data.deepfashion import DeepFashion
from leffa.data.doctor.examine import examine
from leffa.data.published import Market1501, VitonHD
from leffa.preprocess.prepare.lists import (
    list_deepfashion,
    list_dress_code,
    list_market1501,
    list_viton_hd,
)


def test_pairs_of_deepfashion_are_all_views_of_one_person(
    download: Callable[[str], Path],
) -> None:
    root = download("deepfashion")
    shutil.rmtree(root / "flow")  # of the synthetic pairs only
    before = {record.name for record in DeepFashion(root, "test")}
    for split in ("train", "test"):
        (root / f"fasion-resize-pairs-{split}.csv").unlink()
    written = list_deepfashion(root)
    assert [path.name for path in written] == [
        f"fasion-resize-pairs-{split}.csv" for split in ("train", "test")
    ]
    made = {record.name for record in DeepFashion(root, "test")}
    assert before < made
    assert len(made) == 6  # three views, ordered
    assert list_deepfashion(root) == []


def test_pictures_without_a_torso_are_in_no_pair(download: Callable[[str], Path]) -> None:
    root = download("deepfashion")
    shutil.rmtree(root / "flow")  # of the synthetic pairs only
    (root / "fasion-resize-pairs-test.csv").unlink()
    path = root / "fasion-resize-annotation-test.csv"
    head, first, *others = path.read_text().splitlines()
    name = first.split(":")[0]
    missing = [-1] * 18
    path.write_text("\n".join([head, f"{name}:{missing}:{missing}", *others]) + "\n")
    list_deepfashion(root)
    assert name not in (root / "fasion-resize-pairs-test.csv").read_text()
    assert len(DeepFashion(root, "test")) == 2


def test_pairs_of_market_leave_out_junk(download: Callable[[str], Path]) -> None:
    root = download("market1501")
    for split in ("train", "test"):
        (root / f"market-pairs-{split}.csv").unlink()
    person = sorted((root / "test").glob("*.jpg"))[0]
    for junk in ("-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"):
        shutil.copy(person, root / "test" / junk)
    assert len(list_market1501(root)) == 2
    records = Market1501(root, "test")
    assert len(records) == 6
    assert not any(record.source.name.startswith(("-1", "0000")) for record in records)


def test_lists_of_dress_code_follow_from_each_other(download: Callable[[str], Path]) -> None:
    root = download("dress_code")
    before = {path.relative_to(root): path.read_text() for path in root.rglob("*.txt")}
    (root / "dresses/train_pairs.txt").unlink()
    (root / "test_pairs_unpaired.txt").unlink()
    assert len(list_dress_code(root)) == 2
    assert {path.relative_to(root): path.read_text() for path in root.rglob("*.txt")} == before
    assert examine(root).clean
    for path in root.rglob("train_pairs.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"github\.com/aimagelab/dress-code"):
        list_dress_code(root)


def test_the_train_list_of_viton_hd_is_made_and_the_test_list_is_asked_for(
    download: Callable[[str], Path],
) -> None:
    root = download("viton_hd")
    before = [record.name for record in VitonHD(root, "train")]
    (root / "train_pairs.txt").unlink()
    assert list_viton_hd(root) == [root / "train_pairs.txt"]
    assert [record.name for record in VitonHD(root, "train")] == sorted(before)
    (root / "test_pairs.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"cannot be made from names.*VITON-HD"):
        list_viton_hd(root)
