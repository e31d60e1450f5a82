"""Sheets of an evaluation: the first samples, and the best, median and worst of them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from leffa.data.dataset import PersonDataset, collate
from leffa.evaluation.folder import EvaluationFolder, sample_folder
from leffa.inference.devices import to_device
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.padding import add_padding
from leffa.io.png import read_png, save_png
from leffa.losses.flow import FlowRequest
from leffa.metrics.result import Scores
from leffa.models.interface import PersonGenerator
from leffa.pictures import HEADINGS, contact_sheet, sample_rows

SHOWN = 8  # samples in samples.png
RANKED = 4  # best, and as many median and worst ones
CELL = 256  # height in pixels of a picture in a sheet

GROUPS = ("best", "median", "worst")
RANK_BY = {"lpips": False, "ssim": True}  # metric -> whether higher is better, in order of choice


def rank(scores: Scores) -> dict[str, Any] | None:
    """The best, median and worst samples, by LPIPS or, where it is missing, by SSIM.

    Returns:
        {"metric": its name, "best" | "median" | "worst": {sample's name: value}}, best first; None
        without per-image values, as for unpaired samples. Few samples appear once, not in all.
    """
    metric = next((key for key in RANK_BY if scores.per_image.get(key)), None)
    if metric is None:
        return None
    values = {k: v for k, v in scores.per_image[metric].items() if math.isfinite(v)}
    order = sorted(values, key=lambda name: (values[name], name), reverse=RANK_BY[metric])
    count = min(RANKED, max(1, len(order) // 3))
    middle = (len(order) - count) // 2
    groups = {
        "best": order[:count],
        "median": order[middle : middle + count] if len(order) > 2 else [],
        "worst": order[max(count, len(order) - count) :],
    }
    return {"metric": metric} | {
        group: {name: values[name] for name in names} for group, names in groups.items()
    }


@torch.no_grad()
def write_sheet(
    model: PersonGenerator,
    dataset: PersonDataset,
    names: Sequence[str],
    request: FlowRequest,
    timestep: int,
    folder: EvaluationFolder,
    sheet: str,
) -> None:
    """Write `<folder>/<sheet>.png` and its pictures, one by one, below `<folder>/<sheet>/`.

    Args:
        names: samples, top to bottom; their pictures have been generated.
        timestep: where the attention is looked at that warps the reference.
    """
    index = {record.name: number for number, record in enumerate(dataset.records)}
    device = next(model.parameters()).device
    rows: list[list[Tensor]] = []
    for name in names:  # one at a time: little memory, and nothing depends on the neighbours
        batch = collate([dataset[index[name]]])
        encoded = encode_batch(model, to_device(batch, device))
        prediction = noised_forward(model, encoded, timestep, request).prediction
        flows = {layer: flow.float().cpu() for layer, flow in prediction.flows.items()}
        record = dataset.records[index[name]]
        generated = read_png(folder.images / f"{name}.png")
        padded = add_padding(generated, record, dataset.transform)
        (row,) = sample_rows(batch, padded[None], flows)
        for heading, cell in zip(HEADINGS, row, strict=False):  # not all have a true one
            save_png(cell, _made(sample_folder(folder.path, heading, sheet)) / f"{name}.png")
        rows.append([_at_most(cell, CELL) for cell in row])
    scale = max(1, CELL // rows[0][0].shape[-2])
    save_png(contact_sheet(rows, HEADINGS, scale), folder.path / f"{sheet}.png")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _at_most(image: Tensor, height: int) -> Tensor:
    """(3, H, W) made smaller, if it is higher."""
    if image.shape[-2] <= height:
        return image
    size = (height, round(height * image.shape[-1] / image.shape[-2]))
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0]
