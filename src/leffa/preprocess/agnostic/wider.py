"""Against shape leak: recipes that hide the outline of another recipe's mask.

A mask that follows the worn garment tells a model how long the sleeves are, and it paints the new
garment to that shape. Both classes wrap a recipe and are recipes themselves.
"""

from dataclasses import dataclass

import numpy as np

from leffa.data.recipe import AgnosticRecipe, Mask, PersonMaps
from leffa.preprocess.agnostic.shapes import dilate

_HEAD = ("hat", "sunglasses", "face")  # what FitDiT leaves out of its rectangle


@dataclass(frozen=True)
class Dilated:
    """A recipe's mask, grown to all sides, but not over the head.

    Args:
        recipe: makes the mask.
        reach: how far it grows, as a fraction of the height.
    """

    recipe: AgnosticRecipe
    reach: float

    def __post_init__(self) -> None:
        _check_fraction("reach", self.reach)

    def __call__(self, person: PersonMaps) -> Mask:
        mask = self.recipe(person)
        return mask | (dilate(mask, self.reach * person.height) & ~person.shows(*_HEAD))


@dataclass(frozen=True)
class Boxed:
    """The bounding box of a recipe's mask, without the head (as FitDiT, Jiang et al., 2024).

    Args:
        recipe: makes the mask; where it is empty, so is this one.
        margin: added on all sides, as a fraction of the height.
    """

    recipe: AgnosticRecipe
    margin: float = 0.0

    def __post_init__(self) -> None:
        _check_fraction("margin", self.margin)

    def __call__(self, person: PersonMaps) -> Mask:
        mask = self.recipe(person)
        box = np.zeros_like(mask)
        if mask.any():
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            more = round(self.margin * person.height)
            box[
                max(0, rows[0] - more) : rows[-1] + more + 1,
                max(0, columns[0] - more) : columns[-1] + more + 1,
            ] = True
        return mask | (box & ~person.shows(*_HEAD))


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name}={value}: is a fraction of the height; give a number below 1")
