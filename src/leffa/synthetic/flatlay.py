"""The garment laid flat: its cloth, its product photo, and where each surface point lies in it.

The flat garment is the garment on a standard body of no thickness, arms away from the sides. Its
fabric is painted there, and the wearer's cloth is coloured by looking it up. That look-up is the
ground-truth flow.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic.body import SIGN, BodyShape, LimbPose, Pose
from leffa.synthetic.figure import Figure, Placement, build_figure
from leffa.synthetic.garments import Garment
from leffa.synthetic.raster import Floats, coverage, sample


@dataclass(frozen=True)
class FlatLay:
    """A garment laid flat in an image of `size` (H, W)."""

    garment: Garment
    figure: Figure
    half_widths: tuple[Floats, ...]  # (K,) pixels, of the pieces
    size: tuple[int, int]
    cloth: Floats  # (h, w, 3) the fabric over the whole image, at `density` times its resolution
    density: float

    def place(self, piece: int, s: Floats, u: Floats) -> Floats:
        """The pixel (x, y) of the flat image that shows point (s, u) of a piece."""
        ribbon = self.figure.ribbon(self.garment.pieces[piece].ribbon)
        return ribbon.place(s, u, self.half_widths[piece])[0]

    def colour(self, piece: int, s: Floats, u: Floats) -> Floats:
        """The colour of points (s, u) of a piece, (..., 3), before light falls on it."""
        return self._trim(piece, s, u, self._cloth_at(self.place(piece, s, u)))

    def photograph(self) -> tuple[Floats, Floats]:
        """The product photo, (H, W, 3) in [0, 1], and how much of each pixel is garment, (H, W)."""
        picture = np.ones((*self.size, 3), np.float32)
        cover = np.zeros(self.size, np.float32)
        for index, piece in enumerate(self.garment.pieces):
            half_width, ribbon = self.half_widths[index], self.figure.ribbon(piece.ribbon)
            chart = ribbon.locate(float(half_width.max()) + 2, self.size)
            if min(chart.s.shape) < 2:
                continue
            scale = self.figure.placement.scale
            outside, t = ribbon.outside(chart, half_width, scale)
            share = coverage(np.maximum(outside, piece.edge(chart.s, t) * scale))
            seen = share > 0
            y, x = np.nonzero(seen)
            xy = np.stack([x + chart.columns.start, y + chart.rows.start], axis=-1)
            cloth = self._cloth_at(xy.astype(np.float32))
            light = 1.01 - 0.05 * np.abs(t[seen].clip(-1, 1)) ** 3
            rgb = self._trim(index, chart.s[seen], t[seen], cloth) * light[:, None]
            box = (chart.rows, chart.columns)
            picture[box][seen] += share[seen][:, None] * (rgb - picture[box][seen])
            cover[box] = np.maximum(cover[box], share)
        return picture, cover

    def _cloth_at(self, xy: Floats) -> Floats:
        return sample(self.cloth, self.density * (xy + 0.5) - 0.5)

    def _trim(self, piece: int, s: Floats, u: Floats, rgb: Floats) -> Floats:
        """Lay the band along the hems over colours (..., 3)."""
        garment = self.garment
        if garment.trim_width == 0:
            return rgb
        inside = -garment.pieces[piece].hem(s, u)
        cover = (0.5 + (garment.trim_width - inside) * self.figure.placement.scale).clip(0, 1)
        return rgb + cover[..., None].astype(np.float32) * (garment.trim - rgb)


def lay_flat(garment: Garment, size: tuple[int, int], worn_scale: float) -> FlatLay:
    """Lay a garment flat for a product photo of `size` (height, width).

    `worn_scale`: pixels per head where it will be worn. The cloth is painted about twice as fine as
    the finer of photo and wearer need, which keeps stripes and letters crisp and free of aliasing;
    smooth fabrics need less.
    """
    angle = garment.sleeve_angle
    arm, leg = LimbPose(angle, angle - 4), LimbPose(6, 4)
    pose = Pose(arms=dict.fromkeys(SIGN, arm), legs=dict.fromkeys(SIGN, leg))
    unit = build_figure(BodyShape(), pose, Placement(0, 0, 1), roundness=0)
    outline = _outline(garment, unit)
    low, high = outline.min(axis=0), outline.max(axis=0)
    extent = (high - low) / 2
    room = np.array(size[::-1], dtype=np.float64)
    scale = garment.fill * float((room / (2 * extent)).min())
    middle = (room - 1) / 2 + (room / 2 - extent * scale) * np.array(garment.shift)
    corner = middle - scale * (low + high) / 2
    place = Placement(float(corner[0]), float(corner[1]), scale)
    figure = build_figure(BodyShape(), pose, place, roundness=0)
    density = float(np.clip(2 * worn_scale / scale, 1, 2)) if garment.fabric.detailed else 0.5
    neck, centre = (tuple(density * (pixel + 0.5) - 0.5) for pixel in (corner, middle))
    fine = (round(size[0] * density), round(size[1] * density))
    cloth = garment.fabric.paint(fine, scale * density, neck, centre, tuple(extent))
    half_widths = tuple(piece.half_width(figure) for piece in garment.pieces)
    return FlatLay(garment, figure, half_widths, size, cloth, density)


def _outline(garment: Garment, figure: Figure) -> NDArray[np.float64]:
    """Points (N, 2) all over the flat garment, in pixels of the figure."""
    points = []
    for piece in garment.pieces:
        ribbon = figure.ribbon(piece.ribbon)
        along = np.linspace(ribbon.s[0], ribbon.s[-1], 60, dtype=np.float32)
        s, u = np.meshgrid(along, np.linspace(-1, 1, 9, dtype=np.float32))
        xy, _ = ribbon.place(s, u, piece.half_width(figure))
        points.append(xy[piece.edge(s, u) <= 0])
    return np.concatenate(points).astype(np.float64)
