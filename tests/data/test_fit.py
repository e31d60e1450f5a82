import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from leffa.data.fit import Placement, fit_picture, same_shape, unpad

NEAREST = Image.Resampling.NEAREST
sizes = st.tuples(st.integers(2, 60), st.integers(2, 60))


def numbered(width: int, height: int) -> Image.Image:
    """Every pixel another grey."""
    return Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width))


def test_stretching_fills_the_canvas_as_a_plain_resize() -> None:
    placement = fit_picture((48, 64), (20, 20), "stretch")
    picture = Image.effect_noise((48, 64), 80)
    placed = placement.place(picture, Image.Resampling.LANCZOS)
    assert placement.fills
    assert placed.tobytes() == picture.resize((20, 20), Image.Resampling.LANCZOS).tobytes()


@given(sizes, sizes)
def test_padding_keeps_the_aspect_and_the_whole_picture(
    picture: tuple[int, int], canvas: tuple[int, int]
) -> None:
    placement = fit_picture(picture, canvas, "pad")
    left, top, right, bottom = placement.window
    assert (left, top) == (placement.left, placement.top)
    assert (right - left, bottom - top) == (placement.width, placement.height)
    assert right - left == canvas[0] or bottom - top == canvas[1]
    scale = min(canvas[0] / picture[0], canvas[1] / picture[1])
    assert abs(placement.width - picture[0] * scale) <= max(0.5, 1 - picture[0] * scale)
    assert abs(placement.height - picture[1] * scale) <= max(0.5, 1 - picture[1] * scale)
    # In the middle, to a pixel.
    assert abs(left - (canvas[0] - right)) <= 1
    assert abs(top - (canvas[1] - bottom)) <= 1


def test_what_lies_around_a_padded_picture_is_fill() -> None:
    placement = fit_picture((10, 20), (20, 20), "pad")
    placed = np.asarray(placement.place(Image.new("RGB", (10, 20)), NEAREST, (255, 255, 255)))
    assert (placed[:, 5:15] == 0).all()
    assert (placed[:, :5] == 255).all()
    assert (placed[:, 15:] == 255).all()
    assert placement.covered().sum() == 10 * 20
    assert placement.covered()[:, 5:15].all()


@pytest.mark.parametrize("size", [(750, 1101), (768, 1024), (1101, 750), (33, 47)])
def test_unpadding_gives_the_picture_back(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[1], : size[0]] / 40
    picture = Image.fromarray((127 + 60 * np.sin(x) + 60 * np.cos(y)).astype(np.uint8))
    canvas = (size[0] + 200, size[1] + 30)
    padded = fit_picture(size, canvas, "pad").place(picture, Image.Resampling.LANCZOS, 255)
    back = unpad(padded, size)
    assert back.size == size
    difference = np.abs(np.asarray(back, int) - np.asarray(picture, int))
    assert difference.mean() < 1
    assert difference.max() < 25  # the border has nothing beyond it to filter with


@given(
    st.integers(-6, 6), st.integers(-9, 9), st.sampled_from([(12, 16), (12, 9), (16, 16), (5, 30)])
)
def test_a_shift_by_whole_pixels_moves_every_pixel(
    right: int, down: int, canvas: tuple[int, int]
) -> None:
    width, height = canvas
    picture = numbered(width, height)
    placement = fit_picture(canvas, canvas, "stretch").moved(1, (right / width, down / height))
    moved = np.asarray(placement.place(picture, NEAREST, 77))
    expected = np.full((height, width), 77, np.uint8)
    pixels = np.asarray(picture)
    for y in range(max(0, down), min(height, height + down)):
        for x in range(max(0, right), min(width, width + right)):
            expected[y, x] = pixels[y - down, x - right]
    assert (moved == expected).all()


def test_a_zoom_shows_the_middle() -> None:
    picture = numbered(12, 16)
    placement = fit_picture((12, 16), (12, 16), "stretch").moved(2, (0, 0))
    zoomed = np.asarray(placement.place(picture, NEAREST))
    middle = np.asarray(picture)[4:12, 3:9]
    assert (zoomed == middle.repeat(2, axis=0).repeat(2, axis=1)).all()


def test_a_picture_that_has_left_the_canvas_leaves_only_fill() -> None:
    placement = fit_picture((8, 8), (8, 8), "stretch").moved(0.5, (0.9, 0))
    assert not placement.covered().any()
    assert (np.asarray(placement.place(numbered(8, 8), NEAREST, 9)) == 9).all()


@given(
    st.floats(0.7, 1.4),
    st.floats(-0.3, 0.3),
    st.floats(-0.3, 0.3),
    st.sampled_from([(40, 56), (56, 40), (64, 64)]),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.8),
)
def test_points_go_where_their_pixels_go(
    zoom: float, right: float, down: float, canvas: tuple[int, int], x: float, y: float
) -> None:
    """A bright disc and the point in its middle, moved alike."""
    picture = np.zeros((80, 60), np.uint8)
    rows, columns = np.mgrid[:80, :60] + 0.5
    picture[np.hypot(columns - 60 * x, rows - 80 * y) < 5] = 255
    placement = fit_picture((60, 80), canvas, "pad").moved(zoom, (right, down))
    ((at_x, at_y),) = placement.points(np.array([[x, y]], np.float32)) * canvas
    if not (6 < at_x < canvas[0] - 6 and 6 < at_y < canvas[1] - 6):
        return
    placed = np.asarray(
        placement.place(Image.fromarray(picture), Image.Resampling.BILINEAR), np.float64
    )
    weight = placed / placed.sum()
    rows, columns = np.mgrid[: canvas[1], : canvas[0]] + 0.5
    assert abs((weight * columns).sum() - at_x) < 0.5
    assert abs((weight * rows).sum() - at_y) < 0.5


def test_label_maps_keep_their_ids_and_their_palette_mode() -> None:
    labels = Image.fromarray(np.full((8, 6), 14, np.uint8))
    labels.putpalette(bytes(range(256)) * 3)
    placement = Placement((6, 8), (8, 8), 1, 0, 6, 8)
    placed = placement.place(labels, NEAREST)
    assert placed.mode == "P"
    assert set(np.asarray(placed).ravel().tolist()) == {0, 14}


@pytest.mark.parametrize(
    ("size", "same"),
    [
        ((750, 1101), True),
        ((352, 512), True),  # squeezed by 1 %
        ((176, 256), True),
        ((341, 500), True),  # rounded
        ((256, 256), False),  # the low-resolution release
        ((768, 1024), False),
        ((1101, 750), False),
    ],
)
def test_one_picture_at_two_resolutions_has_one_shape(size: tuple[int, int], same: bool) -> None:
    assert same_shape(size, (750, 1101)) is same
    assert same_shape((750, 1101), size) is same
