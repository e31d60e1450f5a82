"""Inputs and interface of mask recipes; the recipes are in `preprocess.agnostic`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leffa.data.keypoints import LEAST_ON_BODY, Joints, near_body, share_on
from leffa.data.labels import LABELS, LabelSet

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PersonMaps:
    """The maps of one person, all of one size."""

    parse: NDArray[np.uint8]  #: (H, W) label ids of `label_set`
    keypoints: Joints | None = None  #: (25, 3) BODY_25, x and y in pixels
    category: str = "upper_body"  #: the garment to replace, a key of `GARMENT_LABELS`
    label_set: LabelSet = "cihp"
    densepose: NDArray[np.uint8] | None = None  #: (H, W) part ids

    @property
    def height(self) -> int:
        """In pixels."""
        return self.parse.shape[0]

    def shows(self, *names: str) -> Mask:
        """(H, W), True where the parse has one of these `LABELS`; one that the set lacks is
        nowhere."""
        table = np.zeros(256, np.bool_)
        labels = LABELS[self.label_set]
        table[[labels[name] for name in names if name in labels]] = True
        return table[self.parse]

    def body(self, *parts: int) -> Mask:
        """(H, W), True where the DensePose has one of these parts; ValueError without DensePose."""
        if self.densepose is None:
            raise ValueError(
                "this mask recipe needs DensePose; give one, or choose a recipe that does without"
            )
        return np.isin(self.densepose, parts)


AgnosticRecipe = Callable[[PersonMaps], Mask]
"""Builds a try-on mask (H, W), True = generate. Raises ValueError where the person lacks what the
recipe needs, or it is for another category."""


def agnostic_mask(recipe: AgnosticRecipe, person: PersonMaps) -> Mask:
    """The recipe's mask; ValueError where the keypoints do not lie on the parsing, or nothing is
    masked."""
    body = person.parse > 0
    if person.keypoints is not None and person.keypoints[:, 2].any():
        size = np.array((*body.shape[::-1], 1), np.float32)
        share = share_on((person.keypoints / size).astype(np.float32), near_body(body))
        if share < LEAST_ON_BODY:
            raise ValueError(
                f"{share:.0%} of the keypoints lie on the person that the parsing shows, so they "
                "belong to another image or to another size of it; make both from this image"
            )
    mask = recipe(person)
    if not mask.any():
        raise ValueError(
            f"the mask is empty: the parsing, read as {person.label_set} labels, shows nothing to "
            f"replace for {person.category}; give another category, the label set of the parsing, "
            "or a mask file"
        )
    return mask
