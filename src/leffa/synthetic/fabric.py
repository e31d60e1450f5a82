"""Fabrics: what a garment is coloured with.

Correspondence must be learnable from colour alone, so every fabric varies slowly over the whole
garment: three in four are dyed in strong colours that run into each other, the others mix a few
colours along one field, light and dark along another. On top of that, two in five carry fine
detail: stripes, checks, dots, a logo or a word. Fabrics are defined in heads, so the same fabric
can be painted at any resolution.
"""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from leffa.synthetic.raster import Floats, Pixels

Base = Callable[[Floats, Floats], Floats]  # x (1, W) and y (H, 1) -> colours (H, W, 3)
Field = Callable[[Floats, Floats], Floats]  # x (1, W) and y (H, 1) -> values (H, W)
LETTERS = "ABCDEFGHJKLMNOPRSTUVXYZ"


@dataclass(frozen=True)
class Stamp:
    """A logo or a word: a (h, w) stencil, and its place in heads from the neck."""

    stencil: Pixels
    x: float
    y: float
    width: float
    degrees: float


@dataclass(frozen=True)
class Fabric:
    """Slowly varying colours, and a pattern or a stamp in the accent colour."""

    base: Base  # over the garment, x and y in [-1, 1]
    accent: Floats
    pattern: Field | None = None  # x and y in heads -> signed distance into the pattern, heads
    strength: float = 0.0
    stamp: Stamp | None = None

    @property
    def detailed(self) -> bool:
        """Whether there is more on it than slowly varying colour."""
        return self.pattern is not None or self.stamp is not None

    def paint(
        self,
        size: tuple[int, int],
        scale: float,
        neck: tuple[float, float],
        middle: tuple[float, float],
        extent: tuple[float, float],
    ) -> Floats:
        """The fabric as an image, (H, W, 3) in [0, 1].

        `size` is (H, W) and `scale` the pixels of one head; `neck` and `middle` are the places
        (x, y) of the pit of the neck and of the garment's middle in pixels, and `extent` is half
        the garment's width and height in heads.
        """
        x = ((np.arange(size[1], dtype=np.float32) - neck[0]) / scale)[None, :]
        y = ((np.arange(size[0], dtype=np.float32) - neck[1]) / scale)[:, None]
        across = (x + (neck[0] - middle[0]) / scale) / extent[0]
        along = (y + (neck[1] - middle[1]) / scale) / extent[1]
        picture = self.base(across, along)
        if self.pattern is not None:
            # Edges one pixel wide: the pattern gives signed distances in heads.
            cover = (0.5 + self.pattern(x, y) * scale).clip(0, 1)[..., None] * self.strength
            picture += cover * (self.accent - picture)
        if self.stamp is not None:
            _press(picture, self.stamp, self.accent, scale, neck)
        return picture.clip(0, 1)


def _press(
    picture: Floats, stamp: Stamp, colour: Floats, scale: float, neck: tuple[float, float]
) -> None:
    """Print a stamp on the image, in place, cut at its frame."""
    rows, columns = stamp.stencil.shape
    width = max(2, round(stamp.width * scale))
    stencil = Image.fromarray(stamp.stencil).resize(
        (width, max(2, round(width * rows / columns))), Image.Resampling.BOX
    )
    turned = stencil.rotate(stamp.degrees, Image.Resampling.BICUBIC, expand=True)
    cover = np.asarray(turned, dtype=np.float32) / 255
    left = round(neck[0] + stamp.x * scale - cover.shape[1] / 2)
    top = round(neck[1] + stamp.y * scale - cover.shape[0] / 2)
    y0, x0 = max(top, 0), max(left, 0)
    window = picture[y0 : max(top + cover.shape[0], 0), x0 : max(left + cover.shape[1], 0)]
    cover = cover[y0 - top :, x0 - left :][: window.shape[0], : window.shape[1], None]
    window += cover * (colour - window)


def draw_fabric(rng: Generator, stamped_at: tuple[float, float]) -> Fabric:
    """A random fabric; `stamped_at`: where a logo goes, in heads from the pit of the neck."""
    detailed = rng.random() < 2 / 5
    colours = _dye_colours(rng) if rng.random() < 3 / 4 else _few_colours(rng)
    base = _dyed(colours) if colours.ndim == 3 else _mixed(colours, rng, rng.uniform(0.08, 0.22))
    fabric = Fabric(base, accent=_accent(colours.reshape(-1, 3).mean(axis=0), rng))
    return _with_detail(fabric, rng, stamped_at) if detailed else fabric


