"""What a stranger's file must be: judged by its content, before it is decoded."""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.app.limits import Limits, as_photograph, open_upload

SMALL = Limits(megabytes=0.1, megapixels=0.01)


def save(path: Path, size: tuple[int, int] = (40, 60), kind: str = "PNG") -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, kind)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def bomb(path: Path, side: int) -> Path:
    """A PNG of some kilobytes that says it has side x side pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_takes_a_picture_whatever_its_name_says(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "picture.exe", kind=kind)
    assert open_upload(path, Limits(), "It").size == (40, 60)


@pytest.mark.parametrize(
    "content",
    [
        b"MZ\x90\x00 a program",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a\x01\x00\x01\x00",
        b"",
        b"\x89PNG\r\n\x1a\n and no more",
    ],
    ids=["program", "svg", "postscript", "gif", "empty", "cut off"],
)
def test_refuses_by_content_what_is_called_a_png(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "harmless.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^The garment is not a readable PNG, JPEG"):
        open_upload(path, Limits(), "The garment")


def test_a_truncated_picture_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", kind="JPEG")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="not a readable"):
        open_upload(path, Limits(), "It")


def test_too_many_bytes_are_refused_before_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(200_000))  # no picture at all, which is not looked at
    with pytest.raises(ValueError, match=r"at most 0\.1 MB are taken"):
        open_upload(path, SMALL, "It")


@pytest.mark.parametrize("side", [2_000, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    # The larger ones are beyond the warning and the error of PIL itself.
    path = bomb(tmp_path / "bomb.png", side)
    assert path.stat().st_size < 1000
    with pytest.raises(ValueError, match=r"^The mask has .*at most 2 megapixels are taken"):
        open_upload(path, Limits(megapixels=2), "The mask")


def test_a_picture_just_within_the_limit_is_taken(tmp_path: Path) -> None:
    assert open_upload(save(tmp_path / "a.png", (100, 100)), SMALL, "It").size == (100, 100)
    with pytest.raises(ValueError, match="101x100 pixels"):
        open_upload(save(tmp_path / "b.png", (101, 100)), SMALL, "It")


def test_a_picture_of_a_few_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="15x60 pixels; give a larger"):
        open_upload(save(tmp_path / "a.png", (15, 60)), Limits(), "It")


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="upload it again"):
        open_upload(tmp_path / "none.png", Limits(), "It")


def test_a_photograph_is_turned_upright_and_its_metadata_left_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 40))
    image.paste((255, 0, 0), (0, 0, 30, 40))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: its left is up
    exif[0x010F] = "a camera"
    image.save(tmp_path / "a.png", exif=exif)
    photograph = as_photograph(open_upload(tmp_path / "a.png", Limits(), "It"))
    assert photograph.size == (40, 60)
    assert photograph.getpixel((20, 5)) == (255, 0, 0)
    assert photograph.getpixel((20, 55)) == (0, 0, 0)
    photograph.save(tmp_path / "b.png")
    assert b"a camera" in (tmp_path / "a.png").read_bytes()
    assert b"a camera" not in (tmp_path / "b.png").read_bytes()


def test_a_mask_is_turned_upright_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    mask = Image.new("L", (40, 40))
    mask.paste(255, (0, 0, 40, 10))
    mask.save(tmp_path / "a.png", exif=exif)
    upload = open_upload(tmp_path / "a.png", Limits(), "The mask")
    assert [upload.getpixel((20, y)) for y in (5, 35)] == [0, 255]


def test_a_photograph_is_converted_to_srgb(tmp_path: Path, display_p3: bytes) -> None:
    for mode in ("RGB", "RGBA"):
        image = Image.new("RGB", (40, 40), (180, 90, 60)).convert(mode)
        if mode == "RGBA":
            image.putpixel((0, 0), (0, 0, 0, 0))
        image.save(tmp_path / "a.png", icc_profile=display_p3)
        photograph = as_photograph(open_upload(tmp_path / "a.png", Limits(), "It"))
        assert np.allclose(photograph.getpixel((20, 20)), (193, 83, 51), atol=1)
        assert photograph.info == {}


def test_sixteen_bits_are_refused_since_only_white_would_be_left(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 40), 9999, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"^The garment: has more than 8 bits per channel"):
        open_upload(tmp_path / "a.png", Limits(), "The garment")


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_limits_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="megapixels"):
        Limits(megapixels=value).check()


def test_a_cpu_has_no_time_limit_unless_one_is_given() -> None:
    assert Limits().seconds_on("cpu") == math.inf
    assert Limits().seconds_on("cuda") == 600
    assert Limits(seconds=5).seconds_on("cpu") == Limits(seconds=5).seconds_on("cuda") == 5
