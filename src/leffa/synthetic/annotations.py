"""Exact labels of a scene: the DensePose map, the keypoints, and the agnostic mask.

The agnostic mask follows the body, not the garment, so as not to give its shape away: a broad band
around torso, arms and neck (upper body), around hips and legs (lower body), or both (dresses).
Face, hair, hands, shoes and other clothes stay. This is what VITON-HD's `agnostic-mask` looks like.
"""

import numpy as np
from numpy.typing import NDArray

from leffa.data.labels import Category
from leffa.synthetic.body import ANKLE, SIGN, THIGH, TORSO, UPPER_ARM, WRIST
from leffa.synthetic.labels import BODY_25, Parsing
from leffa.synthetic.raster import Floats, Mask, Pixels
from leffa.synthetic.scene import Scene

# Where the first DensePose part of a ribbon begins, its second, and hand or foot; heads.
_PARTS = {
    "torso": (0.0, 0.0, TORSO),
    "neck": (-0.25, 0.0, 1.24),
    "head": (-0.49, 0.0, 1.0),
    "arm": (-0.26, UPPER_ARM, WRIST),
    "leg": (-0.42, THIGH, ANKLE),
}


def body_map(scene: Scene) -> Pixels:
    """(H, W, 3) DensePose part 0..24, U, V of the body under the clothes; 0 on the background."""
    painter = scene.painter
    iuv = np.zeros((*painter.body_owner.shape, 3), np.uint8)
    for index, layer in enumerate(painter.layers):
        if layer.skin:
            seen = painter.body_owner == index
            s, u = painter.body_surface[seen].T
            part, *uv = _densepose(layer.ribbon, s, u)
            iuv[seen, 0] = part
            iuv[seen, 1:] = np.round(np.stack(uv, axis=-1).clip(0, 1) * 255)
    return iuv


