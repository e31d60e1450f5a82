"""Pose-transfer layouts: DeepFashion in its peers' lists and trees, Market-1501, WPose."""

import logging
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.catalog import DEEPFASHION
from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.deepfashion import DeepFashion
from leffa.data.inshop import category_of, flat_name, release_path
from leffa.data.keypoints import Annotation, read_annotation, read_pose
from leffa.data.layout import Layout
from leffa.data.published import Market1501, WPose
from leffa.data.transforms import PersonTransform
from leffa.synthetic.render import draw_pose_set
from leffa.synthetic.write import write_deepfashion, write_market1501, write_wpose

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pose")
    write_deepfashion(root / "deepfashion", 4, 3, height=HEIGHT, width=WIDTH)
    write_market1501(root / "market1501", 8, 6)
    write_wpose(root / "wpose", 0, 3, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture
def fashion(synthetic: Path, tmp_path: Path) -> Path:
    """A copy of one's own, to change."""
    return shutil.copytree(synthetic / "deepfashion", tmp_path / "fashion")


@pytest.fixture
def market(synthetic: Path, tmp_path: Path) -> Path:
    return shutil.copytree(synthetic / "market1501", tmp_path / "market_data")


@pytest.fixture
def wpose(synthetic: Path, tmp_path: Path) -> Path:
    return shutil.copytree(synthetic / "wpose", tmp_path / "wpose")


def names(records: Layout) -> list[str]:
    return [record.name for record in records]


# DeepFashion


def test_flat_names_are_those_of_the_field() -> None:
    path = "WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg"
    assert flat_name(path) == "fashionWOMENTees_Tanksid0000002906_2side.jpg"


def test_the_flat_names_of_all_pictures_lead_back_to_the_release(shared: Path) -> None:
    lists = {
        split: shared / f"samples/deepfashion_lists/{split}.lst" for split in ("train", "test")
    }
    for split, path in lists.items():
        flat = path.read_text().split()
        assert len(flat) == DEEPFASHION.group(split).listing(split, "names").official
        assert all(flat_name(f"img/{release_path(name)}") == name for name in flat)
        assert {category_of(name).split("-")[0] for name in flat} == {"MEN", "WOMEN"}


@pytest.mark.parametrize(
    "path", ["Tees_Tanks/id_00000029/06_2_side.jpg", "WOMEN/Tees/id_29/06_2_side.jpg"]
)
def test_a_path_that_is_not_of_the_release_is_named(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path like WOMEN/Tees_Tanks"):
        flat_name(path)


@pytest.mark.parametrize("word", ["fasion", "fashion"])
@pytest.mark.parametrize("resized", ["resize-", ""])
def test_every_spelling_of_the_lists_is_read(fashion: Path, word: str, resized: str) -> None:
    expected = names(DeepFashion(fashion, "test"))
    for kind in ("pairs", "annotation"):
        (fashion / f"fasion-resize-{kind}-test.csv").rename(
            fashion / f"{word}-{resized}{kind}-test.csv"
        )
    records = DeepFashion(fashion, "test")
    assert names(records) == expected
    joints = records[0].keypoints
    assert isinstance(joints, Annotation)
    assert joints.left == (0 if resized else 40)


def test_the_pictures_are_found_in_each_peers_folder(fashion: Path) -> None:
    first = DeepFashion(fashion, "test")[0]
    assert first.source.parent.name == "test_highres"
    (fashion / "test_highres").rename(fashion / "test")
    assert DeepFashion(fashion, "test")[0].source == fashion / "test" / first.source.name
    (fashion / "test").rename(fashion / "test_512x352")
    chosen = DeepFashion(fashion, "test", pictures="test_512x352")[0]
    assert chosen.source == fashion / "test_512x352" / first.source.name
    before = fashion
    for base in (fashion, fashion / "img", fashion / "img_highres"):
        base.mkdir(exist_ok=True)
        for gender in ("MEN", "WOMEN"):
            (before / gender).rename(base / gender)
        before = base
        tree = DeepFashion(fashion, "test")[0]
        assert tree.source == base / release_path(first.source.name)
        assert tree.source.is_file()
        assert tree.name == first.name


def test_resized_pictures_may_be_png(fashion: Path) -> None:
    (fashion / "test_256x176").mkdir()
    for path in (fashion / "test_highres").iterdir():
        with Image.open(path) as image:
            image.save(fashion / "test_256x176" / f"{path.stem}.png")
    record = DeepFashion(fashion, "test", pictures="test_256x176")[0]
    assert record.source.suffix == record.reference.suffix == ".png"


def test_lists_of_nted_have_the_target_first_and_several_references(fashion: Path) -> None:
    front, side, more = (
        f"WOMEN/Drawn_Outfits/id_{1:08d}/01_{view}.jpg"
        for view in ("1_front", "2_side", "7_additional")
    )
    (fashion / "train_pairs.txt").write_text(f"img/{front},img/{side},img/{more}\n")
    (fashion / "img").mkdir()
    for gender in ("MEN", "WOMEN"):
        (fashion / gender).rename(fashion / "img" / gender)
    for folder in ("train_highres", "flow"):
        shutil.rmtree(fashion / folder)
    records = DeepFashion(fashion, "train", lists="txt")
    assert [record.source for record in records] == [fashion / "img" / front] * 2
    assert [record.reference for record in records] == [
        fashion / "img" / side,
        fashion / "img" / more,
    ]
    stem = f"fashionWOMENDrawn_Outfitsid{1:08d}01"
    assert records[0].name == f"{stem}_2side_2_{stem}_1front"


def test_a_form_of_lists_that_is_not_known_is_answered_with_the_known_ones(fashion: Path) -> None:
    with pytest.raises(ValueError, match=r"lists=cfld: choose one of csv, txt"):
        DeepFashion(fashion, "train", lists="cfld")  # type: ignore[arg-type]


def test_a_line_of_nted_without_a_reference_is_shown(fashion: Path) -> None:
    (fashion / "train_pairs.txt").write_text("img/WOMEN/Skirts/id_00000001/01_1_front.jpg\n")
    with pytest.raises(ValueError, match=r"train_pairs.txt: expected 'target,reference'"):
        DeepFashion(fashion, "train", lists="txt")
    (fashion / "train_pairs.txt").write_text("a.jpg,b.jpg\n")
    with pytest.raises(ValueError, match=r"train_pairs.txt: 'b.jpg' is not a path like"):
        DeepFashion(fashion, "train", lists="txt")


def test_pairs_of_the_other_split_are_refused(fashion: Path) -> None:
    shutil.copy(fashion / "fasion-resize-pairs-test.csv", fashion / "fasion-resize-pairs-train.csv")
    with pytest.raises(ValueError, match=r"names 3 images that train.lst does not, first fashion"):
        DeepFashion(fashion)


def test_a_person_without_densepose_is_an_error_or_left_out(
    fashion: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = DeepFashion(fashion, "test")
    assert records[0].densepose is not None
    records[0].densepose.unlink()
    says = r"densepose: has no DensePose of 1 of the 3 targets, first .*\(undetected=drop\)"
    with pytest.raises(FileNotFoundError, match=says):
        DeepFashion(fashion, "test")
    with caplog.at_level(logging.INFO):
        kept = DeepFashion(fashion, "test", undetected="drop")
    assert names(kept) == names(records)[1:]
    assert "1 of 3 pairs left out: no DensePose" in caplog.messages
    shutil.rmtree(fashion / "densepose")
    with pytest.raises(ValueError, match=r"has no DensePose of any target"):
        DeepFashion(fashion, "test", undetected="drop")
    assert len(DeepFashion(fashion, "test", densepose="none")) == 3


# Keypoints


def test_the_joints_of_a_picture_are_those_that_were_rendered(synthetic: Path) -> None:
    record = DeepFashion(synthetic / "deepfashion", "train")[0]  # from first to second picture
    assert record.keypoints is not None
    found = read_pose(record.keypoints, (WIDTH, HEIGHT))
    true = draw_pose_set(0, 0, HEIGHT, WIDTH, 3).drawings[1].keypoints
    seen = true[:, 2] > 0
    seen[[8, *range(19, 25)]] = False  # COCO-18 has neither mid-hip nor feet
    assert np.array_equal(found[:, 2] > 0, seen)
    assert seen.sum() > 8
    assert np.abs(found[seen, :2] * (WIDTH, HEIGHT) - true[seen, :2]).max() < 0.5


def test_joints_of_nted_are_found_beside_the_pictures(fashion: Path) -> None:
    for split in ("train", "test"):
        (fashion / f"fasion-resize-annotation-{split}.csv").unlink()
    for gender in ("MEN", "WOMEN"):
        for picture in (fashion / gender).rglob("*.jpg"):
            path = fashion / "pose" / picture.relative_to(fashion).with_suffix(".txt")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("50 60\n" * 18)
    joints = DeepFashion(fashion, "test")[0].keypoints
    assert isinstance(joints, Annotation)
    assert np.allclose(read_annotation(joints)[0], [10 / 176, 60 / 256, 1])


def test_a_list_of_joints_that_lacks_pictures_is_found_at_once(fashion: Path) -> None:
    path = fashion / "fasion-resize-annotation-test.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))
    with pytest.raises(ValueError, match=r"annotation-test.csv: lacks 2 of the 3 images"):
        DeepFashion(fashion, "test")


# Market-1501


def test_market_reads_all_ordered_pairs_of_a_person(synthetic: Path) -> None:
    records = Market1501(synthetic / "market1501", "test")
    assert len(records) == 6
    stems = {record.source.stem for record in records}
    assert len(stems) == 3
    assert {record.name for record in records} == {
        f"{a}_2_{b}" for a in stems for b in stems if a != b
    }
    assert all(record.flow is not None for record in records)
    sample = PersonTransform(128, 64, task="pose", densepose="skeleton", loss_region="all")(
        records[0], random.Random(0)
    )
    assert sample["source"].shape == (3, 128, 64)
    assert sample["densepose"].max() > 0.5


def test_market_reads_the_folders_as_released(market: Path) -> None:
    (market / "test").rename(market / "bounding_box_test")
    assert Market1501(market, "test")[0].source.parent.name == "bounding_box_test"
    assert Market1501(market, "test", densepose="iuv")[0].densepose is not None


def test_two_persons_are_no_pair(market: Path) -> None:
    path = market / "market-pairs-test.csv"
    path.write_text("from,to\n0002_c1s1_000451_03.jpg,0007_c1s1_000451_03.jpg\n")
    with pytest.raises(ValueError, match=r"0007_c1s1_000451_03.jpg are two persons"):
        Market1501(market, "test")


def test_market_has_its_official_counts(market: Path) -> None:
    (market / SYNTHETIC).unlink()
    with pytest.raises(ValueError, match=r"lists 8 of 263,632 pairs"):
        Market1501(market)
    assert len(Market1501(market, allow_subset=True)) == 8


# WPose


def test_wpose_reads_its_channels_its_labels_and_its_flow(synthetic: Path) -> None:
    records = WPose(synthetic / "wpose")
    assert names(records) == ["1_2_2", "2_2_3", "3_2_1"]
    make = PersonTransform(64, 48, task="pose", densepose="vui", fit="pad")
    body = make(records[0], random.Random(0))["loss_region"].bool()[0].numpy()
    true = draw_pose_set(0, 0, HEIGHT, WIDTH, 3).drawings[1].iuv[..., 0] > 0
    assert np.array_equal(body, true)
    assert records[0].parse == synthetic / "wpose/parsing/2.png"


def test_wpose_reads_the_early_release_and_either_order(wpose: Path) -> None:
    (wpose / "parsing").rename(wpose / "gt_parsing")
    (wpose / "test_pairs.txt").write_text("images/1.png,images/2.png\n")
    shutil.rmtree(wpose / "flow")
    record = WPose(wpose, target_first=True)[0]
    assert (record.source.name, record.reference.name) == ("1.png", "2.png")
    assert record.parse == wpose / "gt_parsing/1.png"
    assert WPose(wpose, densepose="none")[0].densepose is None


def test_wpose_is_for_tests_only(wpose: Path) -> None:
    with pytest.raises(ValueError, match=r"split=train: choose one of test"):
        WPose(wpose, split="train")
    with pytest.raises(ValueError, match=r"wpose is for tests only"):
        write_wpose(wpose / "new", 1, 3)
    (wpose / "test_pairs.txt").write_text("1.png 2.png 3.png\n")
    with pytest.raises(ValueError, match=r"expected 'reference source' on each line"):
        WPose(wpose)


@pytest.mark.parametrize("layout", [DeepFashion, Market1501, WPose])
def test_a_missing_root_or_list_is_named(layout: type, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such folder"):
        layout(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"pairs.*: no such list"):
        layout(tmp_path)
