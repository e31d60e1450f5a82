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


def test_two_sizes_of_one_person_name_both_files() -> None:
    small, large = Image.new("L", (12, 16)), Image.new("L", (24, 32))
    with pytest.raises(ValueError, match=r"mask\.png is 12x16 but person\.jpg is 24x32"):
        check_same_size(small, Path("mask.png"), large, Path("person.jpg"))
