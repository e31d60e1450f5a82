"""Brushes and operations on masks, at any resolution."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from leffa.data.recipe import Mask

Joints = NDArray[np.float32]

_TOUCHING = np.ones((3, 3), np.bool_)  # diagonal neighbours are of one piece


class Brush:
    """Paints a mask; all sizes are in `unit` pixels, discs and boxes by their half sizes."""

    def __init__(self, shape: tuple[int, ...], unit: float) -> None:
        self.unit = unit
        self._image = Image.new("1", (shape[1], shape[0]))
        self._draw = ImageDraw.Draw(self._image)

    def mask(self) -> Mask:
        """What has been painted, (H, W)."""
        return np.array(self._image)

    def line(self, joints: Joints, path: Sequence[int], width: float) -> None:
        """From joint to joint, with round bends."""
        points = [tuple(joints[joint, :2].tolist()) for joint in path]
        self._draw.line(points, fill=1, width=round(width * self.unit), joint="curve")

    def known_line(self, joints: Joints, path: Sequence[int], width: float) -> None:
        """From joint to joint, past those that were not found."""
        self.line(joints, [joint for joint in path if joints[joint, 2] > 0], width)

    def disc(self, centre: Joints, sideways: float, upright: float) -> None:
        """An ellipse."""
        x, y = centre[:2].tolist()
        dx, dy = sideways * self.unit, upright * self.unit
        self._draw.ellipse((x - dx, y - dy, x + dx, y + dy), fill=1)

    def box(self, centre: Joints, sideways: float, up: float, down: float) -> None:
        """An upright rectangle around a point."""
        x, y = centre[:2].tolist()
        dx = sideways * self.unit
        self._draw.rectangle((x - dx, y - up * self.unit, x + dx, y + down * self.unit), fill=1)

    def limb(self, joints: Joints, arm: tuple[int, int, int], end: float) -> None:
        """From the shoulder as far as joints are known; `end` is the radius of the wrist's disc."""
        for start, stop in pairwise(arm):
            if joints[start, 2] > 0 and joints[stop, 2] > 0:
                self.line(joints, [start, stop], width=10)
                radius = end if stop == arm[-1] else 5
                self.disc(joints[stop], radius, radius)

    def polygon(self, joints: Joints, corners: Sequence[int]) -> None:
        """The filled outline through joints."""
        self._draw.polygon([tuple(joints[joint, :2].tolist()) for joint in corners], fill=1)


def dilate(mask: Mask, reach: float, back: float | None = None) -> Mask:
    """Dilated by a square that reaches this many pixels, rounded, to each side.

    Args:
        back: the reach to the left and up, where it is another: OpenCV's kernels of even size reach
            one pixel further to the right and down.
    """
    after = round(reach)
    before = after if back is None else round(back)
    size = before + 1 + after
    grown: Mask = ndimage.maximum_filter(
        mask.view(np.uint8), size, mode="constant", origin=after - size // 2
    ).view(np.bool_)
    return grown


def erode(mask: Mask, reach: float) -> Mask:
    """The inverse of `dilate` for what is not in the mask; the image's border erodes nothing."""
    return ~dilate(~mask, reach)


def without_holes(mask: Mask) -> Mask:
    """The mask with everything that it encloses."""
    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled


def largest_piece(mask: Mask) -> Mask:
    """The connected piece with the most pixels."""
    pieces, count = ndimage.label(mask, _TOUCHING)
    if count < 2:
        return mask
    largest: Mask = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    return largest


def hulls(mask: Mask) -> Mask:
    """The convex hull of each connected piece."""
    pieces, _ = ndimage.label(mask, _TOUCHING)
    image = Image.fromarray(mask)
    draw = ImageDraw.Draw(image)
    for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
        outline = _outline(pieces[rows, columns] == number)
        outline += np.array((columns.start, rows.start))
        try:
            corners = outline[ConvexHull(outline).vertices]
        except QhullError:  # a single pixel or a straight line is its own hull
            continue
        draw.polygon([(int(x), int(y)) for x, y in corners], fill=1)
    return np.array(image)


def _outline(piece: Mask) -> NDArray[np.int64]:
    """(N, 2) x, y: the first and last pixel of every row, which no hull can do without."""
    rows = np.flatnonzero(piece.any(axis=1))
    first = piece[rows].argmax(axis=1)
    last = piece.shape[1] - 1 - piece[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([x, rows], axis=1) for x in (first, last)])
