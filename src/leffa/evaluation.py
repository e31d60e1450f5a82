"""Generate a data set's images and score them: pictures, table and numbers in one folder.

    <folder>/images/<name>.png      generated
    <folder>/true/<name>.png        the true image at the generated size
    <folder>/samples.png            the first samples, column by column
    <folder>/samples/<column>/      the same pictures one by one
    <folder>/metrics.json  .md      the numbers, with all that they depend on

A finished image is kept: an interrupted evaluation goes on where it stopped.
"""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from leffa.data.batch import Batch, Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.losses.flow import LeffaLoss
from leffa.metrics.flow import ConstantFlow, FlowMetrics, identity_flow
from leffa.metrics.protocols import get_protocol
from leffa.metrics.result import Scores
from leffa.metrics.score import score_folders
from leffa.models.interface import PersonGenerator
from leffa.models.sampler import SamplerSettings, generate
from leffa.pictures import HEADINGS, contact_sheet, read_png, sample_rows, save_png
from leffa.training.inspection import inspect_attention

log = logging.getLogger(__name__)

SHOWN = 8  # samples in samples.png


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    metrics: dict[str, float]  # "paired/ssim", "set/fid", "flow/epe_px", ...
    scores: Scores
    folder: Path


def evaluate_model(
    model: PersonGenerator,
    records: Sequence[Record],
    transform: PersonTransform,
    paired: bool,
    name: str,
    sampler: SamplerSettings,
    leffa_loss: LeffaLoss,
    inspect_timesteps: Sequence[int],
    protocol: str,
    folder: Path,
    batch_size: int,
    limit: int | None = None,
    weights: Path | None = None,
    settings: dict[str, Any] | None = None,
) -> Evaluation:
    """Generate, score, and write everything below `folder`.

    Args:
        paired: whether the source wears the reference, so that image metrics have a truth.
        leffa_loss: how flows are read (temperature, resolutions).
        inspect_timesteps: where attention is compared with the true flow, if the data has one.
        limit: only the first samples; the result says so.
        settings: what else the pictures depend on, plain values; kept in the result file.

    Raises:
        ValueError: the folder holds pictures of other settings, or an unknown protocol.
    """
    get_protocol(protocol)
    kept = [
        records[index]
        for index in range(len(records) if limit is None else min(limit, len(records)))
    ]
    dataset = PersonDataset(kept, transform)
    device = next(model.parameters()).device
    size = [transform.height, transform.width]
    _claim(folder, {"dataset": name, "size": size, "limit": limit, **(settings or {})})
    _generate_all(model, dataset, sampler, folder, batch_size, device)
    scores = score_folders(
        folder / "images",
        folder / "true",
        protocol,
        paired=paired,
        weights=weights,
        device=device.type,
    )
    metrics = {
        f"{'set' if key.split('_')[0] in ('fid', 'kid') else 'paired'}/{key}": v
        for key, v in scores.values.items()
    }
    if paired:
        loader = _batches(dataset, batch_size)
        metrics |= score_flows(model, loader, leffa_loss, inspect_timesteps)
    _write_samples(model, dataset, leffa_loss, inspect_timesteps, folder)
    _write_results(folder, name, len(kept), len(records), metrics, scores, settings or {})
    log.info(
        "%s: %s",
        name,
        ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key.count("/") == 1),
    )
    log.info("written to %s", folder)
    return Evaluation(metrics, scores, folder)


