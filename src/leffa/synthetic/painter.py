"""Painting surfaces back to front, and remembering for every pixel which surface point it shows."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from leffa.synthetic.raster import Floats, Pixels, coverage
from leffa.synthetic.ribbon import Chart, Ribbon

Colour = Callable[[Floats, Floats], Floats]  # surface points (N,), (N,) -> (N, 3) in [0, 1]

PURE = 0.98  # from this share on, a pixel shows one surface alone


@dataclass(frozen=True)
class Layer:
    """One surface to paint: skin, hair or a piece of cloth on a ribbon."""

    name: str
    ribbon: str
    half_width: Floats  # (K,) pixels at the ribbon's knots
    edge: Callable[[Floats, Floats], Floats]  # (s, u) -> heads outside
    colour: Colour
    parsing: int
    shade: float = 0.05  # darkening toward the outline
    skin: bool = False  # body surface: also drawn on the IUV map, where clothes are transparent


@dataclass
class Painter:
    """An image in the making; arrays are (H, W) unless said otherwise."""

    image: Floats  # (H, W, 3) in [0, 1]
    scale: float  # pixels per head
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        self.owner = np.full(size, -1, np.int16)  # index of the layer seen
        self.purity = np.ones(size, np.float32)  # share of the pixel that its owner fills
        self.surface = np.zeros((*size, 2), np.float32)  # (s, u) on the owner
        # The same for the body alone, as if undressed.
        self.body_owner = np.full(size, -1, np.int16)
        self.body_surface = np.zeros((*size, 2), np.float32)

    def paint(self, layer: Layer, ribbon: Ribbon, chart: Chart) -> None:
        self.layers.append(layer)
        if min(chart.s.shape) < 2:
            return
        box = (chart.rows, chart.columns)
        outside, t = ribbon.outside(chart, layer.half_width, self.scale)
        u = ribbon.unroll(t)
        cover = coverage(np.maximum(outside, layer.edge(chart.s, u) * self.scale))
        seen, owned = cover > 0, cover >= 0.5
        light = 1 + 0.2 * layer.shade - layer.shade * t[seen].clip(-1, 1) ** 2
        rgb = layer.colour(chart.s[seen], u[seen]) * light[:, None]
        image, purity = self.image[box], self.purity[box]
        image[seen] += cover[seen][:, None] * (rgb - image[seen])
        purity[seen] *= 1 - cover[seen]
        purity[owned] = cover[owned]
        index, surface = len(self.layers) - 1, np.stack([chart.s[owned], u[owned]], axis=-1)
        self.owner[box][owned] = index
        self.surface[box][owned] = surface
        if layer.skin:
            self.body_owner[box][owned] = index
            self.body_surface[box][owned] = surface

    def cast_shadow(
        self, half_width: Floats, ribbon: Ribbon, chart: Chart, strength: float
    ) -> None:
        """Darken softly what lies around a ribbon that will be painted next."""
        if min(chart.s.shape) < 2:
            return
        width = np.interp(chart.s, ribbon.s, half_width)
        beyond = np.maximum(np.abs(chart.offset) - width, 0) / (0.07 * self.scale)
        end = np.maximum(ribbon.s[0] + 0.5 - chart.s, chart.s - ribbon.s[-1]).clip(0) / 0.1
        dark = strength * np.exp(-(beyond**2) - end**2)
        self.image[chart.rows, chart.columns] *= (1 - dark)[..., None].astype(np.float32)

    def index_of(self, name: str) -> int:
        """The number by which `owner` knows a layer, painted or not yet in sight."""
        return next(index for index, layer in enumerate(self.layers) if layer.name == name)

    def parsing(self) -> Pixels:
        """(H, W) label of the layer seen, 0 on the background."""
        labels = np.array([layer.parsing for layer in self.layers] + [0], dtype=np.uint8)
        return labels[self.owner]  # -1 is the last: background
