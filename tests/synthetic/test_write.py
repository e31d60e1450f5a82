"""Synthetic data sets on disk: complete, reproducible, resumable, in the data sets' layouts."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.inshop import flat_name
from leffa.data.part_colours import PART_COLOURS
from leffa.synthetic.render import draw_pose_set, draw_tryon
from leffa.synthetic.write import (
    derangement,
    write_deepfashion,
    write_folder,
    write_market1501,
    write_viton,
    write_viton_hd,
    write_wpose,
)

from .drawings import contents, mode_and_size, pixels, rows

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="module")
def deepfashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deepfashion")
    write_deepfashion(root, train=4, test=3, seed=4, height=HEIGHT, width=WIDTH)
    return root


def test_viton_hd_has_every_file_of_every_sample_in_the_right_mode(viton_hd: Path) -> None:
    modes = {
        "image/{}.jpg": "RGB",
        "cloth/{}.jpg": "RGB",
        "cloth-mask/{}.jpg": "L",
        "agnostic-v3.2/{}.jpg": "RGB",
        "agnostic-mask/{}_mask.png": "RGB",
        "image-densepose/{}.jpg": "RGB",
        "image-parse-v3/{}.png": "P",
        "image-parse-agnostic-v3.2/{}.png": "P",
        "openpose_img/{}_rendered.png": "RGB",
        "image-iuv/{}.png": "RGB",
    }
    for split, count in (("train", 2), ("test", 3)):
        pairs = rows(viton_hd / f"{split}_pairs.txt", " ")
        assert len(pairs) == count
        for person, garment in pairs:
            assert (viton_hd / split / "cloth" / garment).exists()
            for name, mode in modes.items():
                path = viton_hd / split / name.format(Path(person).stem)
                assert mode_and_size(path) == (mode, (WIDTH, HEIGHT)), name


def test_the_files_hold_what_was_drawn(viton_hd: Path) -> None:
    drawing = draw_tryon(4, 50_001, HEIGHT, WIDTH)
    folder = viton_hd / "test"
    read = {
        kind: pixels(folder / kind / f"50001_00{ending}")
        for kind, ending in (
            ("image-parse-v3", ".png"),
            ("image-iuv", ".png"),
            ("agnostic-mask", "_mask.png"),
            ("image", ".jpg"),
            ("image-parse-agnostic-v3.2", ".png"),
            ("image-densepose", ".jpg"),
        )
    }
    assert np.array_equal(read["image-parse-v3"], drawing.person.parsing)
    assert np.array_equal(read["image-iuv"], drawing.person.iuv)
    assert np.array_equal(read["agnostic-mask"][..., 0] > 127, drawing.agnostic_mask)
    assert np.abs(read["image"].astype(float) - drawing.person.image).mean() < 5
    assert not np.any(read["image-parse-agnostic-v3.2"][drawing.agnostic_mask] == 5)
    distance = read["image-densepose"][:, :, None].astype(float) - PART_COLOURS
    read_parts = (distance**2).sum(axis=-1).argmin(axis=-1)
    # JPEG halves the resolution of colour, so only pixels away from a border keep theirs.
    parts = drawing.person.iuv[..., 0]
    inside = maximum_filter(parts, 5) == minimum_filter(parts, 5)
    assert inside.mean() > 0.3
    assert (read_parts == parts)[inside].mean() > 0.95
    with np.load(folder / "flow" / "50001_00.npz") as arrays:
        assert arrays["flow"].dtype == np.float16
        assert np.array_equal(arrays["valid"], drawing.flow_valid)
        assert np.abs(arrays["flow"] - drawing.flow).max() < 1e-3
    pose = json.loads((folder / "openpose_json" / "50001_00_keypoints.json").read_text())
    joints = np.reshape(pose["people"][0]["pose_keypoints_2d"], (25, 3))
    assert np.allclose(joints, drawing.person.keypoints, atol=1e-3)


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_a_derangement_moves_everything(count: int) -> None:
    order = derangement(count, seed=0)
    assert sorted(order) == list(range(count))
    assert all(place != other for place, other in enumerate(order))


def test_dress_code_has_every_file_of_every_sample(dress_code: Path) -> None:
    modes = {
        "label_maps/{}_4.png": "L",
        "dense/{}_5.png": "L",
        "skeletons/{}_5.jpg": "RGB",
        "image-densepose/{}_0.jpg": "RGB",
        "agnostic_masks/{}_0.png": "L",
        "masks/{}_1.png": "L",
    }
    lists = {"train_pairs": 1, "test_pairs_paired": 2, "test_pairs_unpaired": 2}
    for number, category in enumerate(("upper_body", "lower_body", "dresses")):
        folder = dress_code / category
        for name, count in lists.items():
            pairs = rows(folder / f"{name}.txt", "\t")
            assert len(pairs) == count
            for person, garment in pairs:
                stem = person.removesuffix("_0.jpg")
                same = stem == garment.removesuffix("_1.jpg")
                assert same != (name == "test_pairs_unpaired")
                assert mode_and_size(folder / "images" / garment)[1] == (WIDTH, HEIGHT)
                for path, mode in modes.items():
                    found = mode_and_size(folder / path.format(stem))
                    assert found == (mode, (WIDTH, HEIGHT)), path
                with np.load(folder / "dense" / f"{stem}_5_uv.npz") as arrays:
                    assert arrays["uv"].shape == (2, HEIGHT, WIDTH)
            total = rows(dress_code / f"{name}.txt", "\t")
            own = [row[:2] for row in total if row[2] == str(number)]
            assert own == pairs


def test_dress_code_keypoints_are_in_their_own_frame(dress_code: Path) -> None:
    drawn = draw_tryon(4, 0, HEIGHT, WIDTH).person.keypoints_coco18
    content = json.loads((dress_code / "upper_body/keypoints/000000_2.json").read_text())
    joints = np.array(content["keypoints"])
    assert joints.shape == (18, 4)
    assert np.allclose(joints[:, :2], drawn[:, :2] * [384 / WIDTH, 512 / HEIGHT], atol=1e-2)
    assert np.all(joints[drawn[:, 2] == 0, :2] == 0)


def test_deepfashion_has_every_file_of_every_pair(deepfashion: Path) -> None:
    for split, count in (("train", 4), ("test", 3)):
        with (deepfashion / f"fasion-resize-pairs-{split}.csv").open() as file:
            pairs = [(row["from"], row["to"]) for row in csv.DictReader(file)]
        assert len(pairs) == count
        pictures = (deepfashion / f"{split}.lst").read_text().splitlines()
        assert {name for pair in pairs for name in pair} <= set(pictures)
        head, *lines = rows(deepfashion / f"fasion-resize-annotation-{split}.csv", ":")
        assert head == ["name", "keypoints_y", "keypoints_x"]
        for (name, y, x), picture in zip(lines, pictures, strict=True):
            assert name == picture
            assert len(json.loads(y)) == len(json.loads(x)) == 18
            assert max(json.loads(y)) < 256 and max(json.loads(x)) < 176
            assert mode_and_size(deepfashion / f"{split}_highres" / name)[1] == (WIDTH, HEIGHT)
            assert mode_and_size(deepfashion / "densepose" / f"{Path(name).stem}.png")[0] == "RGB"
        for reference, source in pairs:
            assert reference.split("id")[1][:8] == source.split("id")[1][:8]  # one person
            assert (
                deepfashion / "flow" / f"{Path(reference).stem}_2_{Path(source).stem}.npz"
            ).exists()


def test_the_release_tree_holds_the_flat_pictures(deepfashion: Path) -> None:
    tree = [path for gender in ("MEN", "WOMEN") for path in (deepfashion / gender).rglob("*.jpg")]
    assert len(tree) == 9
    for path in tree:
        name = flat_name(path.relative_to(deepfashion).as_posix())
        flat = next(
            folder / name for folder in deepfashion.glob("*_highres") if (folder / name).exists()
        )
        assert flat.read_bytes() == path.read_bytes()


def test_the_flow_of_a_pair_leads_from_the_target_to_the_reference(deepfashion: Path) -> None:
    stems = [f"fashionMENDrawn_Outfitsid0000000001_{pose}" for pose in ("1front", "2side")]
    _, valid = draw_pose_set(4, 0, HEIGHT, WIDTH, poses=3).flow(source=1, reference=0)
    with np.load(deepfashion / "flow" / f"{stems[0]}_2_{stems[1]}.npz") as arrays:
        assert np.array_equal(arrays["valid"], valid)


def test_bytes_do_not_depend_on_the_number_of_workers(viton_hd: Path, tmp_path: Path) -> None:
    write_viton_hd(tmp_path, train=2, test=3, seed=4, height=HEIGHT, width=WIDTH, workers=2)
    assert contents(tmp_path) == contents(viton_hd)


def test_a_second_run_draws_only_what_is_missing(tmp_path: Path) -> None:
    options = {"seed": 1, "height": HEIGHT, "width": WIDTH}
    write_viton_hd(tmp_path, train=2, test=0, **options)
    before = contents(tmp_path)
    missing = tmp_path / "train/image/00001_00.jpg"
    missing.unlink()
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]  # settings and lists too
    ages = [path.stat().st_mtime_ns for path in kept]
    steps: list[tuple[int, int]] = []
    write_viton_hd(tmp_path, train=2, test=0, progress=lambda *step: steps.append(step), **options)
    assert contents(tmp_path) == before
    assert [path.stat().st_mtime_ns for path in kept] == ages
    assert steps == [(2, 2)]


def test_more_samples_leave_the_first_ones_alone(tmp_path: Path) -> None:
    write_viton_hd(tmp_path, train=1, test=0, height=HEIGHT, width=WIDTH)
    before = contents(tmp_path / "train")
    write_viton_hd(tmp_path, train=2, test=2, height=HEIGHT, width=WIDTH)
    after = contents(tmp_path / "train")
    assert {name: after[name] for name in before} == before
    assert json.loads((tmp_path / SYNTHETIC).read_text())["train"] == 2


def test_other_settings_in_the_same_folder_are_refused(viton_hd: Path) -> None:
    with pytest.raises(
        ValueError, match="was written with seed 4 instead of 5; choose another folder"
    ):
        write_viton_hd(viton_hd, train=2, test=3, seed=5, height=HEIGHT, width=WIDTH)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(ValueError, match=r"is not empty and has no synthetic\.json"):
        write_viton_hd(tmp_path, train=1, test=0)


@pytest.mark.parametrize(("train", "test"), [(-1, 0), (0, 1), (60_000, 0)])
def test_impossible_counts_are_refused(tmp_path: Path, train: int, test: int) -> None:
    with pytest.raises(ValueError, match=r"(train|test)="):
        write_viton_hd(tmp_path, train=train, test=test)
    assert not any(tmp_path.iterdir())


def test_viton_has_every_file_of_every_sample(tmp_path: Path) -> None:
    write_viton(tmp_path, train=2, test=3, seed=4, height=HEIGHT, width=WIDTH)
    for split, count in (("train", 2), ("test", 3)):
        pairs = rows(tmp_path / f"{split}_pairs.txt")
        assert len(pairs) == count
        for person, garment in pairs:
            assert (person[:6] == garment[:6]) == (split == "train")
            stem, folder = Path(person).stem, tmp_path / split
            size = (WIDTH, HEIGHT)
            assert mode_and_size(folder / "image" / person) == ("RGB", size)
            assert mode_and_size(folder / "cloth" / garment) == ("RGB", size)
            assert mode_and_size(folder / "cloth-mask" / garment) == ("L", size)
            assert mode_and_size(folder / "image-parse" / f"{stem}.png") == ("P", size)
            labels = pixels(folder / "image-parse" / f"{stem}.png")
            assert 5 in labels and 10 not in labels  # LIP's 10 is jumpsuits, not the neck
            pose = json.loads((folder / "pose" / f"{stem}_keypoints.json").read_text())
            assert len(pose["people"][0]["pose_keypoints"]) == 3 * 18


def test_market_names_persons_cameras_and_frames(tmp_path: Path) -> None:
    write_market1501(tmp_path, train=7, test=6, seed=4)
    pairs = list(csv.DictReader((tmp_path / "market-pairs-train.csv").read_text().splitlines()))
    assert len(pairs) == 7
    for pair in pairs:
        assert re.fullmatch(r"\d{4}_c\ds1_\d{6}_00\.jpg", pair["from"])
        assert pair["from"][:4] == pair["to"][:4] != "0000"
        assert mode_and_size(tmp_path / "train" / pair["to"]) == ("RGB", (64, 128))
    lines = rows(tmp_path / "market-annotation-train.csv", ":")
    assert len(lines) == 1 + 2 * 3
    _, y, x = lines[1]
    assert 64 < max(json.loads(y)) < 128 and 32 < max(json.loads(x)) < 64


def test_wpose_numbers_its_pictures(tmp_path: Path) -> None:
    write_wpose(tmp_path, train=0, test=4, seed=4, height=HEIGHT, width=WIDTH)
    assert rows(tmp_path / "test_pairs.txt") == [
        [f"{a}.png", f"{b}.png"] for a, b in ((1, 2), (2, 3), (3, 1), (4, 5))
    ]
    drawn = draw_pose_set(4, 0, HEIGHT, WIDTH, poses=3).drawings[0]
    assert np.array_equal(pixels(tmp_path / "densepose/1.png"), drawn.iuv[..., ::-1])
    assert np.array_equal(pixels(tmp_path / "images/1.png"), drawn.image)


def test_a_folder_of_ones_own_has_all_categories(tmp_path: Path) -> None:
    write_folder(tmp_path, train=3, test=2, seed=4, height=HEIGHT, width=WIDTH)
    table = list(csv.DictReader((tmp_path / "train.csv").read_text().splitlines()))
    assert [row.pop("category") for row in table] == ["upper_body", "lower_body", "dresses"]
    assert all((tmp_path / path).is_file() for row in table for path in row.values())
    assert len(table[0]) == 7
