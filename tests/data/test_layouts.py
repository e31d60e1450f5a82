import shutil
from pathlib import Path

import pytest

from leffa.data.catalog import VITON
from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.deepfashion import DeepFashion
from leffa.data.labels import CATEGORIES
from leffa.data.published import DressCode, Viton, VitonHD
from leffa.data.reader import check_count


def test_training_ignores_the_second_column_of_the_train_list(viton_hd: Path) -> None:
    records = VitonHD(viton_hd)
    assert len(records) == 3
    assert all(record.source.name == record.reference.name for record in records)
    assert [record.name for record in records] == ["00001_00", "00002_00", "00003_00"]


def test_the_unpaired_test_set_follows_the_list(viton_hd: Path) -> None:
    records = VitonHD(viton_hd, split="test", pairs="unpaired")
    assert [record.name for record in records] == [
        "00001_00__00002_00",
        "00002_00__00003_00",
        "00003_00__00001_00",
    ]
    assert records[0].reference.name == "00002_00.jpg"
    assert records[0].reference_mask == records[0].reference.parents[1] / "cloth-mask/00002_00.jpg"
    assert records[0].parse is not None
    assert records[0].parse.stem == "00001_00"


def test_there_is_no_ground_truth_flow_to_another_garment(viton_hd: Path) -> None:
    assert VitonHD(viton_hd, split="test")[0].flow is not None
    assert VitonHD(viton_hd, split="test", pairs="unpaired")[0].flow is None


def test_there_is_no_unpaired_training_list(viton_hd: Path) -> None:
    with pytest.raises(ValueError, match=r"training has no unpaired list"):
        VitonHD(viton_hd, pairs="unpaired")


def test_the_older_release_with_hyphens_is_read(viton_hd: Path) -> None:
    (viton_hd / "test/openpose_json").rename(viton_hd / "test/openpose-json")
    (viton_hd / "test/image-parse-v3").rename(viton_hd / "test/image-parse")
    record = VitonHD(viton_hd, split="test")[0]
    assert record.keypoints == viton_hd / "test/openpose-json/00001_00_keypoints.json"
    assert record.parse == viton_hd / "test/image-parse/00001_00.png"


def test_an_absent_optional_folder_leaves_its_field_empty(viton_hd: Path) -> None:
    shutil.rmtree(viton_hd / "train/agnostic-mask")
    shutil.rmtree(viton_hd / "train/openpose_json")
    record = VitonHD(viton_hd)[0]
    assert record.mask is None
    assert record.keypoints is None


def test_densepose_is_the_file_that_was_asked_for(viton_hd: Path) -> None:
    assert VitonHD(viton_hd)[0].densepose == viton_hd / "train/image-densepose/00001_00.jpg"
    assert VitonHD(viton_hd, densepose="iuv")[0].densepose == (
        viton_hd / "train/image-iuv/00001_00.png"
    )
    assert VitonHD(viton_hd, densepose="none")[0].densepose is None


def test_an_absent_densepose_folder_is_an_error_if_it_was_asked_for(viton_hd: Path) -> None:
    shutil.rmtree(viton_hd / "train/image-densepose")
    with pytest.raises(FileNotFoundError, match=r"3 of the .* missing, first .*image-densepose"):
        VitonHD(viton_hd)
    assert len(VitonHD(viton_hd, densepose="none")) == 3


def test_half_an_optional_folder_is_an_error(viton_hd: Path) -> None:
    (viton_hd / "train/agnostic-mask/00002_00_mask.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the .* first .*00002_00_mask.png"):
        VitonHD(viton_hd)


def test_missing_files_are_counted_in_one_line(viton_hd: Path) -> None:
    for name in ("00001_00", "00003_00"):
        (viton_hd / f"test/image/{name}.jpg").unlink()
    with pytest.raises(FileNotFoundError) as error:
        VitonHD(viton_hd, split="test")
    message = str(error.value)
    assert message.startswith("2 of the 24 files")
    assert "test_pairs.txt" in message
    assert "image/00001_00.jpg" in message
    assert "extract the archive again" in message
    assert "\n" not in message


