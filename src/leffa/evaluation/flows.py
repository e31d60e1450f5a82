"""Predicted against true correspondence, where the data has one.

Each sample's values go to a file of their own, so they are computed where its picture is generated
and an interrupted evaluation keeps them. What needs no network, the baselines, is computed at the
end in two passes over the data.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import fmean

import torch

from leffa.data.batch import Batch, Record
from leffa.evaluation.folder import EvaluationFolder
from leffa.inference.forward import encode_batch, noised_forward
from leffa.io.atomic import write_json
from leffa.losses.flow import FlowRequest
from leffa.metrics.flow import ConstantFlow, FlowMetrics, identity_flow
from leffa.models.interface import PersonGenerator

Values = dict[str, dict[str, float]]  # layer -> metric -> mean over timesteps


def flow_values(
    model: PersonGenerator, batch: Batch, request: FlowRequest, timesteps: Sequence[int]
) -> Values:
    """Layer -> metric -> value of one sample (a batch of one), means over the timesteps.

    The metrics are those of `FlowMetrics`, then `peak_mass` and `entropy` of the attention. No
    layer gives a flow where `request.min_resolution` leaves none: then this is empty. A sample
    without a visible ground-truth flow has no error, only `peak_mass` and `entropy`.
    """
    request = replace(request, sharpness=True)
    truth, valid = batch["flow"].cpu(), batch["flow_valid"].cpu()
    errors: dict[str, FlowMetrics] = defaultdict(FlowMetrics)
    sharpness: dict[str, list[dict[str, float]]] = defaultdict(list)
    encoded = encode_batch(model, batch)
    for timestep in timesteps:
        prediction = noised_forward(model, encoded, timestep, request).prediction
        for layer, flow in prediction.flows.items():
            errors[layer].update(flow.float().cpu(), truth, valid)
        for layer, measured in prediction.sharpness.items():
            sharpness[layer].append({k: v.item() for k, v in measured._asdict().items()})
    values: Values = {}
    for layer, metric in errors.items():
        seen = bool(metric.epe_px)
        values[layer] = {k: v.item() for k, v in metric.compute().items()} if seen else {}
    for layer, each in sharpness.items():
        means = {key: fmean(one[key] for one in each) for key in each[0]}
        values.setdefault(layer, {}).update(means)
    return values


@torch.no_grad()
def write_flow_values(
    model: PersonGenerator,
    batch: Batch,
    request: FlowRequest,
    timesteps: Sequence[int],
    folder: EvaluationFolder,
) -> None:
    """Keep `flow_values` of a batch of one in its file."""
    (name,) = batch["name"]
    values = flow_values(model, batch, request, timesteps)
    write_json(folder.flows / f"{name}.json", values, indent=None)


def read_flow_values(folder: EvaluationFolder, records: Sequence[Record]) -> dict[str, Values]:
    """Name -> what `write_flow_values` kept, of the samples with a ground-truth flow."""
    return {
        record.name: json.loads((folder.flows / f"{record.name}.json").read_text(encoding="utf-8"))
        for record in records
        if record.flow is not None
    }


def mean_flow_values(values: Iterable[Values]) -> dict[str, float]:
    """`flow/<metric>`, mean over layers and samples, and `flow_layers/<layer>/<metric>`."""
    collected: dict[str, dict[str, list[float]]] = {}
    for sample in values:
        for layer, metrics in sample.items():
            for key, value in metrics.items():
                collected.setdefault(layer, {}).setdefault(key, []).append(value)
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


def flow_baselines(batches: Callable[[], Iterable[Batch]]) -> dict[str, float]:
    """The flows that need no network, and the ground-truth flow's spread; empty without one.

    `flow_identity/...`: every position looks at its own place; `flow_constant/...`: all at the
    best single point; `flow_true/spread`.

    Args:
        batches: gives the data once more each time; two passes, so that memory stays flat.
    """
    identity, itself, constant, best = FlowMetrics(), FlowMetrics(), ConstantFlow(), FlowMetrics()
    for batch in batches():
        if "flow" not in batch:
            return {}
        truth, valid = batch["flow"], batch["flow_valid"]
        identity.update(identity_flow(*truth.shape[1:3]).expand_as(truth), truth, valid)
        itself.update(truth, truth, valid)
        constant.update(truth, valid)
    if not itself.epe_px:
        return {}
    point = constant.compute().float()
    for batch in batches():
        truth, valid = batch["flow"], batch["flow_valid"]
        best.update(point.expand(len(truth), 1, 1, 2), truth, valid)
    result = {
        f"{name}/{key}": value.item()
        for name, metric in (("flow_identity", identity), ("flow_constant", best))
        for key, value in metric.compute().items()
    }
    return result | {"flow_true/spread": itself.compute()["spread"].item()}
