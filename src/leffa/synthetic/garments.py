"""Garments: pieces of cloth on the body's ribbons, and how each kind is cut.

A piece is cut out of the surface of one ribbon by an edge function of (s, u): the same function on
the wearer and on the table, so neckline, hem and cuffs stay on the same threads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from leffa.synthetic.body import HIPS, SIGN, TORSO, TORSO_WIDTH, WAIST
from leffa.synthetic.fabric import Fabric, draw_fabric, draw_plain_fabric
from leffa.synthetic.figure import Figure
from leffa.synthetic.labels import Parsing
from leffa.synthetic.raster import Floats
from leffa.synthetic.ribbon import Profile

Kind = Literal["top", "trousers", "shorts", "skirt", "dress"]
Edge = Callable[[Floats, Floats], Floats]  # (s, u) -> heads beyond the edge; > 0 off the cloth

# The CIHP label, and where a logo goes, in heads from the pit of the neck on the flat garment.
_KINDS: dict[Kind, tuple[Parsing, tuple[float, float]]] = {
    "top": (Parsing.UPPER_CLOTHES, (0.0, 1.15)),
    "trousers": (Parsing.PANTS, (0.47, 3.35)),
    "shorts": (Parsing.PANTS, (0.44, 2.95)),
    "skirt": (Parsing.SKIRT, (0.0, 2.75)),
    "dress": (Parsing.DRESS, (0.0, 1.12)),
}


@dataclass(frozen=True)
class Piece:
    """Cloth around one ribbon, `ease` (heads, by place) wider than the body, cut by `edge`.

    `hem` is the part of the edge that a trim is sewn to.
    """

    ribbon: str
    ease: Profile
    edge: Edge
    hem: Edge

    def half_width(self, figure: Figure) -> Floats:
        """(K,) pixels at the ribbon's knots."""
        places, eases = zip(*self.ease, strict=True)
        profile = [
            (s, w + float(np.interp(s, places, eases)) * (w > 0))
            for s, w in figure.body_profile(self.ribbon)
        ]
        return figure.widths(self.ribbon, profile)


@dataclass(frozen=True)
class Garment:
    """Pieces in painting order, their fabric, and how the garment is laid flat."""

    kind: Kind
    pieces: tuple[Piece, ...]
    fabric: Fabric
    trim: Floats  # colour of a band along the hems
    trim_width: float  # heads; 0: no band
    sleeve_angle: float  # degrees from straight down, laid flat
    waist: float  # where the waistband sits along the torso
    fill: float  # share of the flat image that it fills
    shift: tuple[float, float]  # from the middle, in shares of the free space

    @property
    def parsing(self) -> Parsing:
        """The CIHP label of this garment."""
        return _KINDS[self.kind][0]


class _Cut(NamedTuple):
    pieces: tuple[Piece, ...]
    sleeve_angle: float = 30.0
    waist: float = WAIST


def draw_garment(rng: Generator, kind: Kind, plain: bool = False) -> Garment:
    """A random garment; `plain` asks for a quiet one."""
    cut = _cut(kind, rng)
    fabric = draw_plain_fabric(rng) if plain else draw_fabric(rng, stamped_at=_KINDS[kind][1])
    return Garment(
        kind=kind,
        pieces=cut.pieces,
        fabric=fabric,
        trim=fabric.accent,
        trim_width=0.07 if rng.random() < 0.5 else 0.0,
        sleeve_angle=cut.sleeve_angle,
        waist=cut.waist,
        fill=rng.uniform(0.82, 0.93),
        shift=(rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4)),
    )


def _cut(kind: Kind, rng: Generator) -> _Cut:
    match kind:
        case "top":
            return _cut_top(rng)
        case "trousers":
            return _cut_trousers(rng, length=rng.uniform(3.1, 3.5), flare=rng.uniform(0.0, 0.16))
        case "shorts":
            return _cut_trousers(rng, length=rng.uniform(0.7, 1.4), flare=rng.uniform(0.02, 0.16))
        case "skirt":
            top = rng.uniform(-0.05, 0.15)
            return _Cut((_cut_skirt(rng, top),), waist=WAIST + top)
        case "dress":
            return _cut_dress(rng)


def _cut_top(rng: Generator) -> _Cut:
    sleeves, angle = _cut_sleeves(rng)
    ease, flare = rng.uniform(0.02, 0.06), rng.uniform(0.0, 0.1)
    neck, end = _neckline(rng), rng.uniform(2.0, 2.62)
    loose = ((0, 0.02), (0.3, ease), (WAIST, ease + 0.5 * flare), (TORSO, ease + flare))
    edge = _bodice(neck, end, sleeveless=not sleeves)
    return _Cut((Piece("torso", loose, edge, edge), *sleeves), angle)


