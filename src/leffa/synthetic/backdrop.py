"""What stands behind a person: a plain wall, a gradient, or soft clouds of colour."""

import colorsys

import numpy as np
from numpy.random import Generator
from PIL import Image

from leffa.synthetic.raster import Floats


def draw_backdrop(rng: Generator, size: tuple[int, int]) -> Floats:
    """A random backdrop, (H, W, 3) in [0, 1], mostly light as in a studio."""
    light = rng.uniform(0.8, 0.97) if rng.random() < 0.7 else rng.uniform(0.35, 0.75)
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.22), light))
    match rng.choice(["plain", "gradient", "soft"], p=[0.3, 0.4, 0.3]):
        case "plain":
            grid = np.broadcast_to(base, (2, 2, 3))
        case "gradient":
            grid = np.stack([[base, base], [base * rng.uniform(0.8, 0.93)] * 2])
        case _:
            clouds = rng.normal(0, 0.05, size=(5, 4, 1)) + rng.normal(0, 0.02, size=(5, 4, 3))
            grid = base * (1 + clouds)
    coarse = [Image.fromarray(channel) for channel in np.moveaxis(grid, -1, 0).astype(np.float32)]
    fine = [each.resize(size[::-1], Image.Resampling.BICUBIC) for each in coarse]
    return np.stack([np.asarray(each) for each in fine], axis=-1).clip(0, 1).astype(np.float32)