@torch.no_grad()
def score_flows(
    model: PersonGenerator,
    batches: Iterator[Batch],
    leffa_loss: LeffaLoss,
    timesteps: Sequence[int],
) -> dict[str, float]:
    """Predicted against true correspondence; empty where the data has no true flow.

    `flow/epe_px`, `flow/pck_3`, `flow/spread`, `flow/peak_mass` and `flow/entropy` are means over
    layers and timesteps; `flow_layers/...` has each layer. `flow_identity/...` and
    `flow_constant/...` are the flows that need no network: every position looks at its own place,
    or all at the best single point. `flow_true/spread` is what the spread should be.
    """
    request = leffa_loss.request(sharpness=True)
    per_layer: dict[str, FlowMetrics] = {}
    sharpness: dict[str, list[float]] = {"peak_mass": [], "entropy": []}
    identity, itself, constant, truths = FlowMetrics(), FlowMetrics(), ConstantFlow(), []
    device = next(model.parameters()).device
    for batch in batches:
        if "flow" not in batch:
            return {}
        truth, valid = batch["flow"], batch["flow_valid"]
        truths.append((truth, valid))
        identity.update(identity_flow(*truth.shape[1:3]).expand_as(truth), truth, valid)
        itself.update(truth, truth, valid)
        constant.update(truth, valid)
        for timestep in timesteps:
            prediction = inspect_attention(model, _to(batch, device), request, timestep)
            for layer, flow in prediction.flows.items():
                per_layer.setdefault(layer, FlowMetrics()).update(flow.cpu(), truth, valid)
            for layer_sharpness in prediction.sharpness.values():
                for key, value in layer_sharpness._asdict().items():
                    sharpness[key].append(value.item())
    best_constant = FlowMetrics()
    for truth, valid in truths:
        best_constant.update(constant.compute().float().expand(len(truth), 1, 1, 2), truth, valid)
    layers = {layer: metric.compute() for layer, metric in per_layer.items()}
    keys = next(iter(layers.values())).keys()
    result = {
        f"flow/{key}": float(np.mean([values[key].item() for values in layers.values()]))
        for key in keys
    }
    result |= {f"flow/{key}": float(np.mean(values)) for key, values in sharpness.items()}
    for name, metric in (("flow_identity", identity), ("flow_constant", best_constant)):
        result |= {f"{name}/{key}": value.item() for key, value in metric.compute().items()}
    result["flow_true/spread"] = itself.compute()["spread"].item()
    result |= {
        f"flow_layers/{layer}/{key}": values[key].item()
        for layer, values in layers.items()
        for key in keys
    }
    return result


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Say in `<folder>/settings.json` whose pictures these are; refuse another one's."""
    path = folder / "settings.json"
    text = json.dumps(settings, indent=2) + "\n"
    if path.is_file() and path.read_text() != text:
        raise ValueError(
            f"{folder}: holds pictures of another checkpoint or other settings; "
            "give another paths.output_dir, or delete the folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _generate_all(
    model: PersonGenerator,
    dataset: PersonDataset,
    sampler: SamplerSettings,
    folder: Path,
    batch_size: int,
    device: torch.device,
) -> None:
    images, truth = folder / "images", folder / "true"
    for place in (images, truth):
        place.mkdir(parents=True, exist_ok=True)
    wanted = [record for record in dataset.records if not (images / f"{record.name}.png").is_file()]
    if len(wanted) < len(dataset):
        log.info("%d of %d images are there already", len(dataset) - len(wanted), len(dataset))
    todo = PersonDataset(wanted, dataset.transform)
    batches = -(-len(todo) // batch_size)
    for batch in track(_batches(todo, batch_size), description="generating", total=batches):
        generated = generate(model, _to(batch, device), sampler)
        for name, image, true in zip(batch["name"], generated, batch["source"], strict=True):
            save_png(true, truth / f"{name}.png")
            save_png(image, images / f"{name}.png")


def _write_samples(
    model: PersonGenerator,
    dataset: PersonDataset,
    leffa_loss: LeffaLoss,
    timesteps: Sequence[int],
    folder: Path,
) -> None:
    batch = collate([dataset[index] for index in range(min(SHOWN, len(dataset)))])
    device = next(model.parameters()).device
    prediction = inspect_attention(model, _to(batch, device), leffa_loss.request(), timesteps[0])
    flows = {layer: flow.cpu() for layer, flow in prediction.flows.items()}
    names = batch["name"]
    generated = torch.stack([read_png(folder / "images" / f"{name}.png") for name in names])
    rows = sample_rows(batch, generated, flows)
    for name, row in zip(names, rows, strict=True):
        for heading, cell in zip(HEADINGS, row, strict=False):  # the true flow may be missing
            column = sample_folder(folder, heading)
            column.mkdir(parents=True, exist_ok=True)
            save_png(cell, column / f"{name}.png")
    save_png(contact_sheet(rows, HEADINGS), folder / "samples.png")


def sample_folder(folder: Path, heading: str) -> Path:
    """Where the evaluation in `folder` leaves the pictures of one column of its sample sheet."""
    return folder / "samples" / heading.replace(" ", "_")


def _write_results(
    folder: Path,
    name: str,
    used: int,
    available: int,
    metrics: dict[str, float],
    scores: Scores,
    settings: dict[str, Any],
) -> None:
    result = {
        "dataset": name,
        "samples": used,
        "subset_of": available if used < available else None,
        **settings,
        "metrics": {
            key: value if math.isfinite(value) else str(value) for key, value in metrics.items()
        },
        "scores": scores.as_dict(),
    }
    unfinished = folder / "metrics.json.unfinished"
    unfinished.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    unfinished.replace(folder / "metrics.json")
    (folder / "metrics.md").write_text(scores.to_markdown() + "\n")


def _batches(dataset: PersonDataset, batch_size: int) -> Iterator[Batch]:
    yield from DataLoader(dataset, batch_size=batch_size, collate_fn=collate)


def _to(batch: Batch, device: torch.device) -> Batch:
    moved = {
        key: value.to(device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }
    return moved  # type: ignore[return-value]  # the same keys
