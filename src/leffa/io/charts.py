"""Line charts as inline SVG, readable on light and dark pages."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURS = ("#0b6bcb", "#c2570c", "#2b8a3e", "#8c3fb5", "#b3261e", "#7a7f87")
INK = "#7d8590"  # of axes and text: has contrast on white and on near-black
SIZE = (4.4, 2.6)  # inches
AXES = (0.12, 0.1, 0.86, 0.8)  # left, bottom, width, height: shares of the figure
MARKED = 12  # a line of at most this many points shows them


@dataclass(frozen=True)
class Line:
    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    style: str = "-"  # of matplotlib


def line_chart(title: str, lines: Sequence[Line]) -> Markup:
    """The lines over the training step, the y axis from 0, as an `<svg>`; empty without points."""
    shown = [line for line in lines if line.points]
    if not shown:
        return Markup("")
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": title,  # ids follow from it, so charts on one page share none
        "font.size": 8,
        "lines.linewidth": 1.4,
        **dict.fromkeys(("text.color", "xtick.color", "ytick.color"), INK),
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=SIZE)  # fixed margins: fitting them would draw everything twice
        axes = figure.add_axes(AXES)
        for line in shown:
            steps, values = zip(*line.points, strict=True)
            marker = "." if len(steps) <= MARKED and line.style == "-" else ""
            axes.plot(steps, values, line.style, c=line.colour, label=line.label, marker=marker)
        axes.set_ylim(0, 1.05 * max(value for line in shown for _, value in line.points) or 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(title)
        axes.grid(alpha=0.25)
        axes.spines[:].set_visible(False)
        if len(shown) > 1 or shown[0].label:
            axes.legend(frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    return Markup(svg[svg.index("<svg") :])