@pytest.mark.parametrize("layout", [VitonHD, Viton, DressCode, DeepFashion])
def test_a_missing_root_is_named(layout: type, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder"):
        layout(tmp_path / "nowhere")


def test_a_missing_list_is_named(viton_hd: Path) -> None:
    (viton_hd / "test_pairs.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"test_pairs.txt: no such list"):
        VitonHD(viton_hd, split="test")


def test_an_empty_list_is_an_error(viton_hd: Path) -> None:
    (viton_hd / "test_pairs.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"test_pairs.txt: lists nothing"):
        VitonHD(viton_hd, split="test")


def test_a_list_that_is_no_text_is_an_error(viton_hd: Path) -> None:
    (viton_hd / "test_pairs.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"test_pairs.txt: is not UTF-8 text"):
        VitonHD(viton_hd, split="test")


def test_a_line_with_one_column_is_shown(viton_hd: Path) -> None:
    (viton_hd / "test_pairs.txt").write_text("00001_00.jpg\n")
    with pytest.raises(ValueError, match=r"expected 'person garment' .* '00001_00.jpg'"):
        VitonHD(viton_hd, split="test")


def test_a_pair_that_is_listed_twice_is_an_error(viton_hd: Path) -> None:
    lines = (viton_hd / "test_pairs.txt").read_text()
    (viton_hd / "test_pairs.txt").write_text(lines + lines)
    with pytest.raises(ValueError, match=r"3 pairs are listed more than once, first 00001_00"):
        VitonHD(viton_hd, split="test")


@pytest.mark.parametrize(
    ("option", "choices"), [("split", "train, test"), ("pairs", "paired"), ("densepose", "colour")]
)
def test_a_misspelt_option_gets_the_choices(viton_hd: Path, option: str, choices: str) -> None:
    with pytest.raises(ValueError, match=f"{option}=wrong: choose one of .*{choices}"):
        VitonHD(viton_hd, **{option: "wrong"})


def test_part_of_a_layout_is_a_sequence_of_records(viton_hd: Path) -> None:
    records = VitonHD(viton_hd)
    assert [record.name for record in records[1:]] == ["00002_00", "00003_00"]


def test_viton_pairs_a_person_with_their_own_number(viton: Path) -> None:
    paired = Viton(viton, split="test")
    assert paired[0].reference == viton / "test/cloth/000001_1.jpg"
    assert paired[0].name == "000001_0"
    unpaired = Viton(viton, split="test", pairs="unpaired")
    assert unpaired[0].reference == viton / "test/cloth/000002_1.jpg"
    assert unpaired[0].name == "000001_0__000002_1"
    assert unpaired[0].densepose is None
    assert unpaired[0].mask is None


def test_dress_code_reads_three_categories_with_any_white_space(dress_code: Path) -> None:
    train = DressCode(dress_code)
    assert [record.category for record in train] == [
        *["upper_body"] * 2,
        *["lower_body"] * 2,
        *["dresses"] * 2,
    ]
    assert train[0].densepose == dress_code / "upper_body/dense/000001_5.png"
    assert train[0].keypoints == dress_code / "upper_body/keypoints/000001_2.json"
    unpaired = DressCode(dress_code, split="test", pairs="unpaired", categories=["dresses"])
    assert [record.name for record in unpaired] == ["000005_0__000006_1", "000006_0__000005_1"]


def test_masks_of_the_other_split_do_not_count(dress_code: Path) -> None:
    """CatVTON writes DressCode's masks for test persons only, and both splits share the folder."""
    (dress_code / "upper_body/train_pairs.txt").write_text("000001_0.jpg 000001_1.jpg\n")
    (dress_code / "upper_body/agnostic_masks/000001_0.png").unlink()
    assert DressCode(dress_code, categories=["upper_body"])[0].mask is None


def test_deepfashion_reads_the_right_spelling_too(deepfashion: Path) -> None:
    (deepfashion / "fasion-resize-pairs-train.csv").rename(
        deepfashion / "fashion-resize-pairs-train.csv"
    )
    records = DeepFashion(deepfashion)
    front, side, _ = sorted(path.stem for path in (deepfashion / "train_highres").iterdir())
    assert records[0].name == f"{front}_2_{side}"
    assert records[0].reference.stem == front
    assert records[0].source.stem == side
    assert records[0].densepose == deepfashion / f"densepose/{side}.png"
    assert records[0].flow == deepfashion / f"flow/{front}_2_{side}.npz"
    assert records[0].category == "WOMEN-Tees_Tanks"


def test_deepfashion_needs_the_header(deepfashion: Path) -> None:
    (deepfashion / "fasion-resize-pairs-train.csv").write_text("a.jpg,b.jpg\n")
    with pytest.raises(ValueError, match=r"has no column 'from'.* line such as from,to"):
        DeepFashion(deepfashion)


def test_deepfashion_needs_flat_names(deepfashion: Path) -> None:
    (deepfashion / "fasion-resize-pairs-train.csv").write_text("from,to\na.jpg,b.jpg\n")
    with pytest.raises(ValueError, match=r"'b.jpg' is not a flat In-shop name"):
        DeepFashion(deepfashion)


def test_real_viton_hd_pairs_are_read(shared: Path) -> None:
    root = shared / "samples/viton_hd_pairs"
    options = {"split": "test", "pairs": "unpaired", "densepose": "none"}
    with pytest.raises(ValueError, match=r"lists 33 of 2,032 pairs"):
        VitonHD(root, **options)
    shown = VitonHD(root, **options, allow_subset=True)
    assert len({record.name for record in shown}) == len(shown) == 33


def unmark(root: Path) -> None:
    """From now on it passes for the real data set."""
    (root / SYNTHETIC).unlink()


@pytest.mark.parametrize(
    ("layout", "folder", "shown"),
    [
        (VitonHD, "viton_hd", "train_pairs.txt: 3 of 11,647 pairs"),
        (Viton, "viton", "train_pairs.txt: 2 of 14,221 pairs"),
        (DressCode, "dress_code", "lower_body/train_pairs.txt: 2 of 7,151 pairs"),
        (DeepFashion, "deepfashion", "fasion-resize-pairs-train.csv: 2 of 101,966 pairs"),
    ],
)
def test_a_subset_is_refused_unless_asked_for_and_then_logged(
    layout: type,
    folder: str,
    shown: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root = request.getfixturevalue(folder)
    unmark(root)
    with pytest.raises(ValueError, match=r"lists . of .* pairs; copy .* allow_subset=true"):
        layout(root)
    with caplog.at_level("INFO"):
        layout(root, allow_subset=True)
    assert any(message.endswith(shown) for message in caplog.messages)


def test_a_synthetic_copy_has_a_size_of_its_own(
    viton_hd: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        VitonHD(viton_hd)
    assert not caplog.messages


def test_more_pairs_than_the_official_list_has_are_another_list(tmp_path: Path) -> None:
    listing = VITON.group("test").listing("test")
    with pytest.raises(ValueError, match=r"lists 2,033 pairs, the official list has 2,032"):
        check_count(tmp_path, listing, 2_033, tmp_path / "test_pairs.txt", allow_subset=True)


def test_the_order_is_that_of_the_list(viton_hd: Path) -> None:
    """Seeds and sharding lean on it; the pairs of DressCode's two test lists differ in it."""
    path = viton_hd / "test_pairs.txt"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    names = [record.source.stem for record in VitonHD(viton_hd, split="test")]
    assert names == ["00003_00", "00002_00", "00001_00"]


@pytest.mark.parametrize("separator", ["\t", " ", "   ", " \t"])
def test_dress_code_falls_back_on_the_list_of_its_root(dress_code: Path, separator: str) -> None:
    rows = [("000001", 0), ("000002", 0), ("000003", 1), ("000004", 1), ("000005", 2)]
    lines = [separator.join((f"{a}_0.jpg", f"{a}_1.jpg", str(kind))) for a, kind in rows]
    (dress_code / "train_pairs.txt").write_text("\r\n".join(lines))
    for category in CATEGORIES:
        (dress_code / category / "train_pairs.txt").unlink()
    records = DressCode(dress_code)
    assert [record.name for record in records] == [f"{number}_0" for number, _ in rows]
    assert records[2].source == dress_code / "lower_body/images/000003_0.jpg"
    assert [r.category for r in DressCode(dress_code, categories=["dresses"])] == ["dresses"]
    (dress_code / "train_pairs.txt").write_text(f"{lines[0]}\n")
    with pytest.raises(ValueError, match=r"has no lines of category 2 \(dresses\)"):
        DressCode(dress_code, categories=["dresses"])


def test_dress_code_wants_a_list_of_categories(dress_code: Path) -> None:
    with pytest.raises(ValueError, match=r"categories=dresses: give a list"):
        DressCode(dress_code, categories="dresses")
    with pytest.raises(ValueError, match=r"categories=shoes: choose one of"):
        DressCode(dress_code, categories=["shoes"])
