"""What an agnostic mask is built from, and what builds it; the recipes are in `preprocess`."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leffa.data.keypoints import LEAST_ON_BODY, near_body, share_on
from leffa.data.labels import LABELS, LabelSet

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PersonMaps:
    """The maps of one person, all of one size.

    Args:
        parse: (H, W) label ids of `label_set`.
        keypoints: (25, 3) BODY_25 x, y in pixels, confidence, (0, 0, 0) for a missing joint; None
            where there are none.
        category: "upper_body", "lower_body" or "dresses": what is to be exchanged.
        label_set: of `parse`.
        densepose: (H, W) part ids; None where there are none.
    """

    parse: NDArray[np.uint8]
    keypoints: NDArray[np.float32] | None = None
    category: str = "upper_body"
    label_set: LabelSet = "cihp"
    densepose: NDArray[np.uint8] | None = None

    @property
    def height(self) -> int:
        """In pixels."""
        return self.parse.shape[0]

    def shows(self, *names: str) -> Mask:
        """(H, W), True where the parse has one of these labels (`data.labels.LABELS`).

        A label that the set lacks is nowhere.
        """
        table = np.zeros(256, np.bool_)
        labels = LABELS[self.label_set]
        table[[labels[name] for name in names if name in labels]] = True
        return table[self.parse]

    def body(self, *parts: int) -> Mask:
        """(H, W), True where the DensePose has one of these parts.

        Raises:
            ValueError: there is no DensePose.
        """
        if self.densepose is None:
            raise ValueError(
                "this mask recipe needs DensePose; give one, or choose a recipe that does without"
            )
        return np.isin(self.densepose, parts)


class AgnosticRecipe(Protocol):
    """Builds a try-on mask."""

    def __call__(self, person: PersonMaps, /) -> Mask:
        """(H, W), True = generate.

        Raises:
            ValueError: the person lacks what the recipe needs, or the recipe is for another
                category.
        """
        ...


def agnostic_mask(recipe: AgnosticRecipe, person: PersonMaps) -> Mask:
    """The recipe's mask (H, W), True = generate.

    Raises:
        ValueError: as the recipe, or the keypoints do not lie on the parsing, or nothing is masked.
    """
    body = person.parse > 0
    if person.keypoints is not None and person.keypoints[:, 2].any():
        size = np.array((*body.shape[::-1], 1), np.float32)
        share = share_on((person.keypoints / size).astype(np.float32), near_body(body))
        if share < LEAST_ON_BODY:
            raise ValueError(
                f"{share:.0%} of the keypoints lie on the person that the parsing shows, so they "
                "belong to another picture or were found at another size of it; make both from "
                "this picture"
            )
    mask = recipe(person)
    if not mask.any():
        raise ValueError(
            f"the mask is empty: the parsing, read as {person.label_set} labels, shows nothing to "
            f"exchange for {person.category}; give another category, the label set of the parsing, "
            "or a mask file"
        )
    return mask
