"""What stands behind a person: a plain wall, a gradient, or soft clouds of colour."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from leffa.synthetic.arrays import Floats


@dataclass(frozen=True)
class Backdrop:
    """A coarse grid of colours (rows, columns, 3) in [0, 1], spread smoothly over the picture."""

    grid: NDArray[np.float64]

    def paint(self, size: tuple[int, int]) -> Floats:
        """(H, W, 3) in [0, 1]."""
        channels = [
            np.asarray(
                Image.fromarray(channel.astype(np.float32)).resize(
                    size[::-1], Image.Resampling.BICUBIC
                )
            )
            for channel in np.moveaxis(self.grid, -1, 0)
        ]
        return np.stack(channels, axis=-1).clip(0, 1).astype(np.float32)


def draw_backdrop(rng: Generator) -> Backdrop:
    """A random backdrop, mostly light as in a studio."""
    light = rng.uniform(0.8, 0.97) if rng.random() < 0.7 else rng.uniform(0.35, 0.75)
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.0, 0.22), light))
    kind = rng.choice(["plain", "gradient", "soft"], p=[0.3, 0.4, 0.3])
    if kind == "plain":
        return Backdrop(np.broadcast_to(base, (2, 2, 3)))
    if kind == "gradient":
        return Backdrop(np.stack([[base, base], [base * rng.uniform(0.8, 0.93)] * 2]))
    return Backdrop(
        base * (1 + rng.normal(0, 0.05, size=(5, 4, 1)) + rng.normal(0, 0.02, size=(5, 4, 3)))
    )
