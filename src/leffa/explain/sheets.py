"""What the page shows as PNGs: sheets of a point, by layer, by head and by timestep."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from leffa.data.batch import target
from leffa.explain.attention import ModelReading
from leffa.explain.page import COLOURS, Explanation, true_pictures
from leffa.explain.view import (
    View,
    attended_position,
    attention,
    best_layer,
    faded,
    flow,
    flow_error,
    flow_region,
    has_truth,
    short_names,
    true_matches,
)
from leffa.io.atomic import replacing
from leffa.io.outputs import PNG_TEXT
from leffa.io.png import to_uint8
from leffa.losses.flow import warp
from leffa.pictures import flow_picture

CELL = 2.0  # height of an image, in inches
LABEL, GAP = 0.9, 0.12  # inches: of a row's title, and between images
DOTS = 160  # per inch
ENDINGS = ("", "_layers", "_heads", "_timesteps")  # of the sheets' names

Pixels = NDArray[Any]
Marks = Sequence[tuple[str, Sequence[float]]]  # a key of `MARKERS` and a place
Cell = tuple[Pixels, Marks]
MARKERS = {"point": ("+", "#ffd400", 12), "looks": ("o", "#35e0ff", 8), "true": ("x", "#4dff88", 8)}


def write_sheets(explanation: Explanation, point: int, stem: Path) -> list[Path]:
    """Write `<stem>.png`, `<stem>_layers.png`, `_heads.png` and `_timesteps.png`; returns the
    paths. There is none of heads where no layer has two."""
    sheets = (overview, by_layer, by_head, by_timestep)
    paths = []
    for ending, draw in zip(ENDINGS, sheets, strict=True):
        figure = draw(explanation, point)
        if figure is not None:
            paths.append(stem.with_name(f"{stem.name}{ending}.png"))
            with replacing(paths[-1]) as temporary:
                figure.savefig(temporary, format="png", dpi=DOTS, metadata=PNG_TEXT)
    return paths


def overview(explanation: Explanation, point: int) -> Figure:
    """A row per model, and one of the truth where it is known: person, attention, flow, warp."""
    batch, view, region = explanation.batch, explanation.view, flow_region(explanation.batch)
    reference = batch["reference"].float()
    here: Marks = [("point", explanation.points[point].tolist())]
    rows: list[tuple[str, list[Cell]]] = []
    for seen in explanation.readings:
        layers = seen.layers[view.timestep]
        field = flow(layers, view, (reference.shape[-2], reference.shape[-1]))
        colours = flow_picture(field, torch.ones_like(region))
        error = flow_error(layers, view, batch)
        cells = [
            (_pixels(seen.painted), here),
            _attention_cell(explanation, seen, view, point),
            (_pixels(faded(colours, region)), here),
            (_pixels(faded(warp(reference, field), region)), here),
        ]
        rows.append((seen.title if error is None else f"{seen.title}\n{_epe(error)}", cells))
    if has_truth(batch):
        colours, warped = true_pictures(batch)
        known = _true_mark(explanation, point)
        pictures = [(target(batch), here), (reference, known), (colours, here), (warped, here)]
        rows.append(("truth", [(_pixels(picture), marks) for picture, marks in pictures]))
    titles = ["person", "attention", "flow", "warped reference"]
    where = _layer_text(explanation, view)
    subtitle = f"t = {view.timestep}, {where}, tau = {explanation.temperature:g}"
    return _grid(rows, titles, subtitle)


def by_layer(explanation: Explanation, point: int) -> Figure:
    """The attention of the point in every layer, mean over heads."""
    view = replace(explanation.view, head=None)
    layers = explanation.readings[0].layers[view.timestep]
    titles = [
        f"{short}\n{layers[name].shape.grid[0]}x{layers[name].shape.grid[1]}"
        for name, short in short_names(layers).items()
    ]
    views = [replace(view, layer=name) for name in layers]
    return _strip(explanation, point, views, titles, f"t = {view.timestep}")


def by_head(explanation: Explanation, point: int) -> Figure | None:
    """The attention of the point with every head of the layer in view; where all are, of the layer
    with several heads that has the best flow."""
    view = explanation.view
    layers = explanation.readings[-1].layers[view.timestep]
    several = {name: seen for name, seen in layers.items() if seen.shape.heads > 1}
    if not several:
        return None
    layer = view.layer if view.layer in several else None
    layer = layer or best_layer(several, replace(view, head=None), explanation.batch)
    heads = [None, *range(layers[layer].shape.heads)]
    titles = ["mean" if head is None else f"head {head + 1}" for head in heads]
    views = [View(view.timestep, layer, head) for head in heads]
    subtitle = f"layer {short_names(explanation.layers)[layer]}, t = {view.timestep}"
    return _strip(explanation, point, views, titles, subtitle)


def by_timestep(explanation: Explanation, point: int) -> Figure:
    """The attention of the point at every timestep."""
    views = [replace(explanation.view, timestep=t) for t in explanation.timesteps]
    titles = [f"t = {timestep}" for timestep in explanation.timesteps]
    return _strip(explanation, point, views, titles, _layer_text(explanation, explanation.view))


def _strip(
    explanation: Explanation, point: int, views: list[View], titles: list[str], subtitle: str
) -> Figure:
    """A row per model, a column per view: the attention of the point, and the error of the flow."""
    rows, captions = [], []
    for seen in explanation.readings:
        rows.append((seen.title, [_attention_cell(explanation, seen, v, point) for v in views]))
        errors = [flow_error(seen.layers[v.timestep], v, explanation.batch) for v in views]
        captions.append(["" if error is None else _epe(error) for error in errors])
    return _grid(rows, titles, f"{subtitle}, tau = {explanation.temperature:g}", captions)


def _attention_cell(explanation: Explanation, seen: ModelReading, view: View, point: int) -> Cell:
    """The reference in dim grey under the glow of a point's attention."""
    layers, reference = seen.layers[view.timestep], explanation.batch["reference"]
    weights, size = attention(layers, view, point)[None, None], reference.shape[-2:]
    glow = F.interpolate(weights, size=size, mode="bilinear", align_corners=True)[0, 0]
    level = (glow / glow.max().clamp_min(1e-12)).numpy()
    colour = matplotlib.colormaps[COLOURS](level)[..., :3]
    grey = _pixels(reference).astype(float) @ np.array([0.3, 0.59, 0.11]) / 255
    cover = (0.15 + 0.8 * np.sqrt(level))[..., None]
    heat = np.asarray(0.55 * grey[..., None] * (1 - cover) + colour * cover)
    at = attended_position(layers, view, point).tolist()
    return heat, [*_true_mark(explanation, point), ("looks", at)]


