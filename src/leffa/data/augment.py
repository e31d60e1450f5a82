"""Random changes of a sample: what moves, moves in all its maps.

Colour changes are the same function of a pixel for source and reference, since a garment must keep
the colour that it has in the other image. So contrast is taken about mid grey and not, as usual,
about each image's own mean.
"""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.io.numbers import check_number

_LUMA = np.array((0.299, 0.587, 0.114))  # ITU-R 601, what PIL's mode L uses
_MID_GREY = 127.5

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """The random changes to all images and maps of one sample."""

    mirror: bool = False
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  #: right and down, fractions of the canvas
    colours: Matrix | None = None  #: (3, 4), from RGB and 1 to RGB, in bytes

    @property
    def moves(self) -> bool:
        """Whether the image is zoomed or shifted."""
        return (self.zoom, self.shift) != (1.0, (0.0, 0.0))

    def recolour(self, image: Image.Image) -> Image.Image:
        """The RGB image with the colour changes of this draw."""
        if self.colours is None:
            return image
        return image.convert("RGB", tuple(self.colours.ravel().tolist()))


@dataclass(frozen=True)
class Augmentation:
    """Strength of the augmentation, as in `PersonTransform`; all zeros for none."""

    flip: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_number(name, value)
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip={self.flip}: is a probability; give a number from 0 to 1")
        for name in ("scale", "shift", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: is the largest change as a fraction; "
                    "give a number from 0 up to, but not including, 1"
                )

    def draw(self, rng: random.Random) -> Draw:
        mirror = rng.random() < self.flip
        zoom = 1 + rng.uniform(-self.scale, self.scale) if self.scale else 1.0
        shift = (0.0, 0.0)
        if self.shift:
            shift = (rng.uniform(-self.shift, self.shift), rng.uniform(-self.shift, self.shift))
        colours = None
        if self.colour:
            factors = [1 + rng.uniform(-self.colour, self.colour) for _ in range(3)]
            colours = colour_matrix(*factors)
        return Draw(mirror, zoom, shift, colours)


def colour_matrix(brightness: float, contrast: float, saturation: float) -> Matrix:
    """One linear map (3, 4) of RGB bytes; the factors act on saturation first, brightness last."""
    grey = np.broadcast_to(_LUMA, (3, 3))
    mixed = saturation * np.eye(3) + (1 - saturation) * grey
    offset = np.full((3, 1), _MID_GREY * (1 - contrast))
    return brightness * np.concatenate([contrast * mixed, offset], axis=1)
