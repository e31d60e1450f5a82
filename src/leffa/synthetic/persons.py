"""Persons: a body, a look and an outfit, painted in a pose."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leffa.synthetic.arrays import Floats, Pixels
from leffa.synthetic.body import ANKLE, SIGN, THIGH, TORSO, UPPER_ARM, WRIST, BodyShape, Side
from leffa.synthetic.figure import Figure
from leffa.synthetic.flatlay import FlatLay
from leffa.synthetic.garments import between, crotch
from leffa.synthetic.labels import Parsing, densepose
from leffa.synthetic.looks import HAIR_CAP, Look
from leffa.synthetic.painter import Layer, Painter
from leffa.synthetic.ribbon import Chart

# How far from its curve each ribbon is looked at, in heads: enough for loose clothes and the
# agnostic mask.
REACH = {
    "torso": 1.25,
    "skirt": 1.45,
    "neck": 0.5,
    "head": 0.5,
    "hair": 0.6,
    "arm": 0.46,
    "leg": 0.7,
    "strand": 0.25,
}


@dataclass(frozen=True)
class Person:
    """A body, its look, and what it wears, from the skin outwards."""

    shape: BodyShape
    look: Look
    outfit: tuple[FlatLay, ...]

    def tucked_at(self, index: int) -> float:
        """Where along the torso a garment disappears into the next one; infinity if it does not."""
        tucked = index + 1 < len(self.outfit) and self.outfit[index].garment.kind == "top"
        return self.outfit[index + 1].garment.waist + 0.1 if tucked else np.inf


class Studio:
    """One picture of one person: the figure, its charts (computed once each) and the painter."""

    def __init__(self, person: Person, figure: Figure, background: Floats) -> None:
        self.person = person
        self.figure = figure
        self.painter = Painter(background, figure.placement.scale)
        self._charts: dict[str, Chart] = {}

    def chart(self, ribbon: str) -> Chart:
        """The chart of one ribbon over the picture."""
        if ribbon not in self._charts:
            reach = REACH[ribbon.split("_")[0]] * self.painter.scale
            height, width = self.painter.image.shape[:2]
            self._charts[ribbon] = self.figure.ribbon(ribbon).locate(reach, (height, width))
        return self._charts[ribbon]

    def draw(self) -> Painter:
        """Paint the person, back to front."""
        arms = self.figure.pose.arms
        behind: list[Side] = [side for side in SIGN if not arms[side].front]
        front: list[Side] = [side for side in SIGN if arms[side].front]
        self._paint(self._back_hair())
        for side in behind:
            self._paint_arm(side)
        legs = self.figure.pose.legs
        for side in sorted(SIGN, key=lambda side: -legs[side].upper):
            self._paint(*self._leg(side), *self._cloth(f"leg_{side}"))
        self._paint(self._torso(), self._neck(), *self._cloth("skirt", "torso"))
        self._paint(*self._head(), *self._strands())
        for side in front:
            self._paint_arm(side)
        return self.painter

    def _paint(self, *layers: Layer) -> None:
        for layer in layers:
            self.painter.paint(layer, self.figure.ribbon(layer.ribbon), self.chart(layer.ribbon))

    def _paint_arm(self, side: Side) -> None:
        name = f"arm_{side}"
        skin = self._skin(name, Parsing.LEFT_ARM if side == "left" else Parsing.RIGHT_ARM)
        self.painter.cast_shadow(
            skin.half_width, self.figure.ribbon(name), self.chart(name), strength=0.12
        )
        self._paint(skin, *self._cloth(name))

    def _skin(self, ribbon: str, parsing: int) -> Layer:
        look = self.person.look
        half_width = self.figure.widths(ribbon, self.figure.body_profile(ribbon))
        kind = ribbon.partition("_")[0]
        colours = {"head": look.face_colour, "neck": look.neck_colour, "arm": look.hand_colour}
        colour = colours.get(kind, look.skin_colour)
        ends = crotch if kind == "torso" else between(-9, 9)
        name = f"skin/{ribbon}"
        return Layer(name, ribbon, half_width, ends, colour, parsing, shade=0.14, skin=True)

    def _torso(self) -> Layer:
        return self._skin("torso", Parsing.NECK)

    def _neck(self) -> Layer:
        return self._skin("neck", Parsing.NECK)

    def _leg(self, side: Side) -> Iterator[Layer]:
        left = side == "left"
        skin = self._skin(f"leg_{side}", Parsing.LEFT_LEG if left else Parsing.RIGHT_LEG)
        yield skin
        shoe = Parsing.LEFT_SHOE if left else Parsing.RIGHT_SHOE
        width = skin.half_width * 1.1
        yield Layer(
            f"shoe/{side}",
            skin.ribbon,
            width,
            between(ANKLE - 0.02, 9),
            self.person.look.shoe_colour,
            shoe,
            shade=0.2,
        )

    def _head(self) -> Iterator[Layer]:
        look = self.person.look
        yield self._skin("head", Parsing.FACE)
        width = self.figure.widths("head", HAIR_CAP)
        yield Layer(
            "hair/cap", "head", width, look.hair_edge, look.hair_colour, Parsing.HAIR, shade=0.25
        )

    def _back_hair(self) -> Layer:
        look = self.person.look
        width = self.figure.widths("hair", look.back_hair)
        return Layer(
            "hair/back",
            "hair",
            width,
            between(-1, look.back_hair_length),
            look.hair_colour,
            Parsing.HAIR,
            shade=0.3,
        )

    def _strands(self) -> Iterator[Layer]:
        look = self.person.look
        for side, length in zip(SIGN, look.strands, strict=True):
            if length > 0:
                taper = (
                    (0.0, 0.05),
                    (0.1, 0.11),
                    (0.4, 0.15),
                    (length - 0.3, 0.17),
                    (length, 0.06),
                    (length + 0.03, 0.0),
                )
                ribbon = f"strand_{side}"
                width = self.figure.widths(ribbon, taper)
                yield Layer(
                    f"hair/{side}",
                    ribbon,
                    width,
                    between(0, length),
                    look.hair_colour,
                    Parsing.HAIR,
                    shade=0.25,
                )

    def _cloth(self, *ribbons: str) -> Iterator[Layer]:
        """The pieces of the outfit on these ribbons, inner garments first."""
        for garment_index, lay in enumerate(self.person.outfit):
            for index, piece in enumerate(lay.garment.pieces):
                if piece.ribbon in ribbons:
                    yield self._piece(garment_index, index)

    def _piece(self, garment_index: int, index: int) -> Layer:
        lay = self.person.outfit[garment_index]
        piece = lay.garment.pieces[index]
        end = self.person.tucked_at(garment_index) if piece.ribbon == "torso" else np.inf

        def colour(s: Floats, u: Floats) -> Floats:
            folds = 1 + 0.012 * np.sin(5.0 * s + 4.0 * u) + 0.012 * np.sin(2.3 * s - 7.0 * u)
            return lay.colour(index, s, u) * folds[..., None].astype(np.float32)

        def edge(s: Floats, u: Floats) -> Floats:
            return np.maximum(piece.edge(s, u), s - end)

        name, half_width = cloth_name(garment_index, index), piece.half_width(self.figure)
        return Layer(name, piece.ribbon, half_width, edge, colour, lay.garment.parsing)


def cloth_name(garment_index: int, piece: int) -> str:
    """The name of the layer of one piece of one garment of the outfit."""
    return f"cloth{garment_index}/{piece}"


# Where the first DensePose part of a ribbon begins, its second, and hand or foot; heads.
_PARTS = {
    "torso": (0.0, 0.0, TORSO),
    "neck": (-0.25, 0.0, 1.24),
    "head": (-0.49, 0.0, 1.0),
    "arm": (-0.26, UPPER_ARM, WRIST),
    "leg": (-0.42, THIGH, ANKLE),
}


def body_map(painter: Painter) -> Pixels:
    """(H, W, 3) DensePose part 0..24, U, V of the body under the clothes; 0 on the background."""
    iuv = np.zeros((*painter.body_owner.shape, 3), np.uint8)
    for index, layer in enumerate(painter.layers):
        if layer.skin:
            seen = painter.body_owner == index
            s, u = painter.body_surface[seen].T
            iuv[seen] = densepose(layer.ribbon, s, u, _PARTS[layer.ribbon.split("_")[0]])
    return iuv
