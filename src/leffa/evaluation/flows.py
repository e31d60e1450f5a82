"""Predicted against ground-truth flow, or at stored matches, where the data has them.

Each sample's values go to a file of their own, which an interrupted evaluation keeps.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch

from leffa.data.batch import Batch, Record
from leffa.evaluation.settings import Work
from leffa.inference.forward import encode_batch, noised_forward
from leffa.io.atomic import write_json
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import KINDS, PlaceMetrics, flow_baselines
from leffa.models.interface import PersonGenerator

log = logging.getLogger(__name__)

_TRUTHS = ("source", "flow", "flow_valid", "matches")  # what flows are scored by

Values = dict[str, dict[str, float]]  # layer -> metric -> mean over timesteps


def flow_values(
    model: PersonGenerator, batch: Batch, request: FlowRequest, timesteps: Sequence[int]
) -> Values:
    """Layer -> metric -> value of one sample (a batch of one), means over the timesteps.

    The metrics are those of `FlowMetrics`, where some ground-truth flow is visible, those of
    `MatchMetrics`, where there are stored matches, then `peak_mass` and `entropy` of the attention.
    """
    request = replace(request, sharpness=True)
    every: Any = batch
    known: Any = {key: every[key].cpu() for key in _TRUTHS if key in batch}
    errors: dict[str, list[PlaceMetrics]] = defaultdict(
        lambda: [kind() for kind in KINDS if kind.key in batch]
    )
    sharpness: dict[str, list[dict[str, float]]] = defaultdict(list)
    encoded = encode_batch(model, batch)
    for timestep in timesteps:
        prediction = noised_forward(model, encoded, timestep, request).prediction
        for layer, flow in prediction.flows.items():
            for metric in errors[layer]:
                metric.score(flow.float().cpu(), known)
        for layer, measured in prediction.sharpness.items():
            sharpness[layer].append({k: v.item() for k, v in measured._asdict().items()})
    values: Values = {}
    for layer, metrics in errors.items():
        scored = [metric.compute() for metric in metrics if metric.images]
        values[layer] = {k: v.item() for means in scored for k, v in means.items()}
    for layer, each in sharpness.items():
        means = {key: fmean(one[key] for one in each) for key in each[0]}
        values.setdefault(layer, {}).update(means)
    return values


@torch.no_grad()
def write_flow_values(model: PersonGenerator, record: Record, batch: Batch, work: Work) -> None:
    """Write `flow_values` of a record, a batch of one, to its file."""
    settings = work.settings
    values = flow_values(model, batch, settings.flow_request, settings.inspect_timesteps)
    write_json(work.folder.flow_file(record), values, indent=None)


def flow_metrics(work: Work) -> tuple[dict[str, float], list[str]]:
    """Means over the samples, baselines, and the names of samples without a visible flow."""
    records = work.with_truth
    if not records:
        return {}, []
    values: dict[str, Values] = {
        record.name: json.loads(work.folder.flow_file(record).read_bytes()) for record in records
    }
    means = mean_flow_values(values.values())
    if not means:
        log.warning(
            "leffa_loss.min_resolution=%s excludes all attention layers: no flow is scored",
            work.settings.flow_request.min_resolution,
        )
    unseen = [
        record.name
        for record in records
        if record.flow is not None
        and (layers := values[record.name])
        and not any("epe_px" in metrics for metrics in layers.values())
    ]
    here = torch.device("cpu")
    batches = partial(work.how.open_batches, records, work.how.batch_size, here)
    return means | flow_baselines(batches), unseen


def mean_flow_values(values: Iterable[Values]) -> dict[str, float]:
    """`flow/<metric>`, mean over layers and samples, and `flow_layers/<layer>/<metric>`."""
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in values:
        for layer, metrics in sample.items():
            for key, value in metrics.items():
                collected[layer][key].append(value)
    layers = {
        layer: {key: fmean(each) for key, each in metrics.items()}
        for layer, metrics in collected.items()
    }
    keys = dict.fromkeys(key for metrics in layers.values() for key in metrics)
    result = {
        f"flow/{key}": fmean(metrics[key] for metrics in layers.values() if key in metrics)
        for key in keys
    }
    for layer, metrics in layers.items():
        result |= {f"flow_layers/{layer}/{key}": value for key, value in metrics.items()}
    return result
