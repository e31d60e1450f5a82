"""Predicted against ground-truth flow, where the data has one.

Each sample's values go to a file of their own, which an interrupted evaluation keeps.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean

import torch

from leffa.data.batch import Batch
from leffa.evaluation.settings import Work
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.generate import open_batches
from leffa.io.atomic import write_json
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import ConstantFlow, FlowMetrics, identity_flow
from leffa.models.interface import PersonGenerator

log = logging.getLogger(__name__)

Values = dict[str, dict[str, float]]  # layer -> metric -> mean over timesteps


def flow_values(
    model: PersonGenerator, batch: Batch, request: FlowRequest, timesteps: Sequence[int]
) -> Values:
    """Layer -> metric -> value of one sample (a batch of one), means over the timesteps.

    The metrics are those of `FlowMetrics`, where some ground-truth flow is visible, then
    `peak_mass` and `entropy` of the attention.
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
def write_flow_values(model: PersonGenerator, batch: Batch, work: Work) -> None:
    """Write `flow_values` of a batch of one to its file."""
    (name,) = batch["name"]
    values = flow_values(model, batch, work.settings.flow_request, work.flow_timesteps)
    write_json(work.folder.flows / f"{name}.json", values, indent=None)


def flow_metrics(work: Work) -> tuple[dict[str, float], list[str]]:
    """Means over the samples, baselines, and the names of samples without a visible flow."""
    records = [record for record in work.records if record.flow is not None]
    if not records or not work.flow_timesteps:
        return {}, []
    files = {record.name: work.folder.flows / f"{record.name}.json" for record in records}
    values: dict[str, Values] = {n: json.loads(file.read_bytes()) for n, file in files.items()}
    means = mean_flow_values(values.values())
    if not means:
        log.warning(
            "leffa_loss.min_resolution=%s leaves no attention layer: no flow is scored",
            work.settings.flow_request.min_resolution,
        )
    unseen = [
        name
        for name, layers in values.items()
        if layers and not any("epe_px" in metrics for metrics in layers.values())
    ]
    how = work.how
    batches = partial(open_batches, records, how.transform, how.batch_size, how.workers)
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


def flow_baselines(batches: Callable[[], Iterable[Batch]]) -> dict[str, float]:
    """The flows that need no network, and the ground-truth flow's spread; empty without one.

    `flow_identity/...`: every position maps to itself; `flow_constant/...`: all to the best single
    point; `flow_true/spread`. `batches` is called twice, so that memory stays flat.
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
    result = {f"flow_identity/{key}": value.item() for key, value in identity.compute().items()}
    result |= {f"flow_constant/{key}": value.item() for key, value in best.compute().items()}
    return result | {"flow_true/spread": itself.compute()["spread"].item()}
