"""A ribbon: a curve with a width, the one shape from which bodies and garments are made.

The idea. An arm, a torso, a sleeve or a skirt is a strip of surface around a curve. A point of it
has two coordinates that stay with it in every pose:

    s   the place along the curve, in heads of the standard body (1 head = one head height)
    u   the place across, as an angle around the limb: -1 and 1 are the sides, 0 the front

`locate` finds (s, offset) at every pixel, `place` goes back from (s, u) to a pixel. Because both
exist in closed form, the correspondence between two pictures of one surface is exact: locate in
one, place in the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic.arrays import Floats, Mask

Profile = Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """A ribbon seen from the pixels of one box of the picture."""

    rows: slice
    columns: slice
    s: Floats  # (h, w) place along the curve, heads
    offset: Floats  # (h, w) distance from the curve, pixels; > 0: right of a curve going down


@dataclass(frozen=True)
class Ribbon:
    """A sampled curve, in pixels, with how the surface around it is turned.

    `s`, `centre` and `normal` are (K,), (K, 2) and (K, 2) at evenly spaced knots. `roundness` in
    [0, 1) says how cylindrical the surface is (0: flat, as a garment on a table), `yaw` by how many
    radians it is turned.
    """

    s: Floats
    centre: Floats
    normal: Floats
    roundness: float
    yaw: float

    def locate(self, reach: float, size: tuple[int, int]) -> Chart:
        """The nearest point of the curve for the pixels within `reach` of its bounding box.

        `size` is (height, width) of the picture; the chart is cut at its frame and may be empty.
        """
        limits = np.array(size[::-1])
        low = np.clip(np.floor(self.centre.min(axis=0) - reach), 0, limits).astype(int)
        high = np.clip(np.ceil(self.centre.max(axis=0) + reach) + 1, low, limits).astype(int)
        x = np.arange(low[0], high[0], dtype=np.float32)[None, :]
        y = np.arange(low[1], high[1], dtype=np.float32)[:, None]
        a = self._segment(x, y)
        tangent = self.tangent
        ahead, behind = self._along(x, y, a, tangent), self._along(x, y, a + 1, tangent)
        share = ahead / np.maximum(ahead - behind, 1e-3)
        # Only beyond the curve's two ends may a point lie outside its segment.
        lowest = np.where(a == 0, -np.inf, 0)
        highest = np.where(a == len(self.s) - 2, np.inf, 1)
        share = share.clip(lowest, highest)
        nx, ny = _mix(self.normal, a, share)
        cx, cy = _mix(self.centre, a, share)
        offset = ((x - cx) * nx + (y - cy) * ny) / np.hypot(nx, ny)
        s = self.s[0] + (a + share) * (self.s[1] - self.s[0])
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        return Chart(rows, columns, s.astype(np.float32), offset.astype(np.float32))

    @property
    def tangent(self) -> Floats:
        """(K, 2), the normals turned by a right angle, along growing `s`."""
        return np.stack([-self.normal[:, 1], self.normal[:, 0]], axis=1)

    def _segment(self, x: Floats, y: Floats) -> NDArray[np.intp]:
        """Index of the segment that holds the point nearest to (x, y)."""
        distance = (x[..., None] - self.centre[:, 0]) ** 2 + (y[..., None] - self.centre[:, 1]) ** 2
        nearest = distance.argmin(axis=-1)
        before = self._along(x, y, nearest, self.tangent) < 0
        return np.clip(nearest - before, 0, len(self.s) - 2)

    def _along(self, x: Floats, y: Floats, knot: NDArray[np.intp], tangent: Floats) -> Floats:
        """How far (x, y) lies beyond a knot, measured along the curve there."""
        dx, dy = x - self.centre[knot, 0], y - self.centre[knot, 1]
        return (dx * tangent[knot, 0] + dy * tangent[knot, 1]).astype(np.float32)

    def place(self, s: Floats, u: Floats, half_width: Floats) -> tuple[Floats, Mask]:
        """Where surface points (s, u) are, (..., 2) pixels (x, y), and whether they face us."""
        knot = (s - self.s[0]) / (self.s[1] - self.s[0])
        a = np.clip(knot, 0, len(self.s) - 2).astype(int)
        share = knot - a
        t, facing = self.project(u)
        width = half_width[a] * (1 - share) + half_width[a + 1] * share
        nx, ny = _mix(self.normal, a, share)
        cx, cy = _mix(self.centre, a, share)
        reach = t * width / np.hypot(nx, ny)
        return np.stack([cx + reach * nx, cy + reach * ny], axis=-1).astype(np.float32), facing

    def unroll(self, t: Floats) -> Floats:
        """From t, the place across in the picture (1 at the outline), to u on the surface."""
        if self.roundness == 0:
            return t
        widest = np.arcsin(self.roundness)
        return (np.arcsin(self.roundness * t.clip(-1, 1)) - self.yaw) / widest

    def project(self, u: Floats) -> tuple[Floats, Mask]:
        """The inverse of `unroll`, and whether points face us; others get the outline's t."""
        if self.roundness == 0:
            return u, np.abs(u) <= 1
        widest = np.arcsin(self.roundness)
        angle = u * widest + self.yaw
        return np.sin(angle.clip(-widest, widest)) / self.roundness, np.abs(angle) <= widest

    def outside(self, chart: Chart, half_width: Floats, scale: float) -> tuple[Floats, Floats]:
        """By how many pixels a chart's points lie outside (negative: inside), and their t."""
        width = np.interp(chart.s, self.s, half_width).astype(np.float32)
        beyond = np.maximum(self.s[0] - chart.s, chart.s - self.s[-1]) * scale
        t = chart.offset / np.maximum(width, 1e-3)
        return np.maximum(np.abs(chart.offset) - width, beyond), t

    def widths(self, profile: Profile, scale: float) -> Floats:
        """Half widths at the knots, (K,) pixels, from a table of (s, heads), corners rounded."""
        places, values = zip(*profile, strict=True)
        step = self.s[1] - self.s[0]
        shifted = [
            np.interp(self.s + d * step, places, values, left=0, right=0) for d in (-0.6, 0, 0.6)
        ]
        return (np.mean(shifted, axis=0) * scale).astype(np.float32)


