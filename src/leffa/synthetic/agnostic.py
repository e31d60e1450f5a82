"""The agnostic mask: the area to generate, wide enough not to give the garment's shape away.

It follows the body, not the garment: a broad band around torso, arms and neck (upper body), around
hips and legs (lower body), or both (dresses). Face, hair, hands, shoes and other clothes stay. This
is what VITON-HD's `agnostic-mask` looks like, made from the geometry.
"""

import numpy as np

from leffa.synthetic.arrays import Mask, Pixels
from leffa.synthetic.body import SIGN, WRIST
from leffa.synthetic.labels import Category, Parsing
from leffa.synthetic.persons import Studio

# Round-ended bands as (ribbon, from, to, share of the body's half width, heads added).
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
_BANDS: dict[Category, tuple[_Band, ...]] = {
    "upper_body": _UPPER,
    "lower_body": _LOWER,
    "dresses": (*_UPPER, *_LOWER),
}
_ALWAYS = {Parsing.FACE, Parsing.HAIR, Parsing.LEFT_SHOE, Parsing.RIGHT_SHOE}
_LEGS = {Parsing.PANTS, Parsing.SKIRT, Parsing.LEFT_LEG, Parsing.RIGHT_LEG}
_KEPT: dict[Category, set[Parsing]] = {
    "upper_body": _ALWAYS | _LEGS,
    "lower_body": _ALWAYS | {Parsing.UPPER_CLOTHES, Parsing.LEFT_ARM, Parsing.RIGHT_ARM},
    "dresses": _ALWAYS,
}


def agnostic_mask(studio: Studio, parsing: Pixels, category: Category, worn: int) -> Mask:
    """(H, W) True where garment number `worn` of the outfit is to be generated."""
    mask = np.zeros(parsing.shape, bool)
    figure, scale = studio.figure, studio.painter.scale
    for name, start, end, share, added in _BANDS[category]:
        chart = studio.chart(name)
        if chart.s.size == 0:
            continue
        body = figure.widths(name, figure.body_profile(name))
        width = share * np.interp(chart.s, figure.ribbon(name).s, body) + added * scale
        beyond = np.maximum(start - chart.s, chart.s - end).clip(0) * scale
        mask[chart.rows, chart.columns] |= np.hypot(chart.offset, beyond) <= width
    kept = np.isin(parsing, [int(label) for label in _KEPT[category]]) | _hands(studio)
    return (mask | (parsing == studio.person.outfit[worn].garment.parsing)) & ~kept


def _hands(studio: Studio) -> Mask:
    """Where bare hands are seen."""
    painter = studio.painter
    arms = [painter.index_of(f"skin/arm_{side}") for side in SIGN]
    return np.isin(painter.owner, arms) & (painter.surface[..., 0] > WRIST + 0.05)
