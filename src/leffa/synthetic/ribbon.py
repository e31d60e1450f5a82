"""A ribbon: a curve with a width, the one shape from which bodies and garments are made.

An arm, a torso, a sleeve or a skirt is a strip of surface around a curve. A point of it has two
coordinates that stay with it in every pose:

    s   the place along the curve, in heads of the standard body (1 head = one head height)
    u   the place across, as an angle around the limb: -1 and 1 are the sides, 0 the front

`locate` finds (s, offset) at every pixel, `place` goes back from (s, u) to a pixel. Both exist in
closed form, so the correspondence between two images of one surface is exact: locate in one,
place in the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic.raster import Floats, Mask

Profile = Sequence[tuple[float, float]]  # half widths by place along a ribbon, both in heads


class Chart(NamedTuple):
    """A ribbon seen from the pixels of one box of the image."""

    rows: slice
    columns: slice
    s: Floats  # (h, w) place along the curve, heads
    offset: Floats  # (h, w) distance from the curve, pixels; > 0: right of a curve going down


@dataclass(frozen=True)
class Ribbon:
    """A sampled curve, in pixels, with how the surface around it is turned.

    `roundness` in [0, 1) says how cylindrical the surface is (0: flat, as a garment on a table),
    `yaw` by how many radians it is turned.
    """

    s: Floats  # (K,) evenly spaced knots
    centre: Floats  # (K, 2)
    normal: Floats  # (K, 2)
    roundness: float
    yaw: float

    @cached_property
    def tangent(self) -> Floats:
        """(K, 2), the normals turned by a right angle, along growing `s`."""
        return np.stack([-self.normal[:, 1], self.normal[:, 0]], axis=1)

    def locate(self, reach: float, size: tuple[int, int]) -> Chart:
        """The nearest point of the curve for the pixels within `reach` of its bounding box.

        `size` is (height, width) of the image; the chart is cut at its frame and may be empty.
        """
        limits = np.array(size[::-1])
        low = np.clip(np.floor(self.centre.min(axis=0) - reach), 0, limits).astype(int)
        high = np.clip(np.ceil(self.centre.max(axis=0) + reach) + 1, low, limits).astype(int)
        x = np.arange(low[0], high[0], dtype=np.float32)[None, :]
        y = np.arange(low[1], high[1], dtype=np.float32)[:, None]
        distance = (x[..., None] - self.centre[:, 0]) ** 2 + (y[..., None] - self.centre[:, 1]) ** 2
        nearest = distance.argmin(axis=-1)
        last = len(self.s) - 2
        a = np.clip(nearest - (self._beyond(x, y, nearest) < 0), 0, last)
        ahead, behind = self._beyond(x, y, a), self._beyond(x, y, a + 1)
        share = ahead / np.maximum(ahead - behind, 1e-3)
        # Only beyond the curve's two ends may a point lie outside its segment.
        share = share.clip(np.where(a == 0, -np.inf, 0), np.where(a == last, np.inf, 1))
        nx, ny = _mix(self.normal, a, share)
        cx, cy = _mix(self.centre, a, share)
        offset = ((x - cx) * nx + (y - cy) * ny) / np.hypot(nx, ny)
        s = self.s[0] + (a + share) * (self.s[1] - self.s[0])
        rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
        return Chart(rows, columns, s.astype(np.float32), offset.astype(np.float32))

    def _beyond(self, x: Floats, y: Floats, knot: NDArray[np.intp]) -> Floats:
        """How far (x, y) lies beyond a knot, measured along the curve there."""
        dx, dy = x - self.centre[knot, 0], y - self.centre[knot, 1]
        return (dx * self.tangent[knot, 0] + dy * self.tangent[knot, 1]).astype(np.float32)

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
        """From t, the place across in the image (1 at the outline), to u on the surface."""
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
        """Half widths at the knots, (K,) pixels, corners rounded."""
        places, values = zip(*profile, strict=True)
        shifts = (self.s[1] - self.s[0]) * np.array([[-0.6], [0], [0.6]], dtype=np.float32)
        shifted = np.interp(self.s + shifts, places, values, left=0, right=0)
        return (shifted.mean(axis=0) * scale).astype(np.float32)


def _mix(values: Floats, knot: NDArray[np.intp], share: Floats) -> tuple[Floats, Floats]:
    """Linear interpolation of a (K, 2) table, as two arrays."""
    keep = 1 - share
    x, y = (values[knot, axis] * keep + values[knot + 1, axis] * share for axis in (0, 1))
    return x, y


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
    centre = np.stack([np.interp(window, at, column).mean(axis=1) for column in points.T], axis=1)
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], axis=1)
    s, centre, normal = (array.astype(np.float32) for array in (s, centre, normal))
    return Ribbon(s, centre, normal, roundness, yaw)
