"""From a flow between two canvases to places in the pictures that the page shows."""

import base64

import numpy as np
from PIL import Image

from leffa.app.flow_grid import MOST_CELLS, FlowGrid, to_pictures
from leffa.data.fit import fit_picture

CANVAS = (16, 8)  # width, height of the model's pictures
ALL = np.ones((8, 16), bool)


def identity() -> np.ndarray:
    """(8, 16, 2): each pixel of the canvas looks at itself."""
    y, x = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 16), indexing="ij")
    return np.stack([x, y], -1).astype(np.float32)


def test_where_nothing_is_padded_a_cell_that_looks_at_itself_gets_its_own_middle() -> None:
    whole = fit_picture((16, 8), CANVAS, "pad")
    grid = to_pictures(identity(), ALL, whole, whole)
    assert grid.places.shape == (8, 16, 2)
    np.testing.assert_allclose(grid.places[0, :, 0], (np.arange(16) + 0.5) / 16, atol=1e-6)
    np.testing.assert_allclose(grid.places[:, 0, 1], (np.arange(8) + 0.5) / 8, atol=1e-6)


def test_padding_of_either_picture_is_taken_off() -> None:
    here = fit_picture((8, 8), CANVAS, "pad")  # columns 4 to 11 of the canvas
    there = fit_picture((32, 8), CANVAS, "pad")  # rows 2 to 5
    grid = to_pictures(identity(), ALL, here, there)
    assert grid.places.shape == (8, 8, 2)
    np.testing.assert_allclose(grid.places[0, :, 0], (np.arange(4, 12) + 0.5) / 16, atol=1e-6)
    # Rows above and below the reference look at its edge.
    rows = [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]
    np.testing.assert_allclose(grid.places[:, 0, 1], rows, atol=1e-6)


def test_the_mask_comes_along_and_large_pictures_get_fewer_cells() -> None:
    mask = np.zeros((600, 400), bool)
    mask[300:] = True
    whole = fit_picture((400, 600), (400, 600), "pad")
    grid = to_pictures(np.zeros((600, 400, 2), np.float32), mask, whole, whole)
    assert grid.made.shape == (MOST_CELLS, round(400 * MOST_CELLS / 600))
    half = MOST_CELLS // 2
    assert not grid.made[:half].any()
    assert grid.made[half:].all()
    np.testing.assert_allclose(grid.places, 0.5, atol=1e-6)


def test_gathering_takes_the_pixels_that_are_looked_at() -> None:
    reference = Image.fromarray(np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3))
    places = np.zeros((2, 2, 2), np.float32)
    places[0, 0] = 0.99, 0.01  # x, y: the last column of the first row
    places[0, 1] = 0.0, 1.0  # the very edge is the last row
    places[1, 0] = 0.5, 0.5
    grid = FlowGrid(places, np.array([[True, True], [True, False]]))
    found = np.asarray(grid.gather(reference))
    assert found[0, 0].tolist() == [6, 7, 8]
    assert found[0, 1].tolist() == [27, 28, 29]
    assert found[1, 0].tolist() == [21, 22, 23]
    assert found[1, 1].tolist() == [255, 255, 255]


def test_the_page_reads_places_as_little_endian_sixteen_bits() -> None:
    grid = FlowGrid(np.array([[[0.25, 1.0]]], np.float32), np.array([[True]]))
    packed = grid.packed()
    assert (packed["width"], packed["height"]) == (1, 1)
    assert base64.b64decode(str(packed["places"])) == bytes([0x00, 0x40, 0xFF, 0xFF])
    assert base64.b64decode(str(packed["made"])) == b"\x01"
