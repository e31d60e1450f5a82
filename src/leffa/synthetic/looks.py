"""What a person looks like: skin, hair, face, shoes; as colours of surface points."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from leffa.synthetic.raster import Floats
from leffa.synthetic.ribbon import Profile

_SKIN = (
    (0.97, 0.83, 0.74), (0.93, 0.75, 0.62), (0.85, 0.64, 0.48), (0.72, 0.51, 0.36),
    (0.54, 0.36, 0.25), (0.38, 0.25, 0.18),
)  # fmt: skip
_HAIR = (
    (0.10, 0.08, 0.08), (0.24, 0.15, 0.10), (0.42, 0.26, 0.15), (0.66, 0.46, 0.26),
    (0.85, 0.69, 0.42), (0.56, 0.22, 0.12), (0.62, 0.60, 0.58),
)  # fmt: skip
_EYES = ((0.24, 0.14, 0.08), (0.36, 0.26, 0.12), (0.18, 0.36, 0.30), (0.22, 0.38, 0.58))

# The hair behind head and neck: half widths by place (heads from the crown down), where it ends.
BACK_HAIR: dict[str, tuple[Profile, float]] = {
    "short": (((0.0, 0.0), (0.04, 0.2), (0.2, 0.37), (0.5, 0.40), (0.75, 0.36), (0.85, 0.3)), 0.8),
    "bob": ((
        (0.0, 0.0), (0.04, 0.2), (0.2, 0.38), (0.5, 0.44), (1.0, 0.50), (1.3, 0.47), (1.4, 0.42),
    ), 1.36),
    "long": ((
        (0.0, 0.0), (0.04, 0.2), (0.2, 0.38), (0.5, 0.44), (1.0, 0.46), (1.6, 0.52), (2.3, 0.46),
        (2.6, 0.3),
    ), 2.5),
    "bun": ((
        (-0.28, 0.0), (-0.25, 0.09), (-0.14, 0.17), (-0.02, 0.15), (0.05, 0.2), (0.2, 0.37),
        (0.5, 0.39), (0.8, 0.3),
    ), 0.7),
}  # fmt: skip
HAIR_CAP: Profile = (
    (0.0, 0.30), (0.3, 0.385), (0.5, 0.415), (0.68, 0.42), (0.82, 0.385), (0.93, 0.31),
    (0.98, 0.24), (1.02, 0.16), (1.04, 0.09), (1.045, 0.0),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colours and hair of a person."""

    skin: Floats
    hair: Floats
    eyes: Floats
    lips: Floats
    shoes: Floats
    hair_style: str
    parting: float  # where the hairline is highest, in u
    hairline: float  # how high, in heads from the chin
    sides: float  # how far it falls at the sides
    strands: tuple[float, float]  # heads of long hair in front of right and left shoulder; 0: none
    smile: float

    def hair_edge(self, s: Floats, u: Floats) -> Floats:
        """How far below the hairline a point of the head is."""
        return self.hairline - self.sides * np.abs(u - self.parting) ** 1.6 - s

    def skin_colour(self, s: Floats, u: Floats) -> Floats:
        """Bare skin, a little warmer and darker from place to place."""
        wave = 0.02 * np.sin(2.1 * s + 1.3 * u)
        return (self.skin * (1 + wave[..., None] * np.array([1.0, 1.4, 1.6]))).astype(np.float32)

    def hand_colour(self, s: Floats, u: Floats) -> Floats:
        """Skin of an arm, with lines between the fingers."""
        rgb = self.skin_colour(s, u)
        fingers = np.maximum.reduce([_blob(u, s, at, 2.92, 0.06, 0.17) for at in (-0.5, 0.0, 0.5)])
        return rgb * (1 - 0.22 * fingers[..., None])

    def face_colour(self, s: Floats, u: Floats) -> Floats:
        """Skin of the head with eyes, brows, nose and mouth."""
        rgb = self.skin_colour(s, u)
        for side in (-1.0, 1.0):
            eye = 0.36 * side
            lid = 0.522 - 0.4 * (np.abs(u) - 0.36) ** 2
            brow = 0.60 - 0.6 * (np.abs(u) - 0.33) ** 2
            cheek = self.skin * np.array([1.05, 0.78, 0.74])
            _lay(rgb, 0.22 * _soft(s, u, 0.31, 0.52 * side, 0.16, 0.3), cheek)
            _lay(rgb, 0.25 * _soft(s, u, 0.50, eye, 0.09, 0.24), self.skin * 0.72)
            _lay(rgb, _blob(s, u, 0.485, eye, 0.036, 0.155), np.array([0.97, 0.96, 0.95]))
            _lay(rgb, _blob(s, u, 0.485, eye, 0.040, 0.075), self.eyes)
            _lay(rgb, _blob(s, u, lid, eye, 0.016, 0.18), self.hair * 0.35)
            _lay(rgb, 0.85 * _blob(s, u, brow, eye, 0.022, 0.2), self.hair * 0.7)
        _lay(rgb, 0.35 * _soft(s, u, 0.40, 0.10, 0.12, 0.05), self.skin * 0.70)
        _lay(rgb, 0.55 * _blob(s, u, 0.318, 0.0, 0.022, 0.12), self.skin * 0.62)
        curve = self.smile * u**2
        _lay(rgb, _blob(s, u, 0.20 + curve, 0.0, 0.044, 0.25), self.lips)
        _lay(rgb, 0.8 * _blob(s, u, 0.203 + curve, 0.0, 0.010, 0.24), self.lips * 0.55)
        return rgb

    def neck_colour(self, s: Floats, u: Floats) -> Floats:
        """Skin of the neck, in the shadow of the chin."""
        shadow = 0.20 * np.clip((s - 0.02) / 0.2, 0, 1)
        return self.skin_colour(s, u) * (1 - shadow[..., None])

    def hair_colour(self, s: Floats, u: Floats) -> Floats:
        """Strands of lighter and darker hair."""
        strands = 0.10 * np.sin(13 * u + 1.5 * np.sin(2 * s)) + 0.07 * np.sin(29 * u + 3 * s)
        return (self.hair * (1 + strands[..., None]) + 0.03).astype(np.float32)

    def shoe_colour(self, s: Floats, u: Floats) -> Floats:
        """Leather with a lighter sole."""
        return (self.shoes * (1 - 0.15 * np.cos(9 * s))[..., None]).astype(np.float32)


