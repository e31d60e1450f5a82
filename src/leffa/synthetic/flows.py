"""The ground-truth flow: where the surface point that a pixel shows is seen in another image.

A flow is absolute, (x, y) in [-1, 1], corner-aligned: the centres of the first and the last pixel
are at -1 and 1, the convention of `grid_sample(align_corners=True)`.
"""

import numpy as np
from numpy.typing import NDArray

from leffa.synthetic.flatlay import FlatLay
from leffa.synthetic.painter import PURE, Painter
from leffa.synthetic.raster import Floats, Mask, sample
from leffa.synthetic.scene import Scene, cloth_name


def flow_to_flat(painter: Painter, lay: FlatLay, cover: Floats, worn: int) -> tuple[Floats, Mask]:
    """From the pixels of a person to garment number `worn` of their outfit, laid flat.

    `cover` (H, W) is how much of each pixel of the flat image is garment. Returns the flow
    (H, W, 2), 0 off the garment, and (H, W) where both images show the garment and nothing else.
    """
    flow = np.zeros((*lay.size, 2), np.float32)
    valid = np.zeros(lay.size, bool)
    for piece in range(len(lay.garment.pieces)):
        seen = painter.owner == painter.index_of(cloth_name(worn, piece))
        s, u = painter.surface[seen].T
        xy = lay.place(piece, s, u)
        flow[seen] = _corner_aligned(xy, lay.size)
        on_cloth = sample(cover[..., None], xy)[..., 0] > PURE
        valid[seen] = (painter.purity[seen] > PURE) & on_cloth & (np.abs(u) <= 1)
    return flow, valid


def flow_between(source: Scene, reference: Scene) -> tuple[Floats, Mask]:
    """From one image of a person to another: flow (H, W, 2), and where both show the point."""
    here, there = source.painter, reference.painter
    size = here.owner.shape
    flow = np.zeros((*size, 2), np.float32)
    valid = np.zeros(size, bool)
    pure_there = np.where(there.purity > PURE, there.owner, -1)
    for index, layer in enumerate(here.layers):
        seen = here.owner == index
        other = there.index_of(layer.name)
        s, u = here.surface[seen].T
        ribbon = reference.figure.ribbon(layer.ribbon)
        xy, facing = ribbon.place(s, u, there.layers[other].half_width)
        ok = facing & (here.purity[seen] > PURE) & _shows(pure_there, other, xy)
        # Where a limb folds over itself the same layer may show another point of it.
        found = sample(there.surface, xy)
        ok &= (np.abs(found[:, 0] - s) < 0.08) & (np.abs(found[:, 1] - u) < 0.25)
        flow[seen] = np.where(ok[:, None], _corner_aligned(xy, size), 0)
        valid[seen] = ok
    return flow, valid


def _shows(owner: NDArray[np.int16], layer: int, xy: Floats) -> Mask:
    """Whether all four pixels around positions (N, 2) show one layer; not outside the image."""
    height, width = owner.shape
    j, i = np.floor(xy[:, 0]).astype(int), np.floor(xy[:, 1]).astype(int)
    inside = (j >= 0) & (i >= 0) & (j < width - 1) & (i < height - 1)
    j, i = j.clip(0, width - 2), i.clip(0, height - 2)
    corners = [owner[i + down, j + right] == layer for down in (0, 1) for right in (0, 1)]
    return inside & np.logical_and.reduce(corners)


def _corner_aligned(xy: Floats, size: tuple[int, ...]) -> Floats:
    """Pixels (..., 2) as (x, y) in [-1, 1], from the first pixel's centre to the last one's."""
    step = 2 / np.array([size[1] - 1, size[0] - 1], dtype=np.float32)
    return (xy * step - 1).astype(np.float32)