def _cut_trousers(rng: Generator, length: float, flare: float) -> _Cut:
    ease = rng.uniform(0.015, 0.05)
    waist = rng.uniform(WAIST - 0.05, WAIST + 0.25)
    cuff = between(-1, length)
    legs = [
        Piece(f"leg_{side}", ((-0.4, ease), (0.3, ease), (3.6, ease + flare)), cuff, cuff)
        for side in SIGN
    ]
    seat = Piece(
        "torso",
        ease=((1.5, 0.02), (2.2, ease), (2.8, ease)),
        # A little longer than the skin, which must not shine through the seam.
        edge=lambda s, u: np.maximum(waist - s, crotch(s, u) - 0.04),
        hem=lambda s, u: waist - s,
    )
    return _Cut((*legs, seat), waist=waist)


def _cut_skirt(rng: Generator, top: float) -> Piece:
    end, flare = rng.uniform(1.75, 3.5), rng.uniform(0.0, 0.35)
    edge = between(top, end)
    return Piece("skirt", ((-0.2, 0.02), (0.3, 0.03), (0.9, 0.04), (3.0, 0.06 + flare)), edge, edge)


def _cut_dress(rng: Generator) -> _Cut:
    sleeves, angle = _cut_sleeves(rng)
    ease = rng.uniform(0.02, 0.04)
    edge = _bodice(_neckline(rng), WAIST + 0.06, sleeveless=not sleeves)
    bodice = Piece("torso", ((0, 0.02), (0.3, ease), (1.8, ease)), edge, edge)
    return _Cut((_cut_skirt(rng, top=-0.02), bodice, *sleeves), angle)


def _cut_sleeves(rng: Generator) -> tuple[tuple[Piece, ...], float]:
    """The sleeves, if any, and the angle at which they are laid flat."""
    kind = rng.choice(["none", "short", "long"], p=[0.2, 0.45, 0.35])
    if kind == "none":
        return (), 30.0
    if kind == "short":
        length, ease, flare, angle = rng.uniform((0.5, 0.03, 0.0, 35), (1.1, 0.06, 0.1, 45))
    else:
        length, ease, flare, angle = rng.uniform((2.0, 0.025, 0.0, 24), (2.36, 0.05, 0.06, 34))
    loose = ((-0.2, ease), (0.3, ease), (2.4, ease + flare))
    cuff = between(-1, float(length))
    return tuple(Piece(f"arm_{side}", loose, cuff, cuff) for side in SIGN), float(angle)


def _bodice(neck: Edge, end: float, sleeveless: bool) -> Edge:
    def edge(s: Floats, u: Floats) -> Floats:
        cut = np.maximum(neck(s, u), s - end - 0.04 * u**2)
        return np.maximum(cut, _armholes(s, u)) if sleeveless else cut

    return edge


def _neckline(rng: Generator) -> Edge:
    depth, width = rng.uniform(0.9, 1.15, size=2)
    shapes: dict[str, Edge] = {
        "crew": lambda s, u: _ellipse(_lateral(s, u), s + 0.03, 0.31 * width, 0.24 * depth),
        "scoop": lambda s, u: _ellipse(_lateral(s, u), s + 0.03, 0.42 * width, 0.52 * depth),
        "boat": lambda s, u: _ellipse(_lateral(s, u), s + 0.03, 0.56 * width, 0.22 * depth),
        "vee": lambda s, u: (
            0.28 * (1 - np.abs(_lateral(s, u)) / (0.36 * width) - s / (0.72 * depth))
        ),
        "square": lambda s, u: np.minimum(0.42 * width - np.abs(_lateral(s, u)), 0.42 * depth - s),
    }
    return shapes[str(rng.choice(list(shapes), p=[0.4, 0.15, 0.1, 0.25, 0.1]))]


def _armholes(s: Floats, u: Floats) -> Floats:
    """How far inside the armholes of a sleeveless top."""
    return _ellipse(np.abs(_lateral(s, u)) - 0.98, s - 0.36, 0.40, 0.52)


def between(start: float, end: float) -> Edge:
    """Cloth (or skin) from `start` to `end` along the ribbon."""
    return lambda s, u: np.maximum(start - s, s - end)


def crotch(s: Floats, u: Floats) -> Floats:
    """The lower end of the torso, round between the legs."""
    return s - (HIPS + (TORSO - HIPS) * (1 - u**2))


def _lateral(s: Floats, u: Floats) -> Floats:
    """Heads from the middle line of the standard torso."""
    places, widths = zip(*TORSO_WIDTH, strict=True)
    return u * np.interp(s, places, widths)


def _ellipse(x: Floats, y: Floats, a: float, b: float) -> Floats:
    """About how far (heads) inside an ellipse around the origin."""
    return (1 - np.hypot(x / a, y / b)) * min(a, b)
