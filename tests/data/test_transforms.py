import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from leffa.data.batch import Record
from leffa.data.dataset import collate
from leffa.data.deepfashion import DeepFashion
from leffa.data.densepose import MIRROR
from leffa.data.fit import unpad
from leffa.data.published import DressCode, Viton, VitonHD
from leffa.data.recipe import PersonMaps
from leffa.data.transforms import PersonTransform, Sample

SIZE = {"height": 16, "width": 12}
IMAGES = ("source", "reference", "mask", "densepose", "loss_region")


def take(transform: PersonTransform, record: Record) -> Sample:
    return transform(record, random.Random(0))


def test_a_sample_keeps_the_data_contract(viton_hd: Path) -> None:
    sample = take(PersonTransform(**SIZE), VitonHD(viton_hd)[0])
    channels = {key: sample[key].shape[0] for key in IMAGES}
    assert channels == {"source": 3, "reference": 3, "mask": 1, "densepose": 3, "loss_region": 1}
    for key in IMAGES:
        assert sample[key].shape[1:] == (16, 12)
        assert sample[key].dtype == torch.float32
        assert sample[key].abs().max() <= 1
    assert set(sample["mask"].unique().tolist()) == {0, 1}
    assert sample["flow"].shape == (16, 12, 2)
    assert sample["flow_valid"].shape == (1, 16, 12)
    assert (sample["name"], sample["category"]) == ("00001_00", "upper_body")


