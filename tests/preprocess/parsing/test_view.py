"""SCHP's view of a picture: into a square of blue, green, red, and back."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from leffa.data.fit import Placement, fit_picture
from leffa.preprocess.canvas import CANVAS, to_canvas
from leffa.preprocess.parsing.schp import (
    MEAN,
    STD,
    SCHPParser,
    from_square,
    labels_from_square,
    to_square,
)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def unnormalised(square: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (square[0] * std + mean) * 255


def test_a_square_picture_of_the_networks_size_is_only_normalised_as_bgr() -> None:
    image = Image.new("RGB", (5, 5), (255, 0, 51))
    square = to_square(image, 5)
    expected = [(0.2 - 0.406) / 0.225, (0 - 0.456) / 0.224, (1 - 0.485) / 0.229]
    assert square.shape == (1, 3, 5, 5)
    torch.testing.assert_close(square[0, :, 2, 2], torch.tensor(expected))


def test_the_longer_side_fills_the_square_and_the_rest_is_black() -> None:
    square = unnormalised(to_square(Image.new("RGB", (3, 5), (200, 200, 200)), 9))
    assert square[0, :, 4].round().tolist() == [200] * 9  # first row to last
    # Two source pixels are four cells, so the outer columns lie at cells 2 and 6; at 1 and 7 the
    # picture fades into the black beside it.
    assert square[0, 4].round().tolist() == [0, 100, 200, 200, 200, 200, 200, 100, 0]


@pytest.mark.parametrize("size", [(37, 61), (61, 37), (96, 96)])
def test_agrees_with_opencvs_affine_warp(size: tuple[int, int]) -> None:
    """The authors warp with OpenCV, whose coordinates are rounded to a 32nd of a pixel."""
    cv2 = pytest.importorskip("cv2", reason="compares with opencv-python, which is not installed")
    image, side = noise(*size), 48
    scale = (side - 1) / (max(size) - 1)
    matrix = np.array([[scale, 0, 0], [0, scale, 0]])
    matrix[:, 2] = (side - 1) / 2 - scale * (np.array(size) - 1) / 2
    warped = cv2.warpAffine(np.asarray(image)[..., ::-1], matrix, (side, side))
    square = unnormalised(to_square(image, side)).permute(1, 2, 0).numpy()
    assert np.abs(square - warped).max() < 10
    assert np.abs(square - warped).mean() < 1.5


def whole(size: tuple[int, int]) -> Placement:
    """The picture is the photo."""
    return fit_picture(size, size, "stretch")


@pytest.mark.parametrize("size", [(30, 41), (41, 30), (33, 33)])
def test_scores_come_back_where_the_picture_was(size: tuple[int, int]) -> None:
    """Scores that are the square's coordinates come back as a ramp over the picture."""
    side, (width, height) = 65, size
    ramp = torch.linspace(-1, 1, side)
    logits = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None]
    x, y = from_square(logits, side, whole(size))
    assert x.shape == (height, width)
    longer = max(size) - 1
    torch.testing.assert_close(x[0], torch.linspace(-1, 1, width) * (width - 1) / longer)
    torch.testing.assert_close(y[:, 0], torch.linspace(-1, 1, height) * (height - 1) / longer)


def test_a_photo_is_padded_to_three_by_four_and_its_scores_come_back_from_there() -> None:
    """A photo of 200x100 fills 384x192 of the canvas, between two white bars of 160."""
    canvas, placement = to_canvas(Image.new("RGB", (200, 100), (10, 20, 30)))
    pixels = np.asarray(canvas)
    assert canvas.size == CANVAS
    assert (pixels[:155] == 255).all()
    assert (pixels[165:347] == (10, 20, 30)).all()
    assert (pixels[357:] == 255).all()
    assert (placement.left, placement.top, placement.width, placement.height) == (0, 160, 384, 192)
    ramp = torch.arange(512.0)[:, None].expand(512, 512)
    (rows,) = from_square(ramp[None, None], 512, placement)
    expected = 160 + (torch.arange(100) + 0.5) * 1.92 - 0.5
    torch.testing.assert_close(rows, expected[:, None].expand(100, 200))


@pytest.mark.parametrize("side", [473, 512])
def test_fine_patterns_are_averaged_before_the_network_sees_them(side: int) -> None:
    """Taken at single pixels they would become coarse ones that are not there."""
    rows, columns = np.indices((2048, 1536))
    checked = np.where((rows + columns) % 2, 255, 0).astype(np.uint8)
    canvas, _ = to_canvas(Image.fromarray(checked).convert("RGB"))
    square = unnormalised(to_square(canvas, side))[:, 8:-8, side // 2 - 150 : side // 2 + 150]
    assert (square - 127.5).abs().max() < 2


@pytest.mark.parametrize(
    ("size", "most"), [((768, 1024), 0.01), ((600, 400), 0.2), ((1500, 1800), 0.2)]
)
def test_sees_a_photo_as_the_demo_does(size: tuple[int, int], most: float) -> None:
    """OpenCV to 768x1024, where ours is antialiased, Pillow to 384x512, OpenCV's affine warp."""
    cv2 = pytest.importorskip("cv2", reason="compares with opencv-python, which is not installed")
    photo = noise(60, 50).resize(size, Image.Resampling.BICUBIC)
    scale = min(768 / size[0], 1024 / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    left, top = (768 - width) // 2, (1024 - height) // 2
    large = np.full((1024, 768, 3), 255, np.uint8)
    fitted = cv2.resize(np.asarray(photo), (width, height), interpolation=cv2.INTER_CUBIC)
    large[top : top + height, left : left + width] = fitted
    small = np.asarray(Image.fromarray(large).resize((384, 512)))[..., ::-1]
    scale = 472 / 511
    matrix = np.array([[scale, 0, 236 - scale * 191.5], [0, scale, 236 - scale * 255.5]])
    warped = cv2.warpAffine(small, matrix, (473, 473))
    square = unnormalised(to_square(to_canvas(photo)[0], 473)).permute(1, 2, 0).numpy()
    assert np.abs(square - warped).mean() < most


def test_labels_of_a_tall_picture_are_made_in_bands_without_a_seam() -> None:
    logits = torch.randn(1, 5, 9, 9, generator=torch.Generator().manual_seed(0))
    placement = whole((20, 700))
    labels = labels_from_square(logits, 17, placement)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, from_square(logits, 17, placement).argmax(dim=0))


def test_a_network_that_tells_bright_from_dark_labels_every_pixel_rightly() -> None:
    labels = np.zeros((64, 48), np.uint8)
    labels[20:40, 10:30] = 13
    image = Image.fromarray(np.where(labels > 0, 255, 40).astype(np.uint8)).convert("RGB")

    def bright(square: Tensor) -> Tensor:
        scores = torch.zeros(1, 20, *square.shape[2:])
        scores[:, 13] = square.mean(dim=1)
        return scores

    found = SCHPParser(bright, "lip", side=127).parse(image)
    assert (found == labels).mean() > 0.98
