from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.data.images import check_same_size, open_labels, open_mask, open_picture


def _save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "broken_png"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, damage: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    path = _save(tmp_path / ("a.png" if damage == "broken_png" else "a.jpg"), noise)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not a picture",
            "truncated": content[: len(content) // 2],
            "broken_png": content[:40] + b"xx" + content[42:],
        }[damage]
    )
    with pytest.raises(ValueError, match=r"a\.(jpg|png): is not a readable image .*good copy") as e:
        open_picture(path)
    assert "\n" not in str(e.value)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "bomb.png", np.zeros((64, 64), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"bomb\.png: is not a readable image"):
        open_picture(path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg: no such file"):
        open_picture(tmp_path / "gone.jpg")


def test_labels_are_the_indices_not_the_palette(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 5], [13, 19]], np.uint8))
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(tmp_path / "parse.png")
    assert np.asarray(open_labels(tmp_path / "parse.png")).tolist() == [[0, 5], [13, 19]]


def test_a_colour_picture_is_no_label_map(tmp_path: Path) -> None:
    path = _save(tmp_path / "parse.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"parse\.png: is a RGB picture, not a label map"):
        open_labels(path)


def test_a_grey_picture_in_the_masks_place_is_refused(tmp_path: Path) -> None:
    agnostic = np.full((32, 24, 3), 250, np.uint8)
    agnostic[8:24, 6:18] = 128
    path = _save(tmp_path / "m.png", agnostic)
    with pytest.raises(ValueError, match=r"m\.png: 25% of it is grey, so it is no mask"):
        open_mask(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_in_one_and_three_channels_are_read(tmp_path: Path, channels: int) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5] = 255
    path = _save(tmp_path / "m.png", mask if channels == 1 else np.stack([mask] * 3, -1))
    assert (np.asarray(open_mask(path)) == mask).all()


def _changed_by_convert(path: Path, how: str) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    match how:
        case "turned" | "upright" | "unknown turn":
            exif[0x0112] = {"turned": 6, "upright": 1, "unknown turn": 0}[how]
            image.save(path.with_suffix(".jpg"), exif=exif)
            return path.with_suffix(".jpg")
        case "broken EXIF":
            image.save(path.with_suffix(".jpg"), exif=b"Exif\0\0nothing")
            return path.with_suffix(".jpg")
        case "cut out" | "opaque":
            image.putalpha(255)
            if how == "cut out":
                image.putpixel((3, 3), (0, 0, 0, 0))
        case "cut out palette" | "palette":
            image = image.quantize(16)
            if how == "cut out palette":
                image.info["transparency"] = image.getpixel((3, 3))
        case "16 bits":
            image = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    image.save(path)
    return path


@pytest.mark.parametrize("read", [open_picture, open_mask])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("turned", r"is stored turned \(EXIF orientation 6\).*save it upright"),
        ("cut out", r"is transparent in places.*white background"),
        ("cut out palette", r"is transparent in places.*white background"),
        ("16 bits", r"more than 8 bits a pixel \(I;16\).*save it with 8 bits"),
    ],
)
def test_a_picture_that_would_change_without_a_word_is_refused(
    tmp_path: Path, read: Callable[[Path], Image.Image], how: str, message: str
) -> None:
    path = _changed_by_convert(tmp_path / "a.png", how)
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["upright", "unknown turn", "broken EXIF", "opaque", "palette"])
def test_harmless_headers_are_welcome(tmp_path: Path, how: str) -> None:
    path = _changed_by_convert(tmp_path / "a.png", how)
    with Image.open(path) as image:
        assert open_picture(path).tobytes() == image.convert("RGB").tobytes()


def test_two_sizes_of_one_person_name_both_files() -> None:
    small, large = Image.new("L", (12, 16)), Image.new("L", (24, 32))
    with pytest.raises(ValueError, match=r"mask\.png is 12x16 but person\.jpg is 24x32"):
        check_same_size(small, Path("mask.png"), large, Path("person.jpg"))