def draw_plain_fabric(rng: Generator) -> Fabric:
    """A quiet fabric for what is worn beside the garment in question."""
    value = rng.uniform(0.12, 0.85)
    base = np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.05, 0.5), value))
    colours = np.stack([base, base * rng.uniform(0.75, 0.95)])
    mixed = _mixed(colours.astype(np.float32), rng, contrast=0.06)
    return Fabric(mixed, accent=base.astype(np.float32))


def _dye_colours(rng: Generator) -> Floats:
    """(rows, columns, 3) of strong colours: hues spread evenly, light beside dark.

    Few and large patches: a photometric loss finds its way over about the size of a patch.
    """
    rows, columns = [(2, 2), (3, 2), (3, 3)][rng.choice(3, p=[0.25, 0.5, 0.25])]
    hues = rng.permutation(np.linspace(0, 1, rows * columns, endpoint=False)) + rng.random()
    values = rng.permutation(np.linspace(0.25, 1.0, rows * columns))
    cells = [
        colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.5, 1.0), value)
        for hue, value in zip(hues, values, strict=True)
    ]
    return np.array(cells, dtype=np.float32).reshape(rows, columns, 3)


def _dyed(grid: Floats) -> Base:
    """A grid (rows, columns, 3) of colours that run into each other."""

    def base(x: Floats, y: Floats) -> Floats:
        rows, columns = _hats(y.ravel(), grid.shape[0]), _hats(x.ravel(), grid.shape[1])
        return np.einsum("hr,rcd,wc->hwd", rows, grid, columns, optimize=True)

    return base


def _few_colours(rng: Generator) -> Floats:
    """(2 or 3, 3) colours of different hues."""
    hue = rng.random()
    hues = [hue, hue + rng.uniform(0.15, 0.85), hue + rng.uniform(-0.1, 0.5)]
    colours = [
        colorsys.hsv_to_rgb(each % 1.0, rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.95))
        for each in hues[: rng.integers(2, 4)]
    ]
    return np.array(colours, dtype=np.float32)


def _mixed(colours: Floats, rng: Generator, contrast: float) -> Base:
    """Colours (N, 3) that follow each other along one field, light and dark along another."""
    mix, tone = _draw_field(rng), _noise(rng, (4, 3))

    def base(x: Floats, y: Floats) -> Floats:
        place = mix(x, y).clip(0, 1) * (len(colours) - 1)
        picture = np.broadcast_to(colours[0], (*place.shape, 3)).copy()
        for stop, (before, after) in enumerate(pairwise(colours)):
            picture += (place - stop).clip(0, 1)[..., None] * (after - before)
        return picture * (1 + contrast * (2 * tone(x, y)[..., None] - 1))

    return base


def _accent(background: NDArray[np.float64], rng: Generator) -> Floats:
    """A colour that stands out: light on dark, dark on light."""
    light = background.mean() < 0.52
    hue, saturation = rng.random(), rng.uniform(0.0, 0.35)
    value = 0.97 if light else rng.uniform(0.08, 0.3)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), dtype=np.float32)


def _draw_field(rng: Generator) -> Field:
    """How the colours follow each other over the garment."""
    kinds = ["gradient", "noise", "ombre", "panels", "rings"]
    kind = rng.choice(kinds, p=[0.35, 0.3, 0.1, 0.15, 0.1])
    angle = rng.uniform(0, 2 * np.pi) if kind != "ombre" else np.pi / 2
    dx, dy = np.cos(angle), np.sin(angle)
    noise = _noise(rng, (5, 4))
    bend = rng.uniform(0.1, 0.3)
    cut = rng.uniform(-0.25, 0.25)
    match kind:
        case "noise":
            return noise
        case "panels":
            return lambda x, y: (
                0.5
                + 0.3 * np.tanh(14 * (dx * x + dy * y - cut))
                + 0.25 * (noise(x, y) - 0.5)
                + 0.12 * (dy * x - dx * y)
            )
        case "rings":
            return lambda x, y: (
                np.hypot(x - 0.5 * dx, y - 0.5 * dy) * 0.6 + bend * (noise(x, y) - 0.5)
            )
    return lambda x, y: 0.5 + 0.45 * (dx * x + dy * y) + bend * (noise(x, y) - 0.5)


