"""The page of `leffa explain`: one HTML file that needs no other file, network or library.

All numbers lie in one packed block (zlib, base64) that the script unpacks. Maps are 8 bits with a
scale per row; flows are 16 bits; images are PNGs inside the page.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import matplotlib
import torch
from markupsafe import Markup
from torch import Tensor

from leffa.data.batch import Batch, target
from leffa.explain.attention import LayerReading, ModelReading, coarser
from leffa.explain.view import (
    FADED,
    View,
    flow_error,
    flow_region,
    has_matches,
    has_truth,
    short_names,
    true_matches,
)
from leffa.io.pages import data_address
from leffa.io.pages import render as render_page
from leffa.io.png import encode_png
from leffa.losses.flow import warp
from leffa.metrics.flow import identity_flow
from leffa.pictures import at_most, flow_picture

TALLEST = 384  # pixels of an image on the page
COLOURS = "inferno"  # of the attention, from none to the most


@dataclass(frozen=True)
class Explanation:
    """The attention of one or two models on one sample.

    Args:
        batch: of one, on the CPU.
        points: (P, 2), (x, y) in [-1, 1].
        start: the point that is shown first.
        view: what is shown first.
        readings: of one model, or of two to compare.
        cells: maps and flows on the page have at most so many along a side.
    """

    batch: Batch
    points: Tensor
    start: int
    view: View
    temperature: float
    readings: Sequence[ModelReading]
    cells: int = 32
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def timesteps(self) -> list[int]:
        return list(self.readings[0].layers)

    @property
    def layers(self) -> list[str]:
        return list(self.readings[0].layers[self.timesteps[0]])

    @property
    def name(self) -> str:
        return self.batch["name"][0]


def render(explanation: Explanation) -> str:
    block = _Block()
    data = _data(explanation, block)
    packed = zlib.compress(b"".join(block.parts), level=9)
    script = files("leffa.explain").joinpath("page.js").read_text(encoding="utf-8")
    return render_page(
        "explain/report.html",
        name=explanation.name,
        facts=explanation.facts,
        # A tag would end the element or open another, whatever a file is called.
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        block=base64.b64encode(packed).decode(),
        script=Markup(script),
    )


class _Block:
    """The numbers of a page, one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0

    def add(self, values: Tensor) -> int:
        """Append; returns where it begins."""
        raw, start = values.contiguous().numpy().tobytes(), self.length
        padding = -len(raw) % 4  # so that the script can look at 32-bit numbers in place
        self.parts.append(raw + bytes(padding))
        self.length += len(raw) + padding
        return start


def _data(explanation: Explanation, block: _Block) -> dict[str, Any]:
    """What the page's script reads."""
    batch, view, names = explanation.batch, explanation.view, explanation.layers
    first, short = explanation.readings[0].layers[explanation.timesteps[0]], short_names(names)
    height, width = batch["reference"].shape[-2:]
    legend = flow_picture(identity_flow(height, width)[None], torch.ones(1, 1, height, width))
    return {
        "size": list(at_most(batch["reference"], TALLEST).shape[-2:]),
        "pixels": [height, width],
        "temperature": explanation.temperature,
        "timesteps": explanation.timesteps,
        "layers": [
            {
                "name": name,
                "short": short[name],
                "grid": list(first[name].shape.grid),
                "heads": first[name].shape.heads,
                "token": first[name].token.tolist(),
            }
            for name in names
        ],
        "points": [_rounded(point) for point in explanation.points.tolist()],
        "start": explanation.start,
        "view": {
            "t": explanation.timesteps.index(view.timestep),
            "layer": -1 if view.layer is None else names.index(view.layer),
            "head": -1 if view.head is None else view.head,
        },
        "reference": _address(batch["reference"]),
        "region": _address(flow_region(batch).expand(-1, 3, -1, -1) * 2 - 1),
        "faded": FADED,
        "legend": _address(legend),  # the colour that the flow gives each place of the reference
        "truth": _truth(batch, explanation.points),
        "colours": matplotlib.colormaps[COLOURS](range(256), bytes=True)[:, :3].tolist(),
        "models": [
            {
                "title": seen.title,
                "painted": _address(seen.painted),
                "errors": _errors(seen, batch),
                "looks": [
                    [_layer(layer, explanation.cells, block) for layer in layers.values()]
                    for layers in seen.layers.values()
                ],
            }
            for seen in explanation.readings
        ],
    }


def _layer(seen: LayerReading, cells: int, block: _Block) -> dict[str, Any]:
    """Where the numbers of a layer lie in the block, and their shapes."""
    flows, rows = coarser(seen.flows.movedim(-1, 1), cells).movedim(1, -1), seen.rows
    scale = rows.maps.amax(dim=(-1, -2))
    quantised = rows.maps / scale[..., None, None] * 255
    return {
        "flowGrid": list(flows.shape[1:3]),
        "mapGrid": list(rows.maps.shape[-2:]),
        "flow": block.add(((flows.clamp(-1, 1) + 1) * 32767.5).round().to(torch.uint16)),
        "map": block.add(quantised.round().to(torch.uint8)),
        "scale": block.add(scale.float()),
        "peak": block.add(rows.peak.float()),
        "at": block.add(rows.at.float()),
    }


def _errors(seen: ModelReading, batch: Batch) -> list[Any] | None:
    """EPE by timestep, by layer (the mean of all last), by head (the mean of all last)."""
    if not (has_truth(batch) or has_matches(batch)):
        return None
    table = []
    for timestep, layers in seen.layers.items():
        heads: dict[str | None, list[int | None]] = {
            name: [*(range(layer.shape.heads) if layer.shape.heads > 1 else ()), None]
            for name, layer in layers.items()
        }
        heads[None] = [None]
        table.append(
            [
                [flow_error(layers, View(timestep, name, head), batch) for head in chosen]
                for name, chosen in heads.items()
            ]
        )
    return table


def true_pictures(batch: Batch) -> tuple[Tensor, Tensor]:
    """The ground-truth flow as colours and the reference warped by it, (1, 3, H, W); white where it
    is unknown."""
    flow, valid = batch["flow"].float(), batch["flow_valid"].float()
    warped = warp(batch["reference"].float(), flow) * valid + (1 - valid)
    return flow_picture(flow, valid), warped


def _truth(batch: Batch, points: Tensor) -> dict[str, Any] | None:
    """The true match of each point, and of the whole person as images."""
    if not has_truth(batch):
        return None
    flow, warped = true_pictures(batch)
    return {
        "person": _address(target(batch)),
        "flow": _address(flow),
        "warped": _address(warped),
        "at": [match and _rounded(match) for match in true_matches(batch, points)],
    }


def _rounded(place: list[float]) -> list[float]:
    return [round(value, 5) for value in place]


def _address(image: Tensor) -> str:
    return data_address(encode_png(at_most(image.float().cpu(), TALLEST)[0]))
