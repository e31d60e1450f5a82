"""Line charts as inline SVG: no script, and the page's style sheet colours them, dark or light."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 32  # margins around the plotted area
MARKED = 12  # a line of at most this many points shows them


@dataclass(frozen=True)
class Line:
    """A line of a chart; `style` is its CSS class."""

    label: str
    style: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Band:
    """What is usual, behind the lines: (x, low, high); only what lies within their axes is seen."""

    style: str
    points: Sequence[tuple[float, float, float]]


def line_chart(title: str, lines: Sequence[Line], bands: Sequence[Band] = ()) -> str:
    """A <figure> with the lines over the training step, the y axis from 0, and a key."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return ""
    right = max(x for line in drawn for x, _ in line.points)
    top = max(y for line in drawn for _, y in line.points)
    x_ticks, y_ticks = ticks(right), ticks(top)
    scale_x = (WIDTH - LEFT - RIGHT) / max(right, x_ticks[-1])
    scale_y = (HEIGHT - TOP - BOTTOM) / max(top, y_ticks[-1])

    def place(x: float, y: float) -> tuple[str, str]:
        return f"{LEFT + x * scale_x:.1f}", f"{HEIGHT - BOTTOM - y * scale_y:.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in y_ticks:
        _, y = place(0, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{y}">{tick:g}</text>')
    for tick in x_ticks:
        x, _ = place(tick, 0)
        parts.append(f'<text class="x" x="{x}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>')
    for band in bands:
        seen = [(x, min(low, top), min(high, top)) for x, low, high in band.points if x <= right]
        edge = [(x, high) for x, _, high in seen] + [(x, low) for x, low, _ in reversed(seen)]
        path = "L".join(" ".join(place(x, y)) for x, y in edge)
        parts += [f'<path class="band {band.style}" d="M{path}Z"/>'] if edge else []
    for line in drawn:
        places = [place(x, y) for x, y in line.points]
        path = "L".join(f"{x} {y}" for x, y in places)
        parts.append(f'<path class="line {line.style}" d="M{path}"/>')
        if len(places) <= MARKED:
            parts += [f'<circle class="{line.style}" cx="{x}" cy="{y}" r="3"/>' for x, y in places]
    key = " ".join(f'<span class="key {line.style}">{escape(line.label)}</span>' for line in drawn)
    svg = "".join([*parts, "</svg>"])
    return f"<figure><figcaption><b>{escape(title)}</b> {key}</figcaption>{svg}</figure>"


def ticks(top: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `top`, about `count` steps of 1, 2 or 5 times a power of
    ten."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * index for index in range(math.ceil(top / step - 1e-9) + 1)]