def _true_mark(explanation: Explanation, point: int) -> Marks:
    (match,) = true_matches(explanation.batch, explanation.points[point : point + 1])
    return [] if match is None else [("true", match)]


def _grid(
    rows: Sequence[tuple[str, Sequence[Cell]]],
    titles: Sequence[str],
    subtitle: str,
    captions: Sequence[Sequence[str]] = (),
) -> Figure:
    """Titled rows of images under titled columns."""
    height, width = rows[0][1][0][0].shape[:2]
    cell = CELL * width / height  # its width
    across = LABEL + len(titles) * (cell + GAP)
    line = CELL + GAP + (0.22 if any(any(texts) for texts in captions) else 0.0)
    top = 0.45 + 0.16 * max(title.count("\n") + 1 for title in titles)
    tall = top + len(rows) * line
    figure = Figure(figsize=(across, tall), dpi=DOTS, facecolor="white")
    for row, (text, cells) in enumerate(rows):
        bottom = (tall - top - row * line - CELL) / tall
        middle: dict[str, Any] = {"ha": "center", "va": "center", "rotation": 90, "fontsize": 9}
        figure.text(LABEL / 2 / across, bottom + CELL / 2 / tall, text, **middle)
        for column, (pixels, marks) in enumerate(cells):
            left = (LABEL + column * (cell + GAP)) / across
            axes = figure.add_axes((left, bottom, cell / across, CELL / tall))
            _draw(axes, pixels, marks)
            if row == 0:
                axes.set_title(titles[column], fontsize=9, pad=4)
            if captions and captions[row][column]:
                axes.set_xlabel(captions[row][column], fontsize=8, labelpad=2)
    figure.text(LABEL / across, 1 - 0.2 / tall, subtitle, fontsize=10, ha="left", va="center")
    return figure


def _draw(axes: Axes, pixels: Pixels, marks: Marks) -> None:
    """An image without ticks or frame, and its marks with a dark edge."""
    height, width = pixels.shape[:2]
    axes.imshow(pixels, interpolation="bicubic", resample=True)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    for kind, (x, y) in marks:
        marker, colour, size = MARKERS[kind]
        across, down = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
        style: dict[str, Any] = {"marker": marker, "markersize": size, "fillstyle": "none"}
        for edge, shade in ((3.5, "black"), (1.7, colour)):
            axes.plot([across], [down], color=shade, markeredgewidth=edge, **style)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _epe(error: float) -> str:
    return f"EPE {error:.1f} px"


def _layer_text(explanation: Explanation, view: View) -> str:
    if view.layer is None:
        return "all layers"
    head = "mean over heads" if view.head is None else f"head {view.head + 1}"
    return f"layer {short_names(explanation.layers)[view.layer]}, {head}"


def _pixels(image: Tensor) -> Pixels:
    return to_uint8(image[0].float().cpu())