def _mix(values: Floats, knot: NDArray[np.intp], share: Floats) -> tuple[Floats, Floats]:
    """Linear interpolation of an (K, 2) table, as two arrays."""
    keep = 1 - share
    return (
        values[knot, 0] * keep + values[knot + 1, 0] * share,
        values[knot, 1] * keep + values[knot + 1, 1] * share,
    )


def bend(
    joints: Sequence[NDArray[np.float64]],
    stations: Sequence[float],
    knots: int,
    rounding: float,
    roundness: float,
    yaw: float,
) -> Ribbon:
    """A ribbon of `knots` knots through joints (pixels) that lie at `stations` (heads along it).

    Corners are rounded over `rounding` heads to both sides.
    """
    points, at = np.asarray(joints, dtype=np.float64), np.asarray(stations, dtype=np.float64)
    s = np.linspace(at[0], at[-1], knots)
    # Straight on beyond both ends, so that the moving average below leaves them where they are.
    first = points[0] - (points[1] - points[0]) / (at[1] - at[0])
    last = points[-1] + (points[-1] - points[-2]) / (at[-1] - at[-2])
    points = np.concatenate([[first], points, [last]])
    at = np.concatenate([[at[0] - 1], at, [at[-1] + 1]])
    window = s[:, None] + np.linspace(-rounding, rounding, 9)
    centre = np.stack(
        [np.interp(window, at, points[:, axis]).mean(axis=1) for axis in (0, 1)], axis=1
    )
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    return Ribbon(
        s=s.astype(np.float32),
        centre=centre.astype(np.float32),
        normal=normal.astype(np.float32),
        roundness=roundness,
        yaw=yaw,
    )
