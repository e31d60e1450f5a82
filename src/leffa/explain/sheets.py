"""The same as pictures for a talk: one point as a sheet, and layer by layer, head by head and
timestep by timestep."""

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

from leffa.explain.look import ModelLook
from leffa.explain.page import COLOURS, Explanation, true_matches
from leffa.explain.view import (
    View,
    attention,
    best_layer,
    faded,
    flow,
    flow_error,
    looks_at,
    short_names,
    spoken_for,
)
from leffa.io.atomic import replacing
from leffa.io.outputs import PNG_TEXT
from leffa.io.png import to_uint8
from leffa.losses.flow import warp
from leffa.pictures import flow_picture

CELL = 2.0  # height of a picture, in inches
DOTS = 160  # per inch
ENDINGS = ("", "_layers", "_heads", "_timesteps")  # of the sheets' names
POINT, LOOKS, TRUE = "#ffd400", "#35e0ff", "#4dff88"

Pixels = NDArray[Any]
Marks = Sequence[tuple[str, Sequence[float]]]  # a kind ("point", "looks", "true") and a place
MARKERS = {"point": ("+", POINT, 12), "looks": ("o", LOOKS, 8), "true": ("x", TRUE, 8)}


def write_sheets(explanation: Explanation, point: int, stem: Path) -> list[Path]:
    """Write `<stem>.png`, `<stem>_layers.png`, `_heads.png` and `_timesteps.png`; returns the
    paths. Heads are left out where no layer has two."""
    made = (overview, by_layer, by_head, by_timestep)
    paths = []
    for ending, draw in zip(ENDINGS, made, strict=True):
        figure = draw(explanation, point)
        if figure is not None:
            paths.append(stem.with_name(f"{stem.name}{ending}.png"))
            _save(figure, paths[-1])
    return paths


def overview(explanation: Explanation, point: int) -> Figure:
    """A row per model, and one of the truth where it is known: person, attention, flow, warp."""
    batch, view = explanation.batch, explanation.view
    size = (batch["reference"].shape[-2], batch["reference"].shape[-1])
    place = explanation.points[point].tolist()
    truth = true_matches(batch, explanation.points[point : point + 1])[0]
    region = spoken_for(batch)
    rows: list[tuple[str, list[tuple[Pixels, Marks]]]] = []
    for look in explanation.looks:
        layers = look.layers[view.timestep]
        field = flow(layers, view, size)
        at = looks_at(layers, view, point).tolist()
        heat = _heat(batch["reference"], attention(layers, view, point))
        warped = warp(batch["reference"].float(), field)
        colours = flow_picture(field, torch.ones_like(region))
        rows.append(
            (
                _labelled(look.title, flow_error(layers, view, batch)),
                [
                    (_pixels(look.painted), [("point", place)]),
                    (heat, _matches(at, truth)),
                    (_pixels(faded(colours, region)), [("point", place)]),
                    (_pixels(faded(warped, region)), [("point", place)]),
                ],
            )
        )
    if "flow" in batch:
        valid = batch["flow_valid"]
        warped = warp(batch["reference"].float(), batch["flow"].float()) * valid + (1 - valid)
        known: Marks = [] if truth is None else [("true", truth)]
        rows.append(
            (
                "truth",
                [
                    (_pixels(batch["source"]), [("point", place)]),
                    (_pixels(batch["reference"]), known),
                    (_pixels(flow_picture(batch["flow"], valid)), [("point", place)]),
                    (_pixels(warped), [("point", place)]),
                ],
            )
        )
    titles = ["person", "attention", "flow", "warped reference"]
    return _grid(rows, titles, _subtitle(explanation, view))


def by_layer(explanation: Explanation, point: int) -> Figure:
    """The attention of the point in every layer, mean over heads."""
    view = replace(explanation.view, head=None)
    short = short_names(explanation.layers)
    views = {name: replace(view, layer=name) for name in explanation.layers}
    titles = [f"{short[name]}\n{_grid_text(explanation, name)}" for name in views]
    return _strip(explanation, point, list(views.values()), titles, f"t = {view.timestep}")


def by_head(explanation: Explanation, point: int) -> Figure | None:
    """The attention of the point with every head of the layer in view; where all are, of the layer
    with several heads that has the best flow."""
    view = explanation.view
    layers = explanation.looks[-1].layers[view.timestep]
    several = {name: look for name, look in layers.items() if look.shape.heads > 1}
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
    """A row per model, a column per view: the attention of the point."""
    truth = true_matches(explanation.batch, explanation.points[point : point + 1])[0]
    rows = []
    for look in explanation.looks:
        cells = [_seen(explanation, look, view, point, truth) for view in views]
        errors = [flow_error(look.layers[view.timestep], view, explanation.batch) for view in views]
        captions = ["" if error is None else f"EPE {error:.1f} px" for error in errors]
        rows.append((look.title, cells, captions))
    return _grid(
        [(title, cells) for title, cells, _ in rows],
        titles,
        f"{subtitle}, tau = {explanation.temperature:g}",
        [captions for _, _, captions in rows],
    )


