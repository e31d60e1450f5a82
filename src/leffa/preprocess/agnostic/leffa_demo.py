"""The masks of the released Leffa demo, at any size of the image.

The demo pads a photo to 3:4 and works at 384x512; so does this, and the mask is enlarged. Its
flaws are kept, too: kernels of even size reach further to the right and down, one line of
pixels around the canvas is never masked, and `leffa_hd` takes the rim of other clothes.
`leffa_hd_clean` and `leffa_dc_clean` do without.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from leffa.data.fit import fit_picture, unpad
from leffa.data.recipe import Mask, PersonMaps
from leffa.preprocess.agnostic.parsed import dilated_garment, dilated_outfit
from leffa.preprocess.agnostic.shapes import largest_piece, without_holes
from leffa.preprocess.canvas import CANVAS

_GARMENT = (25, 20)  # five dilations by 10x10


def leffa_hd(person: PersonMaps) -> Mask:
    """The mask of the demo for its VITON-HD model (`get_agnostic_mask_hd`).

    OOTDiffusion's recipe with a garment dilated further. Other clothes are eroded by 2 px after the
    demo has noted what may change, so their rim is masked; and then, since holes are filled, all of
    them unless they touch the frame or something else that is kept. For evaluation its author
    advises the mask files of VITON-HD.
    """

    def recipe(padded: PersonMaps) -> Mask:
        mask = dilated_outfit(padded, pixel=1, arm=60, garment=_GARMENT, erosion=2)
        return largest_piece(_filled(mask))

    return _on_canvas(person, recipe)


def leffa_dc(person: PersonMaps) -> Mask:
    """The mask of the demo for its DressCode model (`get_agnostic_mask_dc`).

    IDM-VTON's variant of `dress_code` with holes filled. According to its author, the paper used
    other masks.
    """

    def recipe(padded: PersonMaps) -> Mask:
        return _filled(dilated_garment(padded, 1, 30, (10, 10), _GARMENT, neck_is_head=True))

    return _on_canvas(person, recipe)


def _on_canvas(person: PersonMaps, recipe: Callable[[PersonMaps], Mask]) -> Mask:
    """The mask that a recipe makes of the image padded to the canvas."""
    size = person.parse.shape[1], person.height
    placement = fit_picture(size, CANVAS, "pad")
    parse = placement.place(Image.fromarray(person.parse), Image.Resampling.NEAREST)
    keypoints = person.keypoints
    if keypoints is not None:
        fractions = (keypoints / np.array((*size, 1), np.float32)).astype(np.float32)
        moved = placement.points(fractions) * np.array((*CANVAS, 1), np.float32)
        keypoints = moved.round(2)  # lines are drawn at whole pixels, rounded down
    mask = recipe(PersonMaps(np.asarray(parse), keypoints, person.category, person.label_set))
    enlarged = unpad(Image.fromarray(mask).convert("L"), size, Image.Resampling.BICUBIC)
    return np.asarray(enlarged) >= 128


def _filled(mask: Mask) -> Mask:
    """The mask without holes, and without the outermost pixels of the canvas."""
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = without_holes(mask[1:-1, 1:-1])
    return inner
