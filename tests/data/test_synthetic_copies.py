"""Synthetic data sets in the layouts of real ones come back through the real classes."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.deepfashion import DeepFashion
from leffa.data.dress_code import DressCode
from leffa.data.market1501 import Market1501
from leffa.data.transforms import PersonTransform
from leffa.data.viton import Viton
from leffa.data.viton_hd import VitonHD
from leffa.data.wpose import WPose
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
    valid = batch["flow_valid"].expand_as(warped) > 0
    assert valid.any()
    error = ((warped - batch["source"])[valid] / 2).square().mean()
    return float(-10 * torch.log10(error))


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (96, 72), (64, 48)])
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


def test_the_test_lists_are_read_paired_and_unpaired(root: Path) -> None:
    for layout, folder in ((VitonHD, "viton_hd"), (DressCode, "dress_code")):
        paired = layout(root / folder, split="test")
        unpaired = layout(root / folder, split="test", pairs="unpaired")
        assert len(paired) == len(unpaired)
        assert {record.source for record in paired} == {record.source for record in unpaired}
        assert all("__" in record.name for record in unpaired)