def _blob(s: Floats, u: Floats, s0: float | Floats, u0: float, rs: float, ru: float) -> Floats:
    """1 inside an ellipse on the surface, 0 outside, with an edge about 0.02 heads wide."""
    inside = 1 - np.hypot((s - s0) / rs, (u - u0) / ru)
    return (0.5 + inside * min(rs, 0.35 * ru) / 0.02).clip(0, 1).astype(np.float32)


def _soft(s: Floats, u: Floats, s0: float, u0: float, rs: float, ru: float) -> Floats:
    return np.exp(-(((s - s0) / rs) ** 2) - ((u - u0) / ru) ** 2).astype(np.float32)


def _lay(rgb: Floats, cover: Floats, colour: Floats) -> None:
    rgb += cover[..., None] * (colour - rgb)


def draw_look(rng: Generator) -> Look:
    skin = np.array(_SKIN[rng.integers(len(_SKIN))]) * rng.uniform(0.95, 1.04)
    style = str(rng.choice(["short", "bob", "long", "bun"], p=[0.3, 0.2, 0.35, 0.15]))
    in_front = rng.random(2) < 0.45 if style == "long" else np.zeros(2, bool)
    lengths = np.where(in_front, rng.uniform(0.7, 1.5, size=2), 0.0)
    return Look(
        skin=skin.clip(0, 1),
        hair=np.array(_HAIR[rng.integers(len(_HAIR))]) * rng.uniform(0.85, 1.1),
        eyes=np.array(_EYES[rng.integers(len(_EYES))]),
        lips=skin * np.array([0.92, 0.52, 0.52]) * rng.uniform(0.85, 1.0),
        shoes=rng.uniform(0.08, 0.75) * (0.6 + 0.4 * rng.random(3)),
        hair_style=style,
        parting=rng.uniform(-0.45, 0.45),
        hairline=rng.uniform(0.76, 0.84),
        sides=rng.uniform(0.18, 0.3) if style == "short" else rng.uniform(0.3, 0.5),
        strands=(float(lengths[0]), float(lengths[1])),
        smile=rng.uniform(0.0, 0.5),
    )