def _densepose(ribbon: str, s: Floats, u: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """DensePose part id, U and V (0 to 1) of body-surface points (N,); |u| > 1 is the back.

    U and V grow smoothly over each part. As in DeepFashion's IUV files, charts of paired limbs are
    mirror images of each other; those of hands and head run across the image in U, that of the
    torso in V.
    """
    kind, _, side = ribbon.partition("_")
    start, middle, end = _PARTS[kind]
    left = side == "left"
    back = np.abs(u) > 1
    across = np.where(back, np.sign(u) * (2 - np.abs(u)), u)
    along = (s - start) / (end - start)
    if kind == "torso":
        return np.where(back, 1, 2), along, (across + 1) / 2
    if kind in ("head", "neck"):
        return np.where(u > 0, 24, 23), (across + 1) / 2, along
    lower, extremity = s >= middle, s >= end
    along = np.where(lower, (s - middle) / (end - middle), (s - start) / (middle - start))
    along = np.where(extremity, (s - end) / 0.6, along)
    outward = u if left else -u
    if kind == "arm":  # an inner and an outer chart
        part = np.where(lower, 19, 15) + np.where(outward > 0, 2, 0) + (0 if left else 1)
        part = np.where(extremity, 4 if left else 3, part)
        across = np.where(extremity, across, across if left else -across)
    else:  # a front and a back chart
        part = np.where(lower, 13, 9) - np.where(back, 2, 0) + (1 if left else 0)
        part = np.where(extremity, 5 if left else 6, part)
        across = across if left else -across
    return part, (across + 1) / 2, along


SEEN, HIDDEN = 0.9, 0.5  # confidence of a joint in sight, and of one behind another part

# Points given by their place (s, u) on a surface; the others are the figure's own joints.
_ON_FOOT = {"heel": (3.66, 0.0), "big_toe": (3.95, -0.4), "small_toe": (3.92, 0.4)}
_ON_SURFACE: dict[str, tuple[str, float, float]] = {
    "nose": ("head", 0.34, 0.0),
    "right_eye": ("head", 0.485, -0.36),
    "left_eye": ("head", 0.485, 0.36),
    "right_ear": ("head", 0.46, -0.93),
    "left_ear": ("head", 0.46, 0.93),
    **{
        f"{side}_{name}": (f"leg_{side}", s, sign * u)
        for side, sign in SIGN.items()
        for name, (s, u) in _ON_FOOT.items()
    },
}


def find_keypoints(scene: Scene) -> Floats:
    """(25, 3) BODY_25 x, y in pixels, confidence; 0 where out of the image or turned away."""
    figure, painter = scene.figure, scene.painter
    height, width = painter.image.shape[:2]
    points = np.zeros((len(BODY_25), 3), np.float32)
    for row, name in enumerate(BODY_25):
        if name in _ON_SURFACE:
            ribbon, s, u = _ON_SURFACE[name]
            places, faces = figure.ribbon(ribbon).place(
                np.array([s]), np.array([u]), figure.widths(ribbon)
            )
            point, facing = places[0], bool(faces[0])
        else:
            ribbon, point, facing = _ribbon_of(name), figure.joints[name], True
        x, y = float(point[0]), float(point[1])
        column, line = round(x), round(y)
        if facing and 0 <= column < width and 0 <= line < height:
            seen = painter.body_owner[line, column] == painter.index_of(f"skin/{ribbon}")
            points[row] = x, y, SEEN if seen else HIDDEN
    return points


def _ribbon_of(joint: str) -> str:
    """The ribbon on which a joint lies."""
    side, _, name = joint.partition("_")
    if name in ("shoulder", "elbow", "wrist"):
        return f"arm_{side}"
    if name in ("knee", "ankle"):
        return f"leg_{side}"
    return "neck" if joint == "neck" else "torso"


# Round-ended bands of the agnostic mask: ribbon, from, to, share of the body's half width, heads
# added to it.
_Band = tuple[str, float, float, float, float]
_UPPER: tuple[_Band, ...] = (
    ("torso", 0.0, 2.6, 1.1, 0.16),
    ("neck", -0.3, 0.0, 0.0, 0.46),
    *((f"arm_{side}", 0.05, WRIST, 0.0, 0.42) for side in SIGN),
)
_LOWER: tuple[_Band, ...] = (
    ("torso", 1.50, 2.75, 1.1, 0.16),
    ("skirt", 0.0, 3.5, 1.0, 0.42),
    *((f"leg_{side}", 0.0, 3.2, 0.0, 0.6) for side in SIGN),
)
_BANDS = {"upper_body": _UPPER, "lower_body": _LOWER, "dresses": (*_UPPER, *_LOWER)}
_ALWAYS = [Parsing.FACE, Parsing.HAIR, Parsing.LEFT_SHOE, Parsing.RIGHT_SHOE]
_KEPT = {
    "upper_body": [*_ALWAYS, Parsing.PANTS, Parsing.SKIRT, Parsing.LEFT_LEG, Parsing.RIGHT_LEG],
    "lower_body": [*_ALWAYS, Parsing.UPPER_CLOTHES, Parsing.LEFT_ARM, Parsing.RIGHT_ARM],
    "dresses": _ALWAYS,
}


def agnostic_mask(scene: Scene, parsing: Pixels, category: Category, worn: int) -> Mask:
    """(H, W) True where garment number `worn` of the outfit is to be generated."""
    mask = np.zeros(parsing.shape, bool)
    figure, painter = scene.figure, scene.painter
    for name, start, end, share, added in _BANDS[category]:
        chart = scene.chart(name)
        if chart.s.size == 0:
            continue
        body = np.interp(chart.s, figure.ribbon(name).s, figure.widths(name))
        width = share * body + added * painter.scale
        beyond = np.maximum(start - chart.s, chart.s - end).clip(0) * painter.scale
        mask[chart.rows, chart.columns] |= np.hypot(chart.offset, beyond) <= width
    arms = [painter.index_of(f"skin/arm_{side}") for side in SIGN]
    hands = np.isin(painter.owner, arms) & (painter.surface[..., 0] > WRIST + 0.05)
    kept = np.isin(parsing, _KEPT[category]) | hands
    return (mask | (parsing == scene.person.outfit[worn].garment.parsing)) & ~kept
