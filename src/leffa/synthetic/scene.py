"""Persons, and scenes: one person, posed and painted, with every surface still known."""

from dataclasses import dataclass

import numpy as np

from leffa.synthetic.body import ANKLE, SIGN, BodyShape
from leffa.synthetic.figure import Figure
from leffa.synthetic.flatlay import FlatLay
from leffa.synthetic.garments import Edge, between, crotch
from leffa.synthetic.labels import Parsing
from leffa.synthetic.looks import BACK_HAIR, HAIR_CAP, Look
from leffa.synthetic.painter import Layer, Painter
from leffa.synthetic.raster import Floats
from leffa.synthetic.ribbon import Chart, Profile

# How far from its curve each ribbon is looked at, in heads: enough for loose clothes and the
# agnostic mask.
REACH = {
    **{"torso": 1.25, "skirt": 1.45, "neck": 0.5, "head": 0.5},
    **{"hair": 0.6, "arm": 0.46, "leg": 0.7, "strand": 0.25},
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


class Scene:
    """One person before a background: the figure, its charts (computed once each), the painter."""

    def __init__(self, person: Person, figure: Figure, background: Floats) -> None:
        self.person = person
        self.figure = figure
        self.painter = Painter(background, figure.placement.scale)
        self._charts: dict[str, Chart] = {}

    def chart(self, ribbon: str) -> Chart:
        """The chart of one ribbon over the image."""
        if ribbon not in self._charts:
            reach = REACH[ribbon.split("_")[0]] * self.painter.scale
            height, width = self.painter.image.shape[:2]
            self._charts[ribbon] = self.figure.ribbon(ribbon).locate(reach, (height, width))
        return self._charts[ribbon]

    def paint(self) -> None:
        """Paint the person, back to front."""
        look, pose = self.person.look, self.figure.pose
        profile, end = BACK_HAIR[look.hair_style]
        self._paint_hair("hair/back", "hair", profile, between(-1, end), shade=0.3)
        for side in SIGN:
            if not pose.arms[side].front:
                self._paint_arm(side)
        for side in sorted(SIGN, key=lambda side: -pose.legs[side].upper):
            self._paint_leg(side)
        self._paint(self._skin("torso", Parsing.NECK))
        self._paint(self._skin("neck", Parsing.NECK))
        self._paint_cloth("skirt", "torso")
        self._paint(self._skin("head", Parsing.FACE))
        self._paint_hair("hair/cap", "head", HAIR_CAP, look.hair_edge)
        self._paint_strands()
        for side in SIGN:
            if pose.arms[side].front:
                self._paint_arm(side)

    def _paint(self, layer: Layer) -> None:
        self.painter.paint(layer, self.figure.ribbon(layer.ribbon), self.chart(layer.ribbon))

    def _skin(self, ribbon: str, parsing: Parsing) -> Layer:
        look, kind = self.person.look, ribbon.partition("_")[0]
        colours = {"head": look.face_colour, "neck": look.neck_colour, "arm": look.hand_colour}
        colour = colours.get(kind, look.skin_colour)
        name, width = f"skin/{ribbon}", self.figure.widths(ribbon)
        ends = crotch if kind == "torso" else between(-9, 9)
        return Layer(name, ribbon, width, ends, colour, parsing, shade=0.14, skin=True)

    def _paint_arm(self, side: str) -> None:
        name = f"arm_{side}"
        skin = self._skin(name, Parsing.LEFT_ARM if side == "left" else Parsing.RIGHT_ARM)
        ribbon, chart = self.figure.ribbon(name), self.chart(name)
        self.painter.cast_shadow(skin.half_width, ribbon, chart, strength=0.12)
        self._paint(skin)
        self._paint_cloth(name)

    def _paint_leg(self, side: str) -> None:
        name, left = f"leg_{side}", side == "left"
        skin = self._skin(name, Parsing.LEFT_LEG if left else Parsing.RIGHT_LEG)
        self._paint(skin)
        width, ends = skin.half_width * 1.1, between(ANKLE - 0.02, 9)
        colour = self.person.look.shoe_colour
        label = Parsing.LEFT_SHOE if left else Parsing.RIGHT_SHOE
        self._paint(Layer(f"shoe/{side}", name, width, ends, colour, label, shade=0.2))
        self._paint_cloth(name)

    def _paint_hair(
        self, name: str, ribbon: str, profile: Profile, edge: Edge, shade: float = 0.25
    ) -> None:
        width, colour = self.figure.widths(ribbon, profile), self.person.look.hair_colour
        self._paint(Layer(name, ribbon, width, edge, colour, Parsing.HAIR, shade))

    def _paint_strands(self) -> None:
        """Long hair in front of the shoulders."""
        for side, length in zip(SIGN, self.person.look.strands, strict=True):
            if length > 0:
                taper = [(0.0, 0.05), (0.1, 0.11), (0.4, 0.15), (length - 0.3, 0.17)]
                taper += [(length, 0.06), (length + 0.03, 0.0)]
                self._paint_hair(f"hair/{side}", f"strand_{side}", taper, between(0, length))

    def _paint_cloth(self, *ribbons: str) -> None:
        """The pieces of the outfit on these ribbons, inner garments first."""
        for number, lay in enumerate(self.person.outfit):
            for index, piece in enumerate(lay.garment.pieces):
                if piece.ribbon in ribbons:
                    self._paint(self._piece(number, index))

    def _piece(self, number: int, index: int) -> Layer:
        lay = self.person.outfit[number]
        piece = lay.garment.pieces[index]
        end = self.person.tucked_at(number) if piece.ribbon == "torso" else np.inf

        def colour(s: Floats, u: Floats) -> Floats:
            folds = 1 + 0.012 * np.sin(5.0 * s + 4.0 * u) + 0.012 * np.sin(2.3 * s - 7.0 * u)
            return lay.colour(index, s, u) * folds[..., None].astype(np.float32)

        def edge(s: Floats, u: Floats) -> Floats:
            return np.maximum(piece.edge(s, u), s - end)

        name, half_width = cloth_name(number, index), piece.half_width(self.figure)
        return Layer(name, piece.ribbon, half_width, edge, colour, lay.garment.parsing)


def cloth_name(garment: int, piece: int) -> str:
    """The name of the layer of one piece of one garment of the outfit."""
    return f"cloth{garment}/{piece}"
