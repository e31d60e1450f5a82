"""Printed garments, and persons who wear them, bent by a known map."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

SIZE = WIDTH, HEIGHT = 288, 384
GARMENT = np.s_[60:330, 50:240]


def printed(seed: int) -> Image.Image:
    """A garment with a print, on white."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    height, width = pixels[GARMENT].shape[:2]
    print_ = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 3)
    pixels[GARMENT] = (120 + 70 * np.tanh(4 * print_ / print_.std() / 2))[..., None]
    return Image.fromarray(pixels)


def bend(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where a place of the person lies on the garment, in pixels from the pictures' edges."""
    return x * 1.1 - 20 + 9 * np.sin(y / 60), y * 0.95 + 12 + 7 * np.sin(x / 50)


def worn(garment: Image.Image) -> Image.Image:
    """A person who wears it, bent."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    u, v = bend(x, y)
    channels = [
        map_coordinates(channel, [v - 0.5, u - 0.5], order=3, mode="nearest")
        for channel in np.moveaxis(np.asarray(garment, float), -1, 0)
    ]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))
