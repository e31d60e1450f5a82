"""Reading pictures and masks: what is refused by name, and what a file shows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from leffa.io.colour import as_srgb
from leffa.io.pictures import (
    marked_region,
    open_labels,
    open_mask,
    open_photograph,
    open_picture,
    read_header,
)


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
    with pytest.raises(ValueError, match=r"parse\.png: is a RGB image, not a label map"):
        open_labels(path)


def test_a_grey_picture_in_the_masks_place_is_refused(tmp_path: Path) -> None:
    agnostic = np.full((32, 24, 3), 250, np.uint8)
    agnostic[8:24, 6:18] = 128
    path = _save(tmp_path / "m.png", agnostic)
    with pytest.raises(
        ValueError, match=r"m\.png: 25% of its pixels are grey, so it is not a mask"
    ):
        open_mask(path)


@pytest.mark.parametrize("size", [(768, 1024), (2000, 3000)])
def test_of_a_large_mask_every_part_counts(tmp_path: Path, size: tuple[int, int]) -> None:
    """Its check looks at some of its pixels alone."""
    mask, path = Image.new("L", size, 255), tmp_path / "m.png"
    for share, refused in ((0.08, False), (0.12, True)):
        for corner in ((0, 0), (0, size[1] - round(share * size[1]))):
            grey = mask.copy()
            grey.paste(128, (*corner, size[0], corner[1] + round(share * size[1])))
            grey.save(path)
            if refused:
                with pytest.raises(ValueError, match="12% of its pixels are grey"):
                    open_mask(path)
            else:
                assert open_mask(path).size == size


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


@pytest.mark.parametrize("read", [open_picture, open_mask, marked_region])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("turned", r"is stored rotated \(EXIF orientation 6\).*save it upright"),
        ("cut out", r"has transparent areas.*white background"),
        ("cut out palette", r"has transparent areas.*white background"),
        ("16 bits", r"more than 8 bits per channel \(I;16\).*save it with 8 bits"),
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


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_users_photograph_stands_on_white_where_it_is_transparent(
    tmp_path: Path, mode: str
) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((9, 9, 9, 255), (0, 0, 20, 40))
    image.convert(mode).save(tmp_path / "a.png")
    photograph = open_photograph(tmp_path / "a.png")
    assert photograph.mode == "RGB"
    assert photograph.getpixel((30, 20)) == (255, 255, 255)
    assert max(photograph.getpixel((10, 20))) < 20


CORNER = np.array([[255, 0, 0], [0, 255, 0]], np.uint8)  # white top left, white in the middle below


@pytest.mark.parametrize("turned", range(2, 9))
def test_a_users_photograph_is_turned_as_a_viewer_turns_it(tmp_path: Path, turned: int) -> None:
    image = Image.fromarray(CORNER).resize((96, 64), Image.Resampling.NEAREST).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = turned
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        expected = ImageOps.exif_transpose(opened)
    assert read_header(tmp_path / "a.png").turned == turned
    found = open_photograph(tmp_path / "a.png")
    assert found.size == expected.size
    assert found.tobytes() == expected.tobytes()
    assert found.info == {}


def test_a_header_tells_of_a_turn_that_only_the_metadata_of_a_program_names(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    Image.new("RGB", (4, 6)).save(tmp_path / "a.png", pnginfo=text)
    assert read_header(tmp_path / "a.png").turned == 6
    assert open_photograph(tmp_path / "a.png").size == (6, 4)
    with pytest.raises(ValueError, match="is stored rotated"):
        open_picture(tmp_path / "a.png")


def test_a_users_photograph_is_converted_to_srgb(tmp_path: Path, display_p3: bytes) -> None:
    Image.new("RGB", (4, 4), (180, 90, 60)).save(tmp_path / "a.png", icc_profile=display_p3)
    assert read_header(tmp_path / "a.png").profile == "Display P3"
    photograph = open_photograph(tmp_path / "a.png")
    # By the matrices of the two spaces: 193.45, 83.40, 50.57.
    assert np.allclose(photograph.getpixel((0, 0)), (193, 83, 51), atol=1)
    assert "icc_profile" not in photograph.info
    assert open_picture(tmp_path / "a.png").getpixel((0, 0)) == (180, 90, 60)


def test_profiles_that_change_nothing_are_left_out_of_account(display_p3: bytes) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, profile in (("RGB", srgb), ("RGB", b"damaged"), ("L", display_p3), ("CMYK", srgb)):
        image = Image.effect_noise((16, 16), 90).convert(mode)
        image.info["icc_profile"] = profile
        assert as_srgb(image).tobytes() == image.convert("RGB").tobytes()
        assert as_srgb(image).info == {}


PERSON = np.zeros((48, 64), np.bool_)
PERSON[9:35, 13:50] = True


def save_region(path: Path, how: str) -> Path:
    """`PERSON` as a file in one of the ways in which people keep masks."""
    white = Image.fromarray(PERSON.astype(np.uint8) * 255)
    labels = Image.fromarray(np.where(PERSON, np.arange(64, dtype=np.uint8) % 19 + 1, np.uint8(0)))
    match how:
        case "png":
            white.save(path)
        case "one bit":
            white.convert("1").save(path)
        case "colour channels":
            white.convert("RGB").save(path)
        case "jpeg" | "colour jpeg":
            path = path.with_suffix(".jpg")
            white.convert("RGB" if "colour" in how else "L").save(path, quality=30)
        case "palette, 0 is white":
            image = Image.fromarray((~PERSON).astype(np.uint8), "P")
            image.putpalette([255, 255, 255, 0, 0, 0])
            image.save(path)
        case "labels":
            labels.save(path)
        case "labels with colours":
            labels.putpalette([0, 0, 0, 0, 0, 85, 128, 0, 0] + [51, 170, 221] * 253)
            labels.save(path)
        case "soft edges":
            white.resize((32, 24), Image.Resampling.BOX).resize((64, 48)).save(path)
    return path


WAYS = [
    *("png", "one bit", "colour channels", "jpeg", "colour jpeg", "palette, 0 is white"),
    *("labels", "labels with colours"),
]


@pytest.mark.parametrize("how", WAYS)
def test_a_mask_marks_what_it_shows(tmp_path: Path, how: str) -> None:
    assert np.array_equal(marked_region(save_region(tmp_path / "m.png", how)), PERSON)


def test_soft_edges_are_cut_in_the_middle(tmp_path: Path) -> None:
    region = marked_region(save_region(tmp_path / "m.png", "soft edges"))
    assert abs(int(region.sum()) - int(PERSON.sum())) < 0.03 * PERSON.sum()


@pytest.mark.parametrize("read", [open_labels, marked_region])
def test_labels_that_were_stored_with_loss_are_refused(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    labels = Image.open(save_region(tmp_path / "m.png", "labels"))
    labels.save(tmp_path / "m.jpg")
    with pytest.raises(ValueError, match=r"m\.jpg: is a label map stored as JPEG, .*use the PNG"):
        read(tmp_path / "m.jpg")


def test_a_black_mask_marks_nothing(tmp_path: Path) -> None:
    """What scores with it leaves the picture out by name."""
    assert not marked_region(_save(tmp_path / "m.png", np.zeros((4, 4), np.uint8))).any()
