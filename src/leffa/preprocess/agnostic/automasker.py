"""CatVTON's automatic masks: from DensePose and parsing, without keypoints."""

import numpy as np
from PIL import Image
from scipy import ndimage

from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic import body
from leffa.preprocess.agnostic.shapes import dilate, hulls

# DensePose parts.
_HANDS_AND_FEET = (3, 4, 5, 6)
_TORSO_AND_ARMS = (1, 2, *range(15, 23))
_THIGHS_AND_CALVES = tuple(range(7, 15))

_ACCESSORIES = ("hat", "glove", "sunglasses", "bag", *body.SHOES, "scarf", "socks")
_TAKEN_CLOTHES = {
    "upper_body": (*body.TOP, *body.ONE_PIECE),
    "lower_body": (*body.SKIRT_AND_TROUSERS, *body.ONE_PIECE),
    "dresses": (*body.TOP, *body.ONE_PIECE, *body.SKIRT_AND_TROUSERS),
}
_TAKEN_PARTS = {
    "upper_body": _TORSO_AND_ARMS,
    "lower_body": _THIGHS_AND_CALVES,
    "dresses": (*_TORSO_AND_ARMS, *_THIGHS_AND_CALVES),
}
_KEPT = {  # body parts and clothes; hair and accessories stay in any case
    "upper_body": (*body.LEGS, *body.SKIRT_AND_TROUSERS),
    "lower_body": (*body.ARM_LABELS, "face", "neck", *body.TOP),
    "dresses": (),
}
_BLUR = 6.5 / 1024  # OpenCV's standard deviation for the published kernel of 41 at a height of 1024
_CUT = 25 / 255


def catvton(person: PersonMaps, second: PersonMaps | None = None) -> Mask:
    """CatVTON's recipe (Chong et al., 2024, `model/cloth_masker.py`); Leffa ships the same file.

    Everything that is neither kept nor background, with the body under the clothes, is rounded out
    to convex pieces and smoothed. Face, hands and feet stay in any case.

    Args:
        person: needs DensePose; keypoints are not used.
        second: the same person parsed with another label set, as published: LIP and ATR join. Where
            ATR stands alone the neck counts as face and stays.
    """
    body.check_category(person, *_TAKEN_CLOTHES)
    parses = [person] if second is None else [person, second]

    def shows(*names: str) -> Mask:
        return np.logical_or.reduce([parse.shows(*names) for parse in parses])

    pixel = person.height / 1024
    extremities = dilate(person.body(*_HANDS_AND_FEET), 2 * pixel) & shows(
        *body.ARM_LABELS, *body.LEGS
    )
    # ATR's face reaches down the neck, so the other set's face is preferred.
    face = next((parse for parse in parses if parse.label_set != "atr"), person).shows("face")
    protected = extremities | face
    kept = protected | shows("hair", *_KEPT[person.category], *_ACCESSORIES)
    background = np.logical_and.reduce([parse.parse == 0 for parse in parses])
    area = (~kept & ~background) | _coarse(person.body(*_TAKEN_PARTS[person.category]), pixel)
    area = hulls(area) & ~kept
    smooth = ndimage.gaussian_filter(area.astype(np.float32), _BLUR * person.height, truncate=3)
    mask = ((smooth >= _CUT) | shows(*_TAKEN_CLOTHES[person.category])) & ~protected
    return dilate(mask, 2 * pixel)


def _coarse(area: Mask, pixel: float) -> Mask:
    """Dilated at a quarter of the size, so its edge is rough, as published."""
    height, width = area.shape
    image = Image.fromarray(area)
    small = np.array(image.resize((-(-width // 4), -(-height // 4)), Image.Resampling.NEAREST))
    large = Image.fromarray(dilate(small, 4 * pixel))
    return np.array(large.resize((width, height), Image.Resampling.NEAREST))
