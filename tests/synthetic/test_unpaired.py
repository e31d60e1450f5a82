"""Persons in what others wear: the picture, the ground-truth flow, and what is written."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from leffa.data.deepfashion import DeepFashion
from leffa.data.labels import CATEGORIES, Category
from leffa.synthetic.render import TryOnDrawing, draw_pose_set, draw_tryon
from leffa.synthetic.write import write_deepfashion, write_viton_hd

from .drawings import COUNT, HEIGHT, WIDTH, contents, pixels, psnr, rows, tryon, warp

SMALL = {"height": 64, "width": 48}  # of the data sets on disk


@cache
def in_other_garment(index: int, category: Category) -> TryOnDrawing:
    return draw_tryon(3, index, HEIGHT, WIDTH, category, garment_of=index + COUNT)


@pytest.mark.parametrize("category", CATEGORIES)
def test_in_the_own_garment_the_unpaired_sample_is_the_paired_one(category: Category) -> None:
    own, again = tryon(1, category), draw_tryon(3, 1, HEIGHT, WIDTH, category, garment_of=1)
    assert np.array_equal(own.person.image, again.person.image)
    for part in ("garment", "garment_mask", "agnostic_mask", "flow", "flow_valid"):
        assert np.array_equal(getattr(own, part), getattr(again, part)), part


@pytest.mark.parametrize("category", CATEGORIES)
def test_another_garment_changes_nothing_outside_the_mask_and_the_garments(
    category: Category,
) -> None:
    for index in range(COUNT):
        own, other = tryon(index, category), in_other_garment(index, category)
        assert np.array_equal(own.person.iuv, other.person.iuv)
        assert np.array_equal(own.person.keypoints[:, :2], other.person.keypoints[:, :2])
        garments = np.any((own.flow != 0) | (other.flow != 0), axis=-1)
        # The rim of a garment is mixed with what lies beside it.
        may_change = own.agnostic_mask | maximum_filter(garments, 3)
        changed = np.any(own.person.image != other.person.image, axis=-1)
        assert np.mean(changed & ~may_change) < 1e-3  # slivers that own no whole pixel
        assert np.mean(changed[own.agnostic_mask]) > 0.1


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_flow_of_an_unpaired_sample_leads_to_the_garment_of_the_other(
    category: Category,
) -> None:
    for index in range(COUNT):
        drawing = in_other_garment(index, category)
        other = draw_tryon(3, index + COUNT, HEIGHT, WIDTH, category)
        assert np.array_equal(drawing.garment, other.garment)
        assert drawing.flow_valid.sum() > 100
        seen = drawing.flow_valid
        warped = warp(other.garment, drawing.flow)
        assert psnr(warped[seen], drawing.person.image[seen].astype(float)) >= 26
        own = tryon(index, category)
        inside = seen & own.flow_valid
        assert psnr(warped[inside], own.person.image[inside].astype(float)) < 22


def test_the_persons_of_the_unpaired_list_are_drawn_in_its_garments(viton_hd: Path) -> None:
    folder, numbers = viton_hd / "test", [50_000, 50_001, 50_002]
    pairs = rows(viton_hd / "test_pairs.txt", " ")
    names = {f"{Path(person).stem}__{Path(garment).stem}" for person, garment in pairs}
    for kind in ("image", "parse", "flow"):
        assert {path.stem for path in (folder / f"unpaired-{kind}").iterdir()} == names
    for number, (person, garment) in zip(numbers, pairs, strict=True):
        name = f"{Path(person).stem}__{Path(garment).stem}"
        drawing = draw_tryon(4, number, *SMALL.values(), garment_of=int(garment.split("_")[0]))
        parse = pixels(folder / "unpaired-parse" / f"{name}.png")
        assert np.array_equal(parse, drawing.person.parsing)
        picture = pixels(folder / "unpaired-image" / f"{name}.jpg").astype(float)
        assert np.abs(picture - drawing.person.image).mean() < 5
        with np.load(folder / "unpaired-flow" / f"{name}.npz") as arrays:
            assert np.array_equal(arrays["valid"], drawing.flow_valid)
    assert not any((viton_hd / "train").glob("unpaired-*"))


def test_another_garment_is_of_the_same_category(dress_code: Path) -> None:
    worn = {"upper_body": {4}, "lower_body": {5, 6}, "dresses": {7}}  # ATR
    for category, labels in worn.items():
        folder = dress_code / category
        pairs = rows(folder / "test_pairs_unpaired.txt", "\t")
        for person, garment in pairs:
            name = f"{Path(person).stem}__{Path(garment).stem}"
            own = set(np.unique(pixels(folder / "label_maps" / f"{person[:6]}_4.png")))
            new = set(np.unique(pixels(folder / "unpaired-parse" / f"{name}.png")))
            assert new & labels and own & labels
            assert new & {4, 5, 6, 7} - labels == own & {4, 5, 6, 7} - labels


def test_a_data_set_without_the_other_garments_is_completed(tmp_path: Path) -> None:
    options = {"seed": 1, **SMALL}
    write_viton_hd(tmp_path, train=0, test=2, **options)
    before = contents(tmp_path)
    for path in tmp_path.glob("test/unpaired-*/*"):
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    write_viton_hd(tmp_path, train=0, test=2, **options)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_another_appearance_changes_neither_body_nor_pose() -> None:
    own, again, other = (
        draw_pose_set(3, 0, HEIGHT, WIDTH, 2, appearance_of) for appearance_of in (None, 0, 1)
    )
    for one, same, taken in zip(own.drawings, again.drawings, other.drawings, strict=True):
        assert np.array_equal(one.image, same.image)
        assert np.array_equal(one.iuv, taken.iuv)
        assert np.array_equal(one.keypoints[:, :2], taken.keypoints[:, :2])
        assert np.mean(np.any(one.image != taken.image, axis=-1)) > 0.5  # backdrop and clothes


def test_the_flow_of_unpaired_poses_leads_to_the_picture_of_the_other() -> None:
    reference = draw_pose_set(3, 1, HEIGHT, WIDTH, 2)
    source = draw_pose_set(3, 0, HEIGHT, WIDTH, 2, appearance_of=1)
    flow, seen = source.flow(1, 0, reference)
    assert seen.sum() > 500
    warped = warp(reference.drawings[0].image, flow)
    assert psnr(warped[seen], source.drawings[1].image[seen].astype(float)) >= 26
    own = draw_pose_set(3, 0, HEIGHT, WIDTH, 2).drawings[1]
    assert psnr(warped[seen], own.image[seen].astype(float)) < 22


def test_the_persons_of_deepfashion_are_drawn_in_each_others_appearance(tmp_path: Path) -> None:
    write_deepfashion(tmp_path, train=0, test=5, seed=4, **SMALL)
    paired, unpaired = (
        DeepFashion(tmp_path, "test", pairs=pairs) for pairs in ("paired", "unpaired")
    )
    assert len(unpaired) == len(paired) == 5
    assert {each.source for each in unpaired} <= {each.source for each in paired} | {
        each.reference for each in paired
    }
    for record in unpaired:
        source, reference = (path.stem for path in (record.source, record.reference))
        assert source.split("_")[1] != reference.split("_")[1]  # of two persons
        assert record.name == f"{reference}_2_{source}"
        assert record.densepose and record.densepose.stem == source
        assert record.truth == tmp_path / "unpaired-image" / f"{record.name}.jpg"
        assert record.flow == tmp_path / "unpaired-flow" / f"{record.name}.npz"
    people = draw_pose_set(4, 50_000_000, *SMALL.values(), 3, appearance_of=50_000_001)
    drawn, written = people.drawings[1].image, pixels(unpaired[0].truth or Path())
    assert np.abs(written.astype(float) - drawn).mean() < 5
