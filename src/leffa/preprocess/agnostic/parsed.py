"""The recipes that dilate the worn garment: DressCode's family and OOTDiffusion's.

Both are for all three categories. They take the garment by its labels and, for upper garments and
dresses, a strip along the arms, and keep other clothes, head and hands. They are published for
ATR-18 labels; a label that another set adds, such as a coat, goes where its like goes.
"""

import numpy as np

from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic import body
from leffa.preprocess.agnostic.shapes import (
    Brush,
    Joints,
    dilate,
    erode,
    largest_piece,
    without_holes,
)

# How far something is dilated: to the right and down, to the left and up. They differ where the
# published kernel has an even size.
Reach = tuple[float, float]

_HEAD = ("hat", "sunglasses", "face")
_DRESS_CODE_TAKEN = {
    "upper_body": body.TOP,
    "lower_body": ("pants", *body.LEGS),
    "dresses": (*body.ONE_PIECE, *body.LEGS),
}
_OOTDIFFUSION_TAKEN = {
    "upper_body": (*body.TOP, *body.ONE_PIECE),
    "lower_body": (*body.SKIRT_AND_TROUSERS, *body.LEGS),
    "dresses": (*body.TOP, *body.SKIRT_AND_TROUSERS, *body.ONE_PIECE),
}
_OTHER_GARMENTS = {
    "upper_body": body.SKIRT_AND_TROUSERS,
    "lower_body": (*body.TOP, *body.ARM_LABELS),
    "dresses": (),
}


def dress_code(person: PersonMaps) -> Mask:
    """DressCode's own recipe at 1024x768 (Morelli et al., 2022, `data/dataset.py`).

    IDM-VTON's `inference_dc.py` is the same at this size. As published, skirts are not among the
    labels of `lower_body`; `ootdiffusion`, `catvton` and `leffa_dc_clean` cover them.
    """
    # A strip of 30 px and five dilations by 10x10; five by 20x20 for the garment.
    return dilated_garment(person, person.height / 1024, arm=30, strip=(25, 20), garment=(50, 45))


def ladi_dress_code(person: PersonMaps) -> Mask:
    """LaDI-VTON's recipe for DressCode at 512x384 (Morelli et al., 2023, `dresscode.py`).

    `dress_code` with broader arms and a tighter garment.
    """
    return dilated_garment(person, person.height / 512, arm=45, strip=(0, 0), garment=(10, 10))


def leffa_dc_clean(person: PersonMaps) -> Mask:
    """Ours: `leffa_dc` at the resolution of the maps, as wide on all sides, and with skirts."""
    pixel, reach = _padded_height(person) / 512, (22.5, 22.5)
    mask = dilated_garment(person, pixel, 30, (10, 10), reach, neck_is_head=True, skirts=True)
    return without_holes(mask)


def ootdiffusion(person: PersonMaps) -> Mask:
    """OOTDiffusion's recipe (Xu et al., 2024, `utils_ootd.py`), with arms as for VITON-HD.

    IDM-VTON's demo makes the same masks. Hair is not kept.
    """
    mask = dilated_outfit(person, person.height / 512, arm=60, garment=(10, 10))
    return largest_piece(without_holes(mask))


def ootdiffusion_dc(person: PersonMaps) -> Mask:
    """`ootdiffusion` with the narrower arms that it has for DressCode."""
    mask = dilated_outfit(person, person.height / 512, arm=45, garment=(10, 10))
    return largest_piece(without_holes(mask))


def leffa_hd_clean(person: PersonMaps) -> Mask:
    """Ours: `leffa_hd` at the resolution of the maps, as wide on all sides.

    Other clothes are kept: `leffa_hd` masks their rim, and then often all that the rim encloses.
    """
    pixel = _padded_height(person) / 512
    mask = dilated_outfit(person, pixel, arm=60, garment=(22.5, 22.5))
    return largest_piece(without_holes(mask))


