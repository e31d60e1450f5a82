"""Sheets of an evaluation: the first samples, and the best, median and worst of them."""

import math
from typing import Any

import torch
from torch import Tensor

from leffa.data.dataset import PersonDataset, collate
from leffa.evaluation.folder import sample_folder
from leffa.evaluation.settings import Work
from leffa.inference.devices import to_device
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.padding import add_padding
from leffa.io.png import read_png, save_png
from leffa.metrics.result import Scores
from leffa.models.interface import PersonGenerator
from leffa.pictures import HEADINGS, at_most, contact_sheet, sample_rows

SHOWN = 8  # samples in samples.png
RANKED = 4  # best, and as many median and worst ones
CELL = 256  # height in pixels of an image in a sheet

GROUPS = ("best", "median", "worst")
RANK_BY = {"lpips": False, "ssim": True}  # metric -> whether higher is better, in order of choice


def rank(scores: Scores) -> dict[str, Any] | None:
    """The best, median and worst samples, by LPIPS or, where it is missing, by SSIM.

    Returns:
        {"metric": its name, "best" | "median" | "worst": {sample's name: value}}, best first; None
        without per-image values. Few samples appear once, not in all groups.
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


def write_sheets(model: PersonGenerator, work: Work, ranking: dict[str, Any] | None) -> None:
    """Write the sheet of the first samples and, with a ranking, of its groups.

    The images are also written one by one, to `sample_folder`.
    """
    sheets = {"samples": [record.name for record in work.records[:SHOWN]]}
    if ranking is not None:
        sheets |= {group: list(ranking[group]) for group in GROUPS if ranking[group]}
    dataset = PersonDataset(work.records, work.how.transform)
    index = {record.name: number for number, record in enumerate(work.records)}
    rows: dict[str, list[Tensor]] = {}
    for name in dict.fromkeys(name for names in sheets.values() for name in names):
        row = _pictures(model, dataset, index[name], work)
        for sheet in (sheet for sheet, names in sheets.items() if name in names):
            for heading, cell in zip(HEADINGS, row, strict=False):  # not all have a true one
                save_png(cell, sample_folder(work.folder.path, heading, sheet) / f"{name}.png")
        rows[name] = [at_most(cell[None], CELL)[0] for cell in row]
    scale = max(1, CELL // next(iter(rows.values()))[0].shape[-2])
    for sheet, names in sheets.items():
        shown = contact_sheet([rows[name] for name in names], HEADINGS, scale)
        save_png(shown, work.folder.path / f"{sheet}.png")


@torch.no_grad()
def _pictures(
    model: PersonGenerator, dataset: PersonDataset, index: int, work: Work
) -> list[Tensor]:
    """Those of `HEADINGS`; a batch of one, so that nothing depends on the neighbours."""
    batch, record = collate([dataset[index]]), work.records[index]
    encoded = encode_batch(model, to_device(batch, next(model.parameters()).device))
    timestep, request = work.settings.inspect_timesteps[0], work.settings.flow_request
    prediction = noised_forward(model, encoded, timestep, request).prediction
    flows = {layer: flow.float().cpu() for layer, flow in prediction.flows.items()}
    generated = read_png(work.folder.images / f"{record.name}.png")
    (row,) = sample_rows(batch, add_padding(generated, record, dataset.transform)[None], flows)
    return row
