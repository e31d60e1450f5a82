from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from leffa.data.densepose import MIRROR, ColourDensePose, IUVDensePose, LabelDensePose

parts = arrays(np.uint8, (6, 5), elements=st.integers(0, 24))
charts = arrays(np.uint8, (6, 5, 2), elements=st.integers(0, 255))


@given(parts)
def test_every_part_has_a_mirror_part(labels: np.ndarray) -> None:
    swapped = LabelDensePose().swap_sides(labels)
    assert (LabelDensePose().swap_sides(swapped) == labels).all()
    torso = np.isin(labels, (0, 1, 2))
    assert ((swapped == labels) == torso).all()
    assert MIRROR[[3, 15, 24]].tolist() == [4, 16, 23]


@given(parts, charts)
def test_iuv_swaps_back_and_turns_only_the_charts_across_the_body(
    labels: np.ndarray, uv: np.ndarray
) -> None:
    iuv = np.concatenate([labels[..., None], uv], axis=-1)
    swapped = IUVDensePose().swap_sides(iuv)
    assert (IUVDensePose().swap_sides(swapped) == iuv).all()
    limbs = (labels >= 7) & (labels <= 22)
    assert (swapped[limbs, 1:] == iuv[limbs, 1:]).all()
    torso = np.isin(labels, (1, 2))
    assert (swapped[torso, 2] == 255 - iuv[torso, 2]).all()
    assert (swapped[torso, 1] == iuv[torso, 1]).all()


@given(parts, st.integers(0, 10))
def test_colours_of_a_jpeg_are_recognised_and_swapped(labels: np.ndarray, seed: int) -> None:
    colour = ColourDensePose()
    noise = np.random.default_rng(seed).integers(-1, 2, (*labels.shape, 3))
    pixels = np.clip(colour.COLOURS[labels] + noise, 0, 255).astype(np.uint8)
    assert (colour.labels(pixels) == labels).all()
    swapped = colour.swap_sides(pixels).astype(int)
    assert np.abs(swapped - colour.COLOURS[MIRROR[labels]]).max() <= 1
    assert (colour.body(pixels) == (labels > 0)).all()


@given(parts, charts)
def test_background_is_minus_one_in_every_encoding(labels: np.ndarray, uv: np.ndarray) -> None:
    background = labels == 0
    iuv = np.concatenate([labels[..., None], uv * ~background[..., None]], axis=-1)
    colours = ColourDensePose.COLOURS[labels].astype(np.uint8)
    encoded = [
        ColourDensePose().encode(colours),
        IUVDensePose().encode(iuv),
        LabelDensePose().encode(labels),
    ]
    for picture in encoded:
        assert picture.shape == (3, *labels.shape)
        assert picture.dtype == torch.float32
        assert picture.abs().max() <= 1
        assert (picture[:, torch.from_numpy(background)] == -1).all()


def test_iuv_is_encoded_as_u_v_and_part() -> None:
    encoded = IUVDensePose().encode(np.array([[[24, 0, 255]]], np.uint8))
    assert encoded.flatten().tolist() == [-1, 1, 1]
    assert LabelDensePose().encode(np.array([[12]], np.uint8)).flatten().tolist() == [0, 0, 0]


def test_an_ordinary_picture_is_no_iuv(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: its first channel reaches 200"):
        IUVDensePose().read(tmp_path / "a.png")


def test_an_ordinary_mask_is_no_part_map(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: reaches 255"):
        LabelDensePose().read(tmp_path / "a.png")


def _slope_across(iuv: np.ndarray, part: int, channel: int) -> float:
    """How fast a chart coordinate grows to the right, per standard deviation of x."""
    y, x = np.nonzero(iuv[..., 0] == part)
    design = np.stack([(x - x.mean()) / x.std(), (y - y.mean()) / y.std(), np.ones(len(x))], axis=1)
    slopes = np.linalg.lstsq(design, iuv[y, x, channel].astype(float), rcond=None)[0]
    return float(slopes[0])


def test_a_mirrored_real_body_has_the_charts_of_a_real_body(shared: Path) -> None:
    """The torso's V and the head's U run the same way across the picture before and after."""
    paths = sorted((shared / "samples/deepfashion_iuv").glob("*front_iuv.png"))
    assert len(paths) == 3
    for path in paths:
        iuv = np.asarray(IUVDensePose().read(path))
        mirrored = IUVDensePose().swap_sides(iuv)[:, ::-1]
        for part, channel in ((2, 2), (23, 1), (24, 1)):
            before, after = (
                _slope_across(iuv, part, channel),
                _slope_across(mirrored, part, channel),
            )
            assert min(abs(before), abs(after)) > 20
            assert (before > 0) == (after > 0)


def test_real_colour_maps_show_the_parts_of_a_person(shared: Path) -> None:
    path = shared / "samples/viton_hd_densepose/test/image-densepose/00002_00.jpg"
    pixels = np.asarray(ColourDensePose().read(path))
    share = (
        np.bincount(ColourDensePose().labels(pixels).ravel(), minlength=25) / pixels[..., 0].size
    )
    assert share[2] > 0.05
    assert share[[15, 16, 17, 18, 19, 20, 21, 22]].sum() > 0.02
    assert share[[5, 6]].sum() < 0.01
