"""One self-contained page to look around in: no other file, no network, no library.

All numbers lie in one packed block (zlib, base64) that the script unpacks. Maps are 8 bits with a
scale per row; flows are 16 bits; pictures are PNGs inside the page.
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
import torch.nn.functional as F
from markupsafe import Markup
from torch import Tensor

from leffa.data.batch import Batch
from leffa.explain.look import LayerLook, ModelLook, coarser_flows
from leffa.explain.view import FADED, View, flow_error, short_names, spoken_for
from leffa.io.pages import data_address
from leffa.io.pages import render as render_page
from leffa.io.png import encode_png
from leffa.losses.flow import warp
from leffa.metrics.flow import identity_flow
from leffa.pictures import flow_picture

TALLEST = 384  # pixels of a picture on the page
COLOURS = "inferno"  # of the attention, from none to the most


@dataclass(frozen=True)
class Explanation:
    """What one or two models see of one sample.

    Args:
        batch: of one, on the CPU.
        points: (P, 2), (x, y) in [-1, 1].
        start: the point that is shown first.
        view: what is shown first.
        temperature: at which attention was read.
        looks: of one model, or of two to compare.
        cells: maps and flows on the page have at most so many along a side.
        facts: what else the reader is told, by heading.
    """

    batch: Batch
    points: Tensor
    start: int
    view: View
    temperature: float
    looks: Sequence[ModelLook]
    cells: int = 32
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def timesteps(self) -> list[int]:
        return list(self.looks[0].layers)

    @property
    def layers(self) -> list[str]:
        return list(self.looks[0].layers[self.timesteps[0]])

    @property
    def name(self) -> str:
        return self.batch["name"][0]


def render(explanation: Explanation) -> str:
    """The page, as HTML."""
    block = _Block()
    data = _data(explanation, block)
    script = files("leffa.explain").joinpath("page.js").read_text(encoding="utf-8")
    return render_page(
        "explain/report.html",
        name=explanation.name,
        facts=explanation.facts,
        # A tag would end the element or open another, whatever a file is called.
        data=Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")),
        block=block.packed(),
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

    def packed(self) -> str:
        return base64.b64encode(zlib.compress(b"".join(self.parts), level=9)).decode()


def _data(explanation: Explanation, block: _Block) -> dict[str, Any]:
    batch, first = explanation.batch, explanation.looks[0].layers[explanation.timesteps[0]]
    short = short_names(explanation.layers)
    truth = _truth(batch, explanation.points)
    return {
        "size": list(_shown(batch["reference"]).shape[-2:]),
        "pixels": list(batch["reference"].shape[-2:]),
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
            for name in explanation.layers
        ],
        "points": [[round(value, 5) for value in point] for point in explanation.points.tolist()],
        "start": explanation.start,
        "view": {
            "t": explanation.timesteps.index(explanation.view.timestep),
            "layer": explanation.layers.index(explanation.view.layer)
            if explanation.view.layer is not None
            else -1,
            "head": -1 if explanation.view.head is None else explanation.view.head,
        },
        "reference": _uri(batch["reference"]),
        "region": _uri(spoken_for(batch).expand(-1, 3, -1, -1) * 2 - 1),
        "faded": FADED,
        "legend": _uri(_legend(batch)),
        "truth": truth,
        "colours": _colours(),
        "models": [
            {
                "title": look.title,
                "painted": _uri(look.painted),
                "errors": _errors(explanation, look),
                "looks": [
                    [_layer(layer, explanation.cells, block) for layer in layers.values()]
                    for layers in look.layers.values()
                ],
            }
            for look in explanation.looks
        ],
    }


def _layer(look: LayerLook, cells: int, block: _Block) -> dict[str, Any]:
    """Where the numbers of a layer lie in the block, and their shapes."""
    flows, rows = coarser_flows(look.flows, cells), look.rows
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


def _errors(explanation: Explanation, look: ModelLook) -> list[Any] | None:
    """EPE by timestep, by layer (the mean of all last), by head (the mean of all last)."""
    if "flow" not in explanation.batch:
        return None
    table = []
    for timestep, layers in look.layers.items():
        choices: list[tuple[str | None, int]] = [
            (name, layer.shape.heads) for name, layer in layers.items()
        ]
        table.append(
            [
                [
                    flow_error(layers, View(timestep, name, head), explanation.batch)
                    for head in ([*range(heads)] if name is not None and heads > 1 else []) + [None]
                ]
                for name, heads in [*choices, (None, 1)]
            ]
        )
    return table


def _truth(batch: Batch, points: Tensor) -> dict[str, Any] | None:
    """The true match of each point, and of the whole person as pictures."""
    if "flow" not in batch or not batch["flow_valid"].any():
        return None
    flow, valid = batch["flow"].float(), batch["flow_valid"].float()
    warped = warp(batch["reference"].float(), flow) * valid + (1 - valid)
    matches = true_matches(batch, points)
    return {
        "person": _uri(batch["source"]),
        "flow": _uri(flow_picture(flow, valid)),
        "warped": _uri(warped),
        "at": [None if match is None else [round(v, 5) for v in match] for match in matches],
    }


def true_matches(batch: Batch, points: Tensor) -> list[list[float] | None]:
    """Where each point (P, 2) truly is in the reference, (x, y) in [-1, 1]; None: not known."""
    if "flow" not in batch:
        return [None] * len(points)
    height, width = batch["flow"].shape[1:3]
    sides = points.new_tensor([width - 1, height - 1])
    columns, rows = ((points + 1) / 2 * sides).round().long().unbind(dim=-1)
    flow, valid = batch["flow"][0].cpu(), batch["flow_valid"][0, 0].cpu()
    return [
        flow[row, column].tolist() if valid[row, column] > 0 else None
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def _colours() -> list[list[int]]:
    """256 colours of the attention, as RGB."""
    levels = matplotlib.colormaps[COLOURS](range(256), bytes=True)
    return [[int(value) for value in level[:3]] for level in levels]


def _legend(batch: Batch) -> Tensor:
    """The colour that the flow gives each place of the reference."""
    height, width = batch["reference"].shape[-2:]
    return flow_picture(identity_flow(height, width)[None], torch.ones(1, 1, height, width))


def _shown(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    if height <= TALLEST:
        return image.float()
    size = (TALLEST, round(TALLEST * width / height))
    return F.interpolate(image.float(), size, mode="bilinear", antialias=True)


def _uri(image: Tensor) -> str:
    return data_address(encode_png(_shown(image.float().cpu())[0]))
