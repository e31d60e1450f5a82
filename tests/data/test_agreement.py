"""Whatever flips, zooms, shifts, crops and pads do to a sample, its maps stay in agreement.

In a synthetic data set everything is known: the surface point of every pixel, its place in the
reference, and which part of the body a joint lies on. So each map can be checked against another
one that was transformed by other code.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from leffa.data.batch import Record
from leffa.data.deepfashion import DeepFashion
from leffa.data.densepose import ColourDensePose
from leffa.data.published import DressCode, VitonHD
from leffa.data.transforms import PersonTransform, Sample
from leffa.synthetic.write import write_deepfashion, write_dress_code, write_viton_hd

HEIGHT, WIDTH = 192, 144
# COCO-18 joints on the limbs, and the DensePose parts that a joint may show.
JOINTS = {
    3: (16, 18, 20, 22),
    4: (3, 20, 22),
    6: (15, 17, 19, 21),
    7: (4, 19, 21),
    9: (7, 9, 11, 13),
    12: (8, 10, 12, 14),
}
OTHER_SIDE = {3: 6, 6: 3, 4: 7, 7: 4, 9: 12, 12: 9}


@dataclass(frozen=True)
class Change:
    """One way to transform a sample."""

    options: dict[str, object]
    mirror: bool
    draw: int

    def sample(self, record: Record, **more: object) -> Sample:
        """The record under this change; the same draw each time."""
        transform = PersonTransform(**{**self.options, **more}, flip=float(self.mirror))
        return transform(record, random.Random(self.draw))


@st.composite
def changes(draw: st.DrawFn) -> Change:
    height, width = draw(st.sampled_from([(192, 144), (144, 108), (160, 160), (150, 200)]))
    options = {
        "height": height,
        "width": width,
        "fit": draw(st.sampled_from(["stretch", "pad"])),
        "scale": draw(st.sampled_from([0.0, 0.25])),
        "shift": draw(st.sampled_from([0.0, 0.15])),
        "moves": draw(st.sampled_from(["source", "both"])),
    }
    return Change(options, draw(st.booleans()), draw(st.integers(0, 2**16)))


examples = settings(
    max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("agreement")
    write_viton_hd(root / "viton_hd", 2, 0, height=HEIGHT, width=WIDTH)
    write_dress_code(root / "dress_code", 1, 0, height=HEIGHT, width=WIDTH)
    write_deepfashion(root / "deepfashion", 3, 0, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="module")
def tryon(root: Path) -> list[Record]:
    return list(VitonHD(root / "viton_hd", densepose="iuv"))


@pytest.fixture(scope="module")
def dresses(root: Path) -> list[Record]:
    return list(DressCode(root / "dress_code", categories=["dresses"]))


@pytest.fixture(scope="module")
def poses(root: Path) -> list[Record]:
    return list(DeepFashion(root / "deepfashion"))


def part_ids(sample: Sample) -> np.ndarray:
    """(H, W) from the encoded IUV."""
    return ((sample["densepose"][2] + 1) * 12).round().numpy().astype(int)


def psnr(one: Tensor, other: Tensor, where: Tensor) -> float:
    error = ((one - other)[where.expand_as(one) > 0] / 2).square().mean()
    return float(-10 * torch.log10(error))


def psnr_of_the_warped_reference(sample: Sample) -> float:
    warped = F.grid_sample(
        sample["reference"][None], sample["flow"][None], align_corners=True, padding_mode="border"
    )[0]
    assert sample["flow_valid"].sum() > 100
    return psnr(warped, sample["source"], sample["flow_valid"])


@given(change=changes())
@examples
def test_the_reference_warped_by_the_ground_truth_flow_is_the_source(
    tryon: list[Record], dresses: list[Record], poses: list[Record], change: Change
) -> None:
    for record, more in (
        (tryon[change.draw % 2], {"densepose": "iuv"}),
        (dresses[0], {"densepose": "labels_uv", "label_set": "atr"}),
        (poses[change.draw % 3], {"densepose": "iuv", "task": "pose"}),
    ):
        sample = change.sample(record, **more)
        plain = PersonTransform(HEIGHT, WIDTH, **more)(record, random.Random(0))
        # The price of resampling once more: nothing where the flow is off by a pixel.
        assert psnr_of_the_warped_reference(sample) > psnr_of_the_warped_reference(plain) - 4


@given(change=changes())
@examples
def test_the_ground_truth_flow_is_known_only_on_the_garment_in_the_mask(
    tryon: list[Record], change: Change
) -> None:
    sample = change.sample(tryon[0], densepose="iuv", loss_region="garment")
    known = sample["flow_valid"] > 0
    assert (sample["loss_region"] <= sample["mask"]).all()
    assert known.any()
    # Labels are nearest, the flow is bilinear and of pure pixels: only edges may differ.
    assert sample["loss_region"][known].mean() > 0.98


@given(change=changes())
@examples
def test_the_mask_covers_what_the_agnostic_picture_hides(
    tryon: list[Record], change: Change
) -> None:
    record = tryon[0]
    hidden = record.source.parents[1] / "agnostic-v3.2" / record.source.name
    sample = change.sample(replace(record, source=hidden), densepose="iuv")
    grey = sample["source"].abs().amax(0) < 0.1
    mask = sample["mask"][0] > 0
    overlap = (grey & mask).sum() / (grey | mask).sum()
    assert overlap > 0.93


@given(change=changes())
@examples
def test_both_encodings_of_the_body_show_the_same_parts(
    tryon: list[Record], change: Change
) -> None:
    record = tryon[1]
    colours = record.source.parents[1] / "image-densepose" / record.source.name
    iuv = part_ids(change.sample(record, densepose="iuv"))
    picture = change.sample(replace(record, densepose=colours), densepose="colour")["densepose"]
    pixels = ((picture + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    parts = ColourDensePose().parts(pixels)
    inside = same_around(iuv)
    assert inside.sum() > 200
    assert (parts == iuv)[inside].mean() > 0.93  # JPEG noise between colours that are alike


def same_around(parts: np.ndarray) -> np.ndarray:
    """True on the body where the eight neighbours show the same part: colours mix at borders."""
    inside = parts > 0
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            inside &= np.roll(parts, (down, right), (0, 1)) == parts
    inside[[0, -1]] = inside[:, [0, -1]] = False
    return inside


@given(change=changes())
@examples
def test_joints_stay_on_their_part_of_the_body(
    tryon: list[Record], poses: list[Record], change: Change
) -> None:
    """The joints in sight, by the IUV around them; of a keypoint file and of a list of them."""
    for record, task in ((tryon[change.draw % 2], "tryon"), (poses[change.draw % 3], "pose")):
        still = PersonTransform(HEIGHT, WIDTH, task=task, densepose="iuv", pose=True)
        before = joints_on_their_part(still(record, random.Random(0)), reach=1)
        after = joints_on_their_part(
            change.sample(record, task=task, densepose="iuv", pose=True), reach=3
        )
        in_sight = {joint for joint, found in before.items() if found}
        assert in_sight
        if change.mirror:
            in_sight = {OTHER_SIDE[joint] for joint in in_sight}
        # A joint that left the canvas has no peak and is not in `after`.
        assert all(after[joint] for joint in in_sight & after.keys())


def joints_on_their_part(sample: Sample, reach: int) -> dict[int, bool]:
    """Of each joint whose heat map peaks on the canvas, whether its own side's limb is there."""
    parts = part_ids(sample)
    found = {}
    for joint, expected in JOINTS.items():
        heat = sample["pose"][3 + joint].numpy()
        if heat.max() == 1:
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            rows = slice(max(0, row - reach), row + reach + 1)
            columns = slice(max(0, column - reach), column + reach + 1)
            found[joint] = bool(np.isin(parts[rows, columns], expected).any())
    return found


def test_a_flow_that_forgot_the_zoom_would_be_found(tryon: list[Record]) -> None:
    """The measure above can fail: the flow of the unmoved person on the moved picture."""
    moved = PersonTransform(HEIGHT, WIDTH, densepose="iuv", scale=0.25, shift=0.15)
    sample = moved(tryon[0], random.Random(3))
    good = psnr_of_the_warped_reference(sample)
    still = moved.without_augmentation()(tryon[0], random.Random(3))
    sample["flow"], sample["flow_valid"] = still["flow"], still["flow_valid"]
    assert psnr_of_the_warped_reference(sample) < good - 8
