"""Reading folders: suffixes in any case, names in any encoding, no doubles, nothing left out
silently."""

import logging
import unicodedata
from pathlib import Path

import pytest

from leffa.data.folder import FolderPairs
from leffa.io.folders import SUFFIXES, Spelling, files_by_name, pictures_in
from leffa.metrics.folders import read_folder
from leffa.predict.pairs import MAPS, pairs_of_files

NFC, NFD = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"?")
    return folder


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".JPG", ".Png", ".TIF"])
def test_every_suffix_is_read_in_any_case(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path, f"a{suffix}")
    assert pictures_in(tmp_path) == {"a": tmp_path / f"a{suffix}"}


def test_what_is_left_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "a.png", "b.heic", "c.HEIC", "README", ".hidden.gif", "Thumbs.db", "a.json")
    assert list(files_by_name(tmp_path)) == ["a"]
    assert f"{tmp_path}: left out: 2 .heic, 1 README; what is read: .jpg," in caplog.text


@pytest.mark.parametrize("other", ["p0.jpg", "p0.PNG", f"{NFC}.png"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, other: str) -> None:
    fill(tmp_path, "p0.png" if other.startswith("p0") else f"{NFD}.png", other)
    with pytest.raises(ValueError, match=r" have one name; remove one"):
        files_by_name(tmp_path)


def mine(root: Path) -> Path:
    """A user's own folders, each as another program writes names."""
    fill(root / "persons", f"{NFC}.jpg", "a.tif")
    fill(root / "garments", f"{NFD}.jfif", "a.JPEG")
    fill(root / "masks", f"{NFD}.PNG", "a.Png")
    fill(root / "keypoints", f"{NFC}.JSON", "a.json")
    return root


def test_the_files_of_a_sample_match_in_any_spelling(tmp_path: Path) -> None:
    root = mine(tmp_path)
    given = {"mask": root / "masks", "keypoints": root / "keypoints"}
    maps = {field: given.get(field) for field in MAPS}
    of_options = pairs_of_files(root / "persons", root / "garments", maps, "dresses")
    for records in (FolderPairs(root, None), of_options):
        assert [record.name for record in records] == [NFC, "a"]
        assert records[0].mask == root / "masks" / f"{NFD}.PNG"
        assert records[0].keypoints == root / "keypoints" / f"{NFC}.JSON"
        assert records[1].reference == root / "garments/a.JPEG"


def test_a_mask_in_two_formats_is_not_taken_by_chance(tmp_path: Path) -> None:
    fill(mine(tmp_path) / "masks", "a.jpg")
    with pytest.raises(ValueError, match=r"a.jpg and a.Png have one name"):
        FolderPairs(tmp_path, None)
    maps = dict.fromkeys(MAPS) | {"mask": tmp_path / "masks"}
    with pytest.raises(ValueError, match=r"a.jpg and a.Png have one name"):
        pairs_of_files(tmp_path / "persons", tmp_path / "garments", maps, "dresses")


def test_files_that_belong_to_nobody_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    root = mine(tmp_path)
    fill(root / "garments", "spare.png")
    FolderPairs(root, None)
    assert f"{root / 'garments'}: 1 of 3 files belong to no person, first spare" in caplog.text


def test_a_table_finds_files_in_either_spelling(tmp_path: Path) -> None:
    fill(tmp_path / NFD, f"{NFD}.jpg", "b.png")
    (tmp_path / "pairs.csv").write_text(f"person,garment\n{NFC}/{NFC}.jpg,{NFD}/b.png\n", "utf-8")
    record = FolderPairs(tmp_path)[0]
    assert record.source == tmp_path / NFD / f"{NFD}.jpg"
    assert record.name == NFC
    assert Spelling()(tmp_path / "not" / "there.png") == tmp_path / "not" / "there.png"


def test_scores_match_in_either_spelling(tmp_path: Path) -> None:
    from PIL import Image

    for name in (f"{NFD}.PNG", "b.jfif"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    fill(tmp_path, "._b.png")  # of macOS
    found = read_folder(tmp_path)
    assert found.images.keys() == {NFC, "b"}
    assert found.problems == []
