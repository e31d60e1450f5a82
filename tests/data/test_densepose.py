from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from leffa.data.densepose import (
    ENCODINGS,
    MIRROR,
    ColourDensePose,
    IUVDensePose,
    LabelDensePose,
    LabelUVDensePose,
    can_convert,
    densepose_encoding,
)
from leffa.data.part_colours import PART_COLOURS

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
    pixels = np.clip(PART_COLOURS[labels] + noise, 0, 255).astype(np.uint8)
    assert (colour.parts(pixels) == labels).all()
    swapped = colour.swap_sides(pixels).astype(int)
    assert np.abs(swapped - PART_COLOURS[MIRROR[labels]]).max() <= 1
    assert (colour.body(pixels) == (labels > 0)).all()


@given(parts, charts)
def test_background_is_minus_one_in_every_encoding(labels: np.ndarray, uv: np.ndarray) -> None:
    background = labels == 0
    iuv = np.concatenate([labels[..., None], uv * ~background[..., None]], axis=-1)
    colours = PART_COLOURS[labels].astype(np.uint8)
    encoded = [
        ColourDensePose().encode(colours),
        IUVDensePose().encode(iuv),
        LabelDensePose().encode(labels),
    ]
    for packed in encoded:
        picture = packed.unpack()
        assert picture.shape == (3, *labels.shape)
        assert picture.dtype == torch.float32
        assert picture.abs().max() <= 1
        assert (picture[:, torch.from_numpy(background)] == -1).all()


def test_iuv_is_encoded_as_u_v_and_part() -> None:
    encoded = IUVDensePose().encode(np.array([[[24, 0, 255]]], np.uint8))
    assert encoded.unpack().flatten().tolist() == [-1, 1, 1]
    labels = LabelDensePose().encode(np.array([[12]], np.uint8))
    assert labels.unpack().flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("order", ["iuv", "vui", "ivu"])
def test_iuv_is_read_in_each_order_of_its_channels(tmp_path: Path, order: str) -> None:
    rng = np.random.default_rng(0)
    iuv = rng.integers(0, 256, (6, 5, 3), np.uint8)
    iuv[..., 0] %= 25
    stored = iuv[..., ["iuv".index(channel) for channel in order]]
    Image.fromarray(stored).save(tmp_path / "a.png")
    encoding = densepose_encoding(order)
    assert (np.asarray(encoding.read(tmp_path / "a.png")) == iuv).all()


def test_the_wrong_order_names_the_right_one(tmp_path: Path) -> None:
    iuv = np.full((4, 4, 3), 200, np.uint8)
    iuv[..., 2] = 7
    Image.fromarray(iuv).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: its first channel .* choose densepose=vui"):
        IUVDensePose().read(tmp_path / "a.png")
    iuv = iuv[..., ::-1]
    Image.fromarray(iuv).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: its third channel .* choose densepose=iuv"):
        IUVDensePose("vui").read(tmp_path / "a.png")


def test_the_demos_range_divides_part_ids_by_255() -> None:
    labels = np.array([[0, 24]], np.uint8)
    as_published = densepose_encoding("labels", 255).encode(labels)
    np.testing.assert_allclose(as_published.unpack()[0, 0], (-1, 24 / 127.5 - 1), atol=1e-6)
    iuv = np.array([[[24, 255, 0]]], np.uint8)
    by_demo = densepose_encoding("iuv", 255).encode(iuv).unpack().flatten()
    np.testing.assert_allclose(by_demo, (1, -1, 24 / 127.5 - 1), atol=1e-6)
    assert densepose_encoding("iuv").encode(iuv).unpack().flatten().tolist() == [1, -1, 1]


@pytest.mark.parametrize(("scale", "dtype"), [(1 / 255, np.float32), (1, np.uint8)])
def test_dress_codes_labels_and_uv_become_iuv(
    tmp_path: Path, scale: float, dtype: type[np.generic]
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 25, (6, 5), np.uint8)
    uv = rng.integers(0, 256, (2, 6, 5), np.uint8)
    Image.fromarray(labels).save(tmp_path / "000001_5.png")
    np.savez_compressed(tmp_path / "000001_5_uv.npz", uv=(uv * scale).astype(dtype))
    image = np.asarray(LabelUVDensePose().read(tmp_path / "000001_5.png"))
    assert (image[..., 0] == labels).all()
    assert (image[..., 1:] == np.moveaxis(uv, 0, -1)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"uv": np.zeros((2, 3, 3))}, r"uv \(2, 3, 3\) does not fit the label map of 5x6"),
        ({"other": np.zeros(1)}, "holds no array `uv`"),
        (None, "no such file"),
    ],
)
def test_a_bad_uv_file_is_named(
    tmp_path: Path, content: dict[str, np.ndarray] | None, message: str
) -> None:
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(tmp_path / "000001_5.png")
    if content is not None:
        np.savez(tmp_path / "000001_5_uv.npz", **content)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"000001_5_uv\.npz: {message}"):
        LabelUVDensePose().read(tmp_path / "000001_5.png")


@pytest.mark.parametrize(
    ("files", "encoding"),
    [(f, e) for f in ENCODINGS for e in ENCODINGS if f != "labels_uv" and can_convert(f, e)],
)
def test_converted_files_are_read_as_if_they_had_been_written_so(
    files: str, encoding: str, tmp_path: Path
) -> None:
    iuv = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    iuv[..., 0] = np.arange(30).reshape(6, 5) % 25

    def written(name: str) -> Path:
        path = tmp_path / f"{name}.png"
        if name == "labels_uv":
            uv = np.moveaxis(iuv[..., 1:], -1, 0).astype(np.float32)
            np.savez(path.with_name(f"{name}_uv.npz"), uv=uv)
        channels = (
            ["iuv".index(channel) for channel in name] if name in ("vui", "ivu") else [0, 1, 2]
        )
        stored = {"colour": PART_COLOURS.astype(np.uint8)[iuv[..., 0]]}
        stored |= dict.fromkeys(("labels", "labels_uv"), iuv[..., 0])
        Image.fromarray(stored.get(name, iuv[..., channels])).save(path)
        return path

    expected, found = densepose_encoding(encoding, 255), densepose_encoding(encoding, 255, files)
    pixels = [
        np.asarray(each.read(written(name)))
        for each, name in ((expected, encoding), (found, files))
    ]
    assert (pixels[0] == pixels[1]).all()
    assert expected.encode(pixels[0]).unpack().equal(found.encode(pixels[1]).unpack())
    assert (found.parts(pixels[1]) == iuv[..., 0]).all()


def test_what_files_do_not_hold_is_not_made_up() -> None:
    for files, encoding in (("colour", "labels"), ("colour", "iuv"), ("labels", "iuv")):
        with pytest.raises(
            ValueError, match=f"densepose={encoding}: cannot be made of {files} files"
        ):
            densepose_encoding(encoding, files=files)


def test_an_unknown_encoding_or_range_gets_the_choices() -> None:
    for name in ENCODINGS:
        densepose_encoding(name)
    with pytest.raises(ValueError, match="densepose=rgb: choose one of colour, iuv"):
        densepose_encoding("rgb")
    with pytest.raises(ValueError, match="part_range=1: choose 24, or 255"):
        densepose_encoding("iuv", 1)  # type: ignore[arg-type]


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
    share = np.bincount(ColourDensePose().parts(pixels).ravel(), minlength=25) / pixels[..., 0].size
    assert share[2] > 0.05
    assert share[[15, 16, 17, 18, 19, 20, 21, 22]].sum() > 0.02
    assert share[[5, 6]].sum() < 0.01
