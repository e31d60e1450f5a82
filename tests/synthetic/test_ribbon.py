"""Ribbons: locating a point and placing it are inverse to each other."""

import numpy as np
import pytest

from leffa.synthetic.raster import coverage, sample
from leffa.synthetic.ribbon import Ribbon, bend

SIZE = (120, 100)


def bent_limb(roundness: float = 0.85, yaw: float = 0.2) -> tuple[Ribbon, np.ndarray]:
    joints = [np.array(point, dtype=float) for point in ((30, 15), (40, 60), (70, 95))]
    ribbon = bend(joints, [0.0, 1.0, 2.0], 40, 0.2, roundness, yaw)
    return ribbon, ribbon.widths(((0, 0.2), (1, 0.25), (2, 0.15)), scale=45)


@pytest.mark.parametrize(("roundness", "yaw"), [(0.0, 0.0), (0.85, 0.0), (0.85, 0.3)])
def test_placing_what_was_located_gives_the_pixel_back(roundness: float, yaw: float) -> None:
    ribbon, half_width = bent_limb(roundness, yaw)
    chart = ribbon.locate(16, SIZE)
    outside, t = ribbon.outside(chart, half_width, scale=45)
    inside = outside < -0.5
    xy, _ = ribbon.place(chart.s[inside], ribbon.unroll(t[inside]), half_width)
    y, x = np.nonzero(inside)
    pixels = np.stack([x + chart.columns.start, y + chart.rows.start], axis=1)
    error = np.linalg.norm(xy - pixels, axis=1)
    # A point turned to the back is placed on the outline instead.
    facing = ribbon.project(ribbon.unroll(t[inside]))[1]
    assert inside.sum() > 1000
    assert error[facing].max() < 0.1


def test_joints_lie_at_their_stations() -> None:
    ribbon, half_width = bent_limb()
    at, _ = ribbon.place(
        np.array([0.0, 2.0]), np.zeros(2) - ribbon.yaw / np.arcsin(0.85), half_width
    )
    assert np.allclose(at, [[30, 15], [70, 95]], atol=0.5)


def test_a_turned_surface_hides_one_side_and_shows_the_back_of_the_other() -> None:
    ribbon, _ = bent_limb(yaw=0.3)
    t, facing = ribbon.project(np.array([-1.0, 0.0, 1.0]))
    assert facing.tolist() == [True, True, False]
    assert np.all(np.diff(t) > 0)
    assert ribbon.unroll(np.array([-1.0]))[0] < -1


def test_coverage_is_the_share_of_a_pixel() -> None:
    x = np.arange(10, dtype=np.float32)
    level = np.repeat(x[None] - 4.25, 3, axis=0)  # inside left of x = 4.25
    assert np.allclose(coverage(level)[1], [1, 1, 1, 1, 0.75, 0, 0, 0, 0, 0])


def test_a_chart_out_of_the_picture_is_empty() -> None:
    ribbon = bend([np.array([300.0, 300.0]), np.array([320.0, 340.0])], [0, 1], 8, 0.1, 0.5, 0.0)
    assert ribbon.locate(10, SIZE).s.size == 0


def test_sampling_at_pixel_centres_gives_the_pixels() -> None:
    picture = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    y, x = np.mgrid[:5, :7]
    assert np.allclose(sample(picture, np.stack([x, y], axis=-1).astype(np.float32)), picture)