def _seen(
    explanation: Explanation,
    look: ModelLook,
    view: View,
    point: int,
    truth: Sequence[float] | None,
) -> tuple[Pixels, Marks]:
    layers = look.layers[view.timestep]
    heat = _heat(explanation.batch["reference"], attention(layers, view, point))
    return heat, _matches(looks_at(layers, view, point).tolist(), truth)


def _matches(at: Sequence[float], truth: Sequence[float] | None) -> Marks:
    return [*([] if truth is None else [("true", truth)]), ("looks", at)]


def _heat(reference: Tensor, seen: Tensor) -> Pixels:
    """The reference in dim grey under the glow of an attention map (h', w'), (H, W, 3)."""
    size = reference.shape[-2:]
    glow = F.interpolate(seen[None, None], size=size, mode="bilinear", align_corners=True)[0, 0]
    level = (glow / glow.max().clamp_min(1e-12)).numpy()
    colour = matplotlib.colormaps[COLOURS](level)[..., :3]
    grey = _pixels(reference).astype(float) @ np.array([0.3, 0.59, 0.11]) / 255
    cover = (0.15 + 0.8 * np.sqrt(level))[..., None]
    return np.asarray(0.55 * grey[..., None] * (1 - cover) + colour * cover)


def _grid(
    rows: Sequence[tuple[str, Sequence[tuple[Pixels, Marks]]]],
    titles: Sequence[str],
    subtitle: str,
    captions: Sequence[Sequence[str]] | None = None,
) -> Figure:
    height, width = rows[0][1][0][0].shape[:2]
    label, gap = 0.9, 0.12
    across = label + len(titles) * (CELL * width / height + gap)
    under = 0.22 if captions is not None and any(any(line) for line in captions) else 0.0
    lines = max(title.count("\n") + 1 for title in titles)
    line, top = CELL + gap + under, 0.45 + 0.16 * lines
    figure = Figure(figsize=(across, top + len(rows) * line), dpi=DOTS, facecolor="white")
    tall = top + len(rows) * line
    for row, (text, cells) in enumerate(rows):
        bottom = (tall - top - row * line - CELL) / tall
        figure.text(
            label / 2 / across,
            bottom + CELL / 2 / tall,
            text,
            ha="center",
            va="center",
            rotation=90,
            fontsize=9,
        )
        for column, (pixels, marks) in enumerate(cells):
            left = (label + column * (CELL * width / height + gap)) / across
            box = (left, bottom, CELL * width / height / across, CELL / tall)
            axes = figure.add_axes(box)
            _draw(axes, pixels, marks)
            if row == 0:
                axes.set_title(titles[column], fontsize=9, pad=4)
            if captions is not None and captions[row][column]:
                axes.set_xlabel(captions[row][column], fontsize=8, labelpad=2)
    figure.text(label / across, 1 - 0.2 / tall, subtitle, fontsize=10, ha="left", va="center")
    return figure


def _draw(axes: Axes, pixels: Pixels, marks: Marks) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(pixels, interpolation="bicubic", resample=True)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    for kind, (x, y) in marks:
        marker, colour, size = MARKERS[kind]
        across, down = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
        for edge, shade in ((3.5, "black"), (1.7, colour)):
            axes.plot(
                *([across], [down]),
                marker=marker,
                color=shade,
                markersize=size,
                markeredgewidth=edge,
                fillstyle="none",
            )
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)


def _labelled(title: str, error: float | None) -> str:
    return title if error is None else f"{title}\nEPE {error:.1f} px"


def _subtitle(explanation: Explanation, view: View) -> str:
    return (
        f"t = {view.timestep}, {_layer_text(explanation, view)}, tau = {explanation.temperature:g}"
    )


def _layer_text(explanation: Explanation, view: View) -> str:
    if view.layer is None:
        return "all layers"
    head = "mean over heads" if view.head is None else f"head {view.head + 1}"
    return f"layer {short_names(explanation.layers)[view.layer]}, {head}"


def _grid_text(explanation: Explanation, name: str) -> str:
    grid = explanation.looks[0].layers[explanation.timesteps[0]][name].shape.grid
    return "x".join(str(side) for side in grid)


def _pixels(image: Tensor) -> Pixels:
    return to_uint8(image[0].float().cpu())


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS, metadata=PNG_TEXT)
