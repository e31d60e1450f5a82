"""Fits images to a canvas of another shape: stretched, padded, zoomed and shifted.

A `Placement` is the only description of that geometry. Photographs, masks, label maps, keypoints
and flow all follow it, so they stay aligned.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Fit = Literal["stretch", "pad"]
Size = tuple[int, int]  # (width, height), PIL's order

WHITE = (255, 255, 255)  # the padding of photographs: Leffa's app and others use it too
_ROUNDING = 1e-6  # of a pixel
_SQUEEZED = 0.015  # DeepFashion's 750x1101 is squeezed by 1 % to 352x512, and sizes are rounded


@dataclass(frozen=True)
class Placement:
    """The position of an image on a canvas, in pixels of the canvas; either may extend beyond the
    other."""

    picture: Size
    canvas: Size
    left: float
    top: float
    width: float
    height: float

    @property
    def fills(self) -> bool:
        """Whether the image's edges are the canvas's."""
        return (self.left, self.top, self.width, self.height) == (0, 0, *self.canvas)

    @property
    def window(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels of the canvas that lie in the image."""
        across = _whole_pixels(self.left, self.left + self.width, self.canvas[0])
        down = _whole_pixels(self.top, self.top + self.height, self.canvas[1])
        return across[0], down[0], across[1], down[1]

    def place(
        self,
        image: Image.Image,
        resampling: Image.Resampling,
        fill: int | tuple[int, int, int] = 0,
    ) -> Image.Image:
        """The canvas with the image on it, in the image's mode, and `fill` around it.

        `image` is `picture` at any resolution; where it is the canvas already, it is not copied.
        """
        if self.fills:
            return image if image.size == self.canvas else image.resize(self.canvas, resampling)
        left, top, right, bottom = self.window
        canvas = Image.new(image.mode, self.canvas, fill)
        if left < right and top < bottom:
            across, down = image.width / self.width, image.height / self.height
            box = (
                max(0.0, (left - self.left) * across),
                max(0.0, (top - self.top) * down),
                min(float(image.width), (right - self.left) * across),
                min(float(image.height), (bottom - self.top) * down),
            )
            canvas.paste(image.resize((right - left, bottom - top), resampling, box), (left, top))
        return canvas

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (N, 2 or more) whose x and y are fractions of the image, as those of the
        canvas, outside which they may lie."""
        moved = points.copy()
        moved[:, 0] = (points[:, 0] * self.width + self.left) / self.canvas[0]
        moved[:, 1] = (points[:, 1] * self.height + self.top) / self.canvas[1]
        return moved

    def covered(self) -> NDArray[np.bool_]:
        """(H, W) of the canvas, True where it shows the image."""
        left, top, right, bottom = self.window
        covered = np.zeros(self.canvas[::-1], np.bool_)
        covered[top:bottom, left:right] = True
        return covered

    def moved(self, zoom: float, shift: tuple[float, float]) -> "Placement":
        """Zoomed about the middle of the canvas, then shifted by fractions of it."""
        (width, height), (right, down) = self.canvas, shift
        return replace(
            self,
            left=(self.left - width / 2) * zoom + width / 2 + right * width,
            top=(self.top - height / 2) * zoom + height / 2 + down * height,
            width=self.width * zoom,
            height=self.height * zoom,
        )


def fit_picture(picture: Size, canvas: Size, fit: Fit) -> Placement:
    """The placement of a whole image: "stretch" brings it to the canvas's shape; "pad" keeps its
    own, as large as it goes, in the middle, on whole pixels."""
    if fit == "stretch":
        return Placement(picture, canvas, 0, 0, *canvas)
    scale = min(canvas[0] / picture[0], canvas[1] / picture[1])
    width, height = (max(1, round(length * scale)) for length in picture)
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    return Placement(picture, canvas, left, top, width, height)


def same_shape(size: Size, other: Size) -> bool:
    """Whether two sizes can be of one whole image at two resolutions."""
    across, down = size[0] * other[1], size[1] * other[0]
    return abs(across - down) <= _SQUEEZED * max(across, down)


def unpad(
    result: Image.Image, size: Size, resampling: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """A result made under `fit="pad"`, without its padding and at the size of its person's
    image."""
    window = fit_picture(size, result.size, "pad").window
    return result.resize(size, resampling, window)


def _whole_pixels(start: float, end: float, length: int) -> tuple[int, int]:
    first = max(0, math.ceil(start - _ROUNDING))
    return first, max(first, min(length, math.floor(end + _ROUNDING)))