def dilated_garment(
    person: PersonMaps,
    pixel: float,
    arm: float,
    strip: Reach,
    garment: Reach,
    neck_is_head: bool = False,
    skirts: bool = False,
) -> Mask:
    """DressCode's family.

    Args:
        pixel: of the image that the other sizes are published for, in pixels of this one.
        arm: width of the strip along the arms.
        strip, garment: how far they are dilated.
        neck_is_head: whether a neck label is part of the head.
        skirts: whether skirts are taken as lower garments.
    """
    body.check_category(person, *_DRESS_CODE_TAKEN)
    lower = person.category == "lower_body"
    taken = person.shows(*_DRESS_CODE_TAKEN[person.category], *["skirt"] * (skirts and lower))
    head = person.shows(*_HEAD, "hair", *["neck"] * neck_is_head)
    kept = person.shows("hat", "hair", "sunglasses", "scarf", "bag", *body.SHOES)
    kept |= person.shows(*_OTHER_GARMENTS[person.category])
    if not lower:
        keypoints = body.joints_of(person)
        body.shoulder_distance(keypoints)
        brush = Brush(person.parse.shape, pixel)
        brush.known_line(keypoints, (7, 6, 5, 2, 3, 4), arm)
        arms = _dilate(brush.mask(), strip, pixel)
        kept |= person.shows(*body.ARM_LABELS) & ~arms
        neck = head & _below_shoulders(person, keypoints)
        taken |= arms | neck
        head &= ~neck
    return _dilate(taken, garment, pixel) & ~kept & ~head


def _below_shoulders(person: PersonMaps, keypoints: Joints) -> Mask:
    """Below a line a little above both shoulders, where ATR's face label is the neck."""
    (x, y), (other_x, other_y) = keypoints[body.SHOULDERS, :2]
    across = other_x - x
    slope = (other_y - y) / across if abs(across) > 1 else 0.0
    rows, columns = np.ogrid[: person.height, : person.parse.shape[1]]
    line = y + slope * (columns - x) - 20 * person.height / 512
    below: Mask = rows >= np.floor(line)
    return below


def dilated_outfit(
    person: PersonMaps, pixel: float, arm: float, garment: Reach, erosion: float = 0
) -> Mask:
    """OOTDiffusion's family, holes not filled yet.

    Args:
        pixel: of an image 512 high, where it works, in pixels of this one.
        arm: width of the strip along the arms.
        garment: how far the garment is dilated.
        erosion: how far other clothes are eroded. Their rim, so far, is then part of the mask.
    """
    body.check_category(person, *_OOTDIFFUSION_TAKEN)
    taken = _dilate(person.shows(*_OOTDIFFUSION_TAKEN[person.category]), garment, pixel)
    head = person.shows(*_HEAD)
    fixed = person.shows("hat", "sunglasses", "bag", *body.SHOES, *_OTHER_GARMENTS[person.category])
    kept = fixed
    if person.category != "lower_body":
        neck = dilate(person.shows("neck"), 2 * pixel) & ~head
        arms, hands = _separate_arms(person, arm * pixel)
        taken |= neck | dilate(arms, 8 * pixel)
        kept = fixed | hands
    if erosion:
        taken |= fixed
        kept = erode(kept, erosion * pixel)
    return taken & ~kept & ~head


def _separate_arms(person: PersonMaps, width: float) -> tuple[Mask, Mask]:
    """A strip along each arm, a little beyond the wrist, and the arm labels outside it: hands.

    An arm whose joints are not all known is its label.
    """
    joints = body.joints_of(person).copy()
    arms, hands = (np.zeros(person.parse.shape, np.bool_) for _ in range(2))
    for arm, label in body.ARMS:
        shoulder, elbow, wrist = arm
        strip = shown = person.shows(label)
        if (joints[list(arm), 2] > 0).all():
            joints[wrist, :2] = joints[elbow, :2] + 1.2 * (joints[wrist, :2] - joints[elbow, :2])
            brush = Brush(person.parse.shape, unit=1)
            brush.line(joints, arm, width)
            brush.disc(joints[shoulder], width / 2, width / 2)
            strip = brush.mask()
            hands |= shown & ~strip
        arms |= strip
    return arms, hands


def _dilate(mask: Mask, reach: Reach, pixel: float) -> Mask:
    return dilate(mask, reach[0] * pixel, reach[1] * pixel)


def _padded_height(person: PersonMaps) -> float:
    """In pixels, of the image padded to 3:4, as the demo does it first."""
    return max(person.height, person.parse.shape[1] * 4 / 3)