def _noise(rng: Generator, cells: tuple[int, int]) -> Field:
    """Smooth noise over the garment: values of a coarse grid, joined by smooth steps."""
    grid = rng.permutation(np.linspace(0, 1, cells[0] * cells[1])).reshape(cells).astype(np.float32)

    return lambda x, y: _hats(y.ravel(), cells[0]) @ grid @ _hats(x.ravel(), cells[1]).T


def _hats(x: Floats, cells: int) -> Floats:
    """(N, cells) weights of a smooth interpolation between `cells` values spread over [-1, 1]."""
    distance = np.abs((x.clip(-1, 1)[:, None] + 1) / 2 * (cells - 1) - np.arange(cells))
    t = (1 - distance).clip(0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def _with_detail(fabric: Fabric, rng: Generator, stamped_at: tuple[float, float]) -> Fabric:
    kinds = ["stripes", "checks", "dots", "logo", "word"]
    kind = rng.choice(kinds, p=[0.25, 0.15, 0.15, 0.25, 0.2])
    if kind not in ("logo", "word"):
        return replace(fabric, pattern=_pattern(kind, rng), strength=rng.uniform(0.4, 0.75))
    stencil = _word(rng) if kind == "word" else _logo(rng)
    width = rng.uniform(0.8, 1.1) if kind == "word" else rng.uniform(0.55, 0.8)
    x, y = stamped_at[0] + rng.uniform(-0.08, 0.08), stamped_at[1] + rng.uniform(-0.15, 0.15)
    return replace(fabric, stamp=Stamp(stencil, x, y, width, rng.uniform(-8, 8)))


def _pattern(kind: str, rng: Generator) -> Field:
    """Signed distances (heads) into stripes, checks or dots."""
    if kind == "stripes":
        period, share = rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.5)
        angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)], p=[0.25, 0.5, 0.25])
        dx, dy = np.cos(angle), np.sin(angle)
        return lambda x, y: _wave(dx * x + dy * y, period, share)
    if kind == "checks":
        period, share = rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.4)
        return lambda x, y: np.maximum(_wave(x, period, share), _wave(y, period, share))
    period, share = rng.uniform(0.28, 0.45), rng.uniform(0.25, 0.36)

    def dots(x: Floats, y: Floats) -> Floats:
        row = np.round(y / period)
        across = np.mod(x / period + 0.5 * np.mod(row, 2), 1) - 0.5
        return period * (share - np.hypot(across, y / period - row))

    return dots


def _wave(x: Floats, period: float, share: float) -> Floats:
    """Signed distance (heads) into bands that take `share` of each period."""
    return period * (share / 2 - np.abs(np.mod(x / period, 1) - 0.5))


def _logo(rng: Generator) -> Pixels:
    """A big simple shape, 160 x 160."""
    image = Image.new("L", (160, 160))
    pen = ImageDraw.Draw(image)
    kind = rng.choice(["disc", "ring", "star", "bolt", "diamond", "bars"])
    if kind in ("disc", "ring"):
        pen.ellipse((8, 8, 152, 152), fill=255)
    if kind == "ring":
        pen.ellipse((44, 44, 116, 116), fill=0)
    if kind in ("star", "diamond"):
        tips = 5 if kind == "star" else 2
        angle = np.arange(2 * tips) * np.pi / tips - np.pi / 2
        radius = np.where(np.arange(2 * tips) % 2 == 0, 76, 32 if kind == "star" else 50)
        pen.polygon(
            [(80 + r * np.cos(a), 80 + r * np.sin(a)) for r, a in zip(radius, angle, strict=True)],
            fill=255,
        )
    if kind == "bolt":
        pen.polygon([(96, 4), (30, 92), (72, 92), (60, 156), (130, 64), (86, 64)], fill=255)
    if kind == "bars":
        for top in (10, 66, 122):
            pen.rectangle((6, top, 154, top + 28), fill=255)
    return np.asarray(image)


def _word(rng: Generator) -> Pixels:
    """A short random word in Pillow's own font, thick enough to survive small images."""
    word = "".join(rng.choice(list(LETTERS), size=rng.integers(2, 5)))
    font = ImageFont.load_default(96)
    left, top, right, bottom = font.getbbox(word, stroke_width=4)
    image = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), word, fill=255, font=font, stroke_width=4)
    return np.asarray(image)