def test_pictures_are_resized_by_the_named_filter(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    pixels = Image.open(record.source).resize((12, 16), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(pixels)).permute(2, 0, 1) / 127.5 - 1
    bicubic = take(PersonTransform(**SIZE, image_filter="bicubic"), record)["source"]
    torch.testing.assert_close(bicubic, expected)
    assert (take(PersonTransform(**SIZE), record)["source"] != expected).any()


def test_the_mask_is_cut_at_one_half(viton_hd: Path) -> None:
    mask = take(PersonTransform(**SIZE), VitonHD(viton_hd)[0])["mask"]
    assert mask[0, 4:12, 3:8].all()  # the file's rectangle: rows 8-23, columns 5-16
    assert mask.sum() == 8 * 6


@pytest.mark.parametrize("densepose", ["colour", "iuv"])
def test_a_mirrored_sample_is_the_sample_of_mirrored_files(
    viton_hd: Path, tmp_path: Path, densepose: str
) -> None:
    record = replace(VitonHD(viton_hd, densepose=densepose)[0], flow=None)
    assert record.mask is not None
    assert record.densepose is not None
    files = {
        "source": np.asarray(Image.open(record.source)),
        "reference": np.asarray(Image.open(record.reference)),
        "mask": np.asarray(Image.open(record.mask)),
        "densepose": np.asarray(Image.open(record.densepose)),
    }
    if densepose == "iuv":
        part, u, v = np.moveaxis(files["densepose"], -1, 0)
        u = np.where(np.isin(part, (3, 4, 23, 24)), 255 - u, u)
        v = np.where(np.isin(part, (1, 2)), 255 - v, v)
        files["densepose"] = np.stack([MIRROR[part], u, v], axis=-1)
    turned = {}
    for name, pixels in files.items():
        turned[name] = tmp_path / f"{name}.png"
        Image.fromarray(pixels[:, ::-1]).save(turned[name])
    flipped = take(PersonTransform(24, 32, densepose=densepose, flip=1), record)
    by_hand = take(PersonTransform(24, 32, densepose=densepose), replace(record, **turned))
    for key in IMAGES:
        if key != "densepose" or densepose == "iuv":  # colours of noise have no parts to swap
            torch.testing.assert_close(flipped[key], by_hand[key], atol=0.02, rtol=0)


def test_the_flow_is_mirrored_with_the_pictures(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    plain = take(PersonTransform(**SIZE), record)
    flipped = take(PersonTransform(**SIZE, flip=1), record)
    assert torch.equal(flipped["flow_valid"], plain["flow_valid"].flip(-1))
    assert torch.equal(flipped["flow"][..., 0], -plain["flow"][..., 0].flip(1))
    assert torch.equal(flipped["flow"][..., 1], plain["flow"][..., 1].flip(1))


def test_flips_come_at_the_given_rate(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    transform = PersonTransform(**SIZE, flip=0.25)
    plain = take(PersonTransform(**SIZE), record)["mask"]
    rng = random.Random(1)
    flips = [not torch.equal(transform(record, rng)["mask"], plain) for _ in range(200)]
    assert 30 < sum(flips) < 70


def test_pose_transfer_generates_the_whole_body(deepfashion: Path) -> None:
    transform = PersonTransform(**SIZE, task="pose", densepose="iuv")
    sample = take(transform, DeepFashion(deepfashion)[0])
    assert sample["mask"].all()
    assert torch.equal(sample["loss_region"][0] > 0, sample["densepose"][2] > -1)
    assert not sample["loss_region"].all()


def test_the_loss_region_of_try_on_is_the_mask(viton_hd: Path) -> None:
    sample = take(PersonTransform(**SIZE), VitonHD(viton_hd)[0])
    assert torch.equal(sample["loss_region"], sample["mask"])


def test_the_garment_region_is_where_the_person_wears_it(viton_hd: Path) -> None:
    sample = take(PersonTransform(**SIZE, loss_region="garment"), VitonHD(viton_hd)[0])
    assert (sample["loss_region"] <= sample["mask"]).all()
    columns = sample["loss_region"][0].any(dim=0).nonzero().flatten().tolist()
    assert columns == [3, 4, 5, 6, 7, 8][: len(columns)]
    assert 0 < sample["loss_region"].sum() <= sample["mask"].sum()


def test_the_garment_region_follows_the_category_and_label_set(dress_code: Path) -> None:
    transform = PersonTransform(**SIZE, densepose="labels", loss_region="garment", label_set="atr")
    regions = [
        take(transform, DressCode(dress_code, categories=[category])[0])["loss_region"]
        for category in ("upper_body", "lower_body", "dresses")
    ]
    assert all(region.any() for region in regions[:2])
    assert not (regions[0] * regions[1]).any()


def test_the_foreground_comes_from_the_parse_where_there_is_no_densepose(viton_hd: Path) -> None:
    record = VitonHD(viton_hd, densepose="none")[0]
    sample = take(PersonTransform(**SIZE, densepose="none", loss_region="foreground"), record)
    assert (sample["densepose"] == -1).all()
    assert sample["loss_region"][0, 0].tolist() == [0] * 3 + [1] * 9


def test_a_recipe_builds_the_mask_in_pixels_of_the_sample(viton: Path) -> None:
    transform = PersonTransform(**SIZE, densepose="skeleton", agnostic=lowest_row)
    mask = take(transform, Viton(viton)[0])["mask"]
    assert mask[0, :, 0].nonzero().max() == 10  # the wrist: row 20 of 32 becomes 10 of 16
    assert mask.shape == (1, 16, 12)


def lowest_row(person: PersonMaps) -> NDArray[np.bool_]:
    """Down to the right wrist."""
    assert person.keypoints is not None
    rows = np.arange(person.height)[:, None] <= person.keypoints[4, 1]
    return np.broadcast_to(rows, person.parse.shape).copy()


def test_the_error_of_a_recipe_names_the_file(viton: Path) -> None:
    def refuse(person: PersonMaps) -> NDArray[np.bool_]:
        raise ValueError("the pose has no shoulders")

    with pytest.raises(ValueError, match=r"000001_0\.jpg: the pose has no shoulders"):
        take(PersonTransform(**SIZE, densepose="none", agnostic=refuse), Viton(viton)[0])


def test_the_mirrored_skeleton_is_that_of_a_person_turned_round(viton: Path) -> None:
    options = {"height": 64, "width": 48, "densepose": "skeleton", "task": "pose"}
    plain = take(PersonTransform(**options, flip=0), Viton(viton)[0])["densepose"]
    flipped = take(PersonTransform(**options, flip=1), Viton(viton)[0])["densepose"]
    # The arm on the right of the picture is the left one, mirrored or not, and has its colour.
    on_the_right, on_the_left = plain[:, 32, 30:42], plain[:, 32, 6:18]
    assert torch.equal(on_the_right.amax(-1), flipped[:, 32, 30:42].amax(-1))
    assert torch.equal(on_the_left.amax(-1), flipped[:, 32, 6:18].amax(-1))
    assert not torch.equal(on_the_right.amax(-1), on_the_left.amax(-1))


def test_padding_keeps_the_aspect_of_each_picture(viton_hd: Path) -> None:
    """24x32 pictures on a square canvas: 18 columns of 24 show them."""
    record = VitonHD(viton_hd)[0]
    transform = PersonTransform(24, 24, fit="pad", loss_region="all")
    sample, whole = take(transform, record), take(PersonTransform(24, 18), record)
    picture, around = slice(3, 21), [0, 1, 2, 21, 22, 23]
    for key in ("source", "reference", "mask", "densepose"):
        torch.testing.assert_close(sample[key][..., picture], whole[key])
    for key, fill in (("source", 1), ("reference", 1), ("mask", 0), ("densepose", -1)):
        assert (sample[key][..., around] == fill).all()
    assert sample["loss_region"][..., picture].all()
    assert not sample["loss_region"][..., around].any()
    assert not sample["flow_valid"][..., around].any()


def test_a_padded_result_is_undone_to_the_persons_picture(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    source = take(PersonTransform(32, 40, fit="pad"), record)["source"]
    pixels = ((source + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    back = unpad(Image.fromarray(pixels), (24, 32))
    with Image.open(record.source) as picture:
        assert back.tobytes() == picture.convert("RGB").tobytes()


def test_the_skeleton_and_the_mask_of_a_recipe_are_padded_with_the_picture(viton: Path) -> None:
    options = {"densepose": "skeleton", "agnostic": lowest_row}
    padded = take(PersonTransform(32, 48, fit="pad", **options), Viton(viton)[0])
    plain = take(PersonTransform(32, 24, **options), Viton(viton)[0])
    assert torch.equal(padded["mask"][..., 12:36], plain["mask"])
    assert not padded["mask"][..., :12].any()
    # Lines are drawn from other fractions of a pixel.
    assert (padded["densepose"][..., 12:36] - plain["densepose"]).abs().mean() < 0.05


def test_zoom_and_shift_move_the_person_and_leave_the_garment(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    plain = take(PersonTransform(**SIZE), record)
    moved = take(PersonTransform(**SIZE, scale=0.3, shift=0.2), record)
    assert torch.equal(moved["reference"], plain["reference"])
    for key in ("source", "mask", "densepose", "flow", "flow_valid"):
        assert not torch.equal(moved[key], plain[key])
    both = take(PersonTransform(**SIZE, scale=0.3, shift=0.2, moves="both"), record)
    assert torch.equal(both["source"], moved["source"])
    assert not torch.equal(both["reference"], plain["reference"])


def test_colours_change_alike_in_source_and_reference(viton_hd: Path) -> None:
    record = VitonHD(viton_hd)[0]
    same = replace(record, reference=record.source)
    plain = take(PersonTransform(**SIZE), same)
    changed = take(PersonTransform(**SIZE, colour=0.4), same)
    assert torch.equal(changed["source"], changed["reference"])
    assert not torch.equal(changed["source"], plain["source"])
    for key in ("mask", "densepose", "loss_region"):
        assert torch.equal(changed[key], plain[key])


def test_still_changes_nothing_by_chance(viton_hd: Path) -> None:
    transform = PersonTransform(**SIZE, flip=1, scale=0.2, shift=0.2, colour=0.3)
    record = VitonHD(viton_hd)[0]
    still, plain = (
        take(transform.without_augmentation(), record),
        take(PersonTransform(**SIZE), record),
    )
    for key in (*IMAGES, "flow", "flow_valid"):
        assert torch.equal(still[key], plain[key])


def test_pose_transfer_works_from_keypoints_alone(viton: Path) -> None:
    transform = PersonTransform(
        64, 48, task="pose", densepose="none", pose=True, loss_region="foreground"
    )
    sample = take(transform, Viton(viton)[0])
    assert sample["pose"].shape == (21, 64, 48)
    assert (sample["pose"].amax(), sample["pose"].amin()) == (1, 0)
    peak = sample["pose"][3 + 4].argmax()  # the right wrist, at (6, 20) of 24x32
    assert divmod(int(peak), 48) == (40, 12)
    assert sample["loss_region"].any()
    assert "pose" not in take(replace(transform, pose=False), Viton(viton)[0])


def test_the_mirrored_pose_tensor_is_that_of_a_person_turned_round(viton: Path) -> None:
    transform = PersonTransform(64, 48, task="pose", densepose="none", pose=True)
    plain = take(transform, Viton(viton)[0])["pose"]
    flipped = take(replace(transform, flip=1), Viton(viton)[0])["pose"]
    right, left = 3 + 4, 3 + 7
    torch.testing.assert_close(flipped[right], plain[left].flip(-1))
    torch.testing.assert_close(flipped[left], plain[right].flip(-1))


def test_samples_with_a_pose_make_a_batch_with_poses(viton: Path) -> None:
    transform = PersonTransform(16, 12, task="pose", densepose="none", pose=True)
    samples = [take(transform, record) for record in Viton(viton)]
    assert collate(samples)["pose"].shape == (len(samples), 21, 16, 12)
    without = take(replace(transform, pose=False), Viton(viton)[0])
    assert "pose" not in collate([samples[0], without])


def test_a_recipe_is_given_category_labels_and_densepose(dress_code: Path) -> None:
    seen: list[PersonMaps] = []

    def recipe(person: PersonMaps) -> NDArray[np.bool_]:
        seen.append(person)
        return np.ones(person.parse.shape, np.bool_)

    transform = PersonTransform(**SIZE, densepose="labels", label_set="atr", agnostic=recipe)
    take(transform, DressCode(dress_code, categories=["lower_body"])[0])
    (person,) = seen
    assert (person.category, person.label_set) == ("lower_body", "atr")
    assert person.densepose is not None
    assert set(np.unique(person.densepose).tolist()) == {0, 2, 15, 16}
    assert person.keypoints is not None
    np.testing.assert_allclose(person.keypoints[4, :2], (3, 10), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_range": 1}, "part_range=1: choose 24, or 255"),
        ({"fit": "crop"}, "fit=crop: choose one of stretch, pad"),
        ({"moves": "garment"}, "moves=garment: choose one of source, both"),
        ({"scale": 1.5}, "scale=1.5: is the largest change"),
        ({"densepose": "color"}, "densepose=color: choose one of colour, iuv, vui"),
        ({"task": "swap"}, "task=swap: choose one of tryon, pose"),
        ({"loss_region": "body"}, "loss_region=body: choose one of mask"),
        ({"label_set": "coco"}, "label_set=coco: choose one of cihp"),
        ({"image_filter": "box"}, "image_filter=box: choose one of lanczos"),
        ({"flip": 1.5}, "flip=1.5: is a probability"),
        ({"height": 0}, "height=0"),
    ],
)
def test_a_wrong_option_gets_the_choices(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PersonTransform(**{**SIZE, **options})


def test_a_missing_mask_names_the_remedy(viton: Path) -> None:
    with pytest.raises(ValueError, match=r"000001_0\.jpg: .* no mask file .* `agnostic` a recipe"):
        take(PersonTransform(**SIZE, densepose="none"), Viton(viton)[0])
