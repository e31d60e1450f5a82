"""Synthetic data sets in the layouts of real ones come back through the real classes."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from leffa.data.batch import Record
from leffa.data.catalog.spec import SYNTHETIC
from leffa.data.dataset import PersonDataset, collate
from leffa.data.deepfashion import DeepFashion
from leffa.data.published import DressCode, Market1501, Viton, VitonHD, WPose
from leffa.data.transforms import PersonTransform
from leffa.preprocess.agnostic import viton as viton_mask
from leffa.synthetic.write import (
    write_deepfashion,
    write_dress_code,
    write_market1501,
    write_viton,
    write_viton_hd,
    write_wpose,
)

HEIGHT, WIDTH = 128, 96


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copies")
    write_viton_hd(root / "viton_hd", 3, 2, height=HEIGHT, width=WIDTH)
    write_dress_code(root / "dress_code", 1, 2, height=HEIGHT, width=WIDTH)
    write_deepfashion(root / "deepfashion", 3, 2, height=HEIGHT, width=WIDTH)
    write_viton(root / "viton", 2, 0, height=HEIGHT, width=WIDTH)
    write_market1501(root / "market1501", 6, 0, height=HEIGHT, width=WIDTH)
    write_wpose(root / "wpose", 0, 3, height=HEIGHT, width=WIDTH)
    return root


def psnr_of_the_warped_reference(records: Sequence[Record], transform: PersonTransform) -> float:
    dataset = PersonDataset(records, transform)
    batch = collate([dataset[index] for index in range(len(dataset))])
    warped = F.grid_sample(batch["reference"], batch["flow"], align_corners=True)
    true = batch.get("truth", batch["source"])
    valid = batch["flow_valid"].expand_as(warped) > 0
    assert valid.any()
    error = ((warped - true)[valid] / 2).square().mean()
    return float(-10 * torch.log10(error))


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (64, 48)])
def test_the_ground_truth_flow_survives_resize_and_mirror(
    root: Path, size: tuple[int, int], flip: float
) -> None:
    tryon = PersonTransform(*size, densepose="iuv", flip=flip)
    assert psnr_of_the_warped_reference(VitonHD(root / "viton_hd", densepose="iuv"), tryon) > 26
    labels = PersonTransform(*size, densepose="labels", label_set="atr", flip=flip)
    assert psnr_of_the_warped_reference(DressCode(root / "dress_code"), labels) > 24
    pose = PersonTransform(*size, task="pose", densepose="iuv", flip=flip)
    assert psnr_of_the_warped_reference(DeepFashion(root / "deepfashion"), pose) > 24


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_ground_truth_flow_comes_through_every_layout(root: Path, flip: float) -> None:
    viton = PersonTransform(
        HEIGHT, WIDTH, densepose="skeleton", agnostic=viton_mask, label_set="lip", flip=flip
    )
    assert psnr_of_the_warped_reference(Viton(root / "viton"), viton) > 26
    pose = PersonTransform(HEIGHT, WIDTH, task="pose", densepose="iuv", flip=flip)
    market = Market1501(root / "market1501", densepose="iuv")
    assert psnr_of_the_warped_reference(market, pose) > 24
    turned = PersonTransform(HEIGHT, WIDTH, task="pose", densepose="vui", flip=flip)
    assert psnr_of_the_warped_reference(WPose(root / "wpose"), turned) > 24


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (64, 48)])
def test_unpaired_flow_warps_the_garment_onto_the_true_picture(
    root: Path, size: tuple[int, int], flip: float
) -> None:
    unpaired = {"split": "test", "pairs": "unpaired", "truth": True}
    tryon = PersonTransform(*size, densepose="iuv", flip=flip)
    records = VitonHD(root / "viton_hd", densepose="iuv", **unpaired)
    assert psnr_of_the_warped_reference(records, tryon) > 26
    labels = PersonTransform(*size, densepose="labels", label_set="atr", flip=flip)
    assert psnr_of_the_warped_reference(DressCode(root / "dress_code", **unpaired), labels) > 24


def test_unpaired_inputs_are_those_of_the_person_in_the_own_garment(root: Path) -> None:
    transform = PersonTransform(HEIGHT, WIDTH, densepose="iuv", loss_region="garment")
    paired = VitonHD(root / "viton_hd", split="test", densepose="iuv")
    unpaired = VitonHD(root / "viton_hd", "test", "unpaired", densepose="iuv", truth=True)
    samples = PersonDataset(paired, transform), PersonDataset(unpaired, transform)
    for own, other in zip(*samples, strict=True):
        for key in ("source", "mask", "densepose"):
            assert torch.equal(own[key], other[key]), key
        outside = (own["mask"] == 0) & (other["flow_valid"] == 0)
        assert not torch.equal(own["source"], other["truth"])
        assert not torch.equal(own["loss_region"], other["loss_region"])
        assert other["flow_valid"].sum() > 100 and "truth" not in own
        assert not (other["flow_valid"] * (1 - other["mask"])).any()
        # Most of what is outside the mask is as it was; JPEG spreads over a block.
        difference = (own["source"] - other["truth"]).abs().amax(dim=0, keepdim=True)
        assert (difference[outside] < 0.2).float().mean() > 0.9


def test_the_truth_is_read_only_where_it_is_asked_for(root: Path) -> None:
    unpaired = VitonHD(root / "viton_hd", split="test", pairs="unpaired")
    assert all((record.truth, record.flow) == (None, None) for record in unpaired)
    with pytest.raises(ValueError, match="truth=true: where pairs=paired"):
        VitonHD(root / "viton_hd", split="test", truth=True)


def test_a_missing_truth_names_the_command_that_draws_it(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "viton_hd"
    shutil.copytree(root / "viton_hd", copy)
    next((copy / "test/unpaired-image").iterdir()).unlink()
    command = (
        f"1 of 2 persons .* leffa draw viton_hd {copy} --train 3 --test 2 --seed 0 "
        f"--height {HEIGHT} --width {WIDTH}"
    )
    with pytest.raises(FileNotFoundError, match=command):
        VitonHD(copy, "test", "unpaired", truth=True)
    (copy / "synthetic.json").unlink()
    with pytest.raises(FileNotFoundError, match="photographs do not show"):
        VitonHD(copy, "test", "unpaired", allow_subset=True, truth=True)


def test_photographs_have_no_unpaired_poses(deepfashion: Path) -> None:
    with pytest.raises(ValueError, match="pairs=unpaired: training has no unpaired list"):
        DeepFashion(deepfashion, "train", pairs="unpaired")
    (deepfashion / SYNTHETIC).unlink()
    with pytest.raises(FileNotFoundError, match=r"photographs do not show .* give pairs=paired"):
        DeepFashion(deepfashion, "test", pairs="unpaired")


def test_missing_unpaired_poses_name_the_command_that_draws_them(tmp_path: Path) -> None:
    write_deepfashion(tmp_path, train=0, test=3, height=HEIGHT, width=WIDTH)  # of one person
    command = f"leffa draw deepfashion {tmp_path} --train 0 --test 4 --seed 0"
    with pytest.raises(FileNotFoundError, match=f"its persons are not rendered .*{command}"):
        DeepFashion(tmp_path, "test", pairs="unpaired")
