"""Where attention looks, in numbers: EPE by layer, timestep and temperature, on synthetic data.

    make demo                                       leaves the two checkpoints
    python benchmarks/attention_by_layer.py         reads their attention; a few minutes

Two models that differ in the Leffa loss alone look at the same noised persons, whom neither has
seen. The temperature is changed after the training, when attention is read. Nothing is generated.
"""

import argparse
import platform
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch.utils.data import DataLoader

from leffa.data.batch import Batch
from leffa.data.dataset import PersonDataset, collate
from leffa.explain.view import short_names
from leffa.inference import load_model
from leffa.inference.devices import choose_devices, to_device
from leffa.inference.forward import encode_batch, noised_forward
from leffa.io.atomic import write_json, write_text
from leffa.io.progress import progress_bar
from leffa.losses.flow import flow_field
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import FlowMetrics, flow_baselines
from leffa.models.interface import PersonGenerator
from leffa.pictures import mean_flow
from leffa.run import test_set

matplotlib.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TIMESTEPS = (50, 200, 400, 600, 800, 950)
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
TIMESTEP, TEMPERATURE = 200, 1.0  # where one of the two is fixed; as evaluations and the training
MEAN = "mean flow"  # of all layers, as one flow field
COLOURS = {"control": "#c2570c", "leffa": "#0b6bcb"}

Key = tuple[str, int, float]  # layer, timestep, temperature
Values = dict[Key, dict[str, list[float]]]  # metric -> one value a person


@torch.no_grad()
def read(model: PersonGenerator, batch: Batch, found: dict[Key, FlowMetrics]) -> None:
    """Add one batch at every timestep and temperature; the network runs once a timestep."""
    truth, valid = batch["flow"].cpu(), batch["flow_valid"].cpu()
    size = (truth.shape[1], truth.shape[2])
    encoded = encode_batch(model, batch)
    for timestep in TIMESTEPS:
        fields: dict[float, dict[str, torch.Tensor]] = {each: {} for each in TEMPERATURES}

        def tap(
            name: str,
            query: torch.Tensor,
            key: torch.Tensor,
            grid: tuple[int, int],
            key_grid: tuple[int, int],
            fields: dict[float, dict[str, torch.Tensor]] = fields,
        ) -> None:
            for temperature, layers in fields.items():
                flow = flow_field(query, key, key_grid, temperature)
                layers[name] = flow.unflatten(1, grid).cpu()

        request = FlowRequest(min_resolution=0.0, tap=tap)
        noised_forward(model, encoded, timestep, request)
        for temperature, layers in fields.items():
            for name, flow in {**layers, MEAN: mean_flow(layers, size)}.items():
                found[name, timestep, temperature].update(flow, truth, valid)


def measure(weights: Path, batches: DataLoader[Any], device: torch.device, bar: Any) -> Values:
    """Layer, timestep, temperature -> metric -> a value for each person."""
    model = load_model(weights).model.to(device)
    found: dict[Key, FlowMetrics] = defaultdict(FlowMetrics)
    for batch in batches:
        read(model, to_device(batch, device), found)
        bar()
    return {
        key: {name: values.tolist() for name, values in metric.per_image().items()}
        for key, metric in found.items()
    }


def summary(values: Values) -> list[dict[str, Any]]:
    """A row per layer, timestep and temperature: means over persons, and the error of that mean."""
    rows = []
    for (layer, timestep, temperature), metrics in values.items():
        epe = metrics["epe_px"]
        rows.append(
            {
                "layer": layer,
                "timestep": timestep,
                "temperature": temperature,
                **{name: statistics.fmean(each) for name, each in metrics.items()},
                "epe_px_error": statistics.stdev(epe) / len(epe) ** 0.5 if len(epe) > 1 else None,
            }
        )
    return rows


def pick(rows: list[dict[str, Any]], metric: str, **fixed: Any) -> float:
    """The mean of a metric over the rows with these values; over layers where none is fixed."""
    chosen = [
        row[metric]
        for row in rows
        if all(row[key] == value for key, value in fixed.items())
        and ("layer" in fixed or row["layer"] != MEAN)
    ]
    return statistics.fmean(chosen)


def to_markdown(result: dict[str, Any]) -> str:
    models, layers = result["models"], result["layers"]
    base = result["baselines"]
    text = [
        "# Where attention looks, by layer, timestep and temperature",
        "",
        f"`{result['command']}` on {result['machine']}; the checkpoints are those of `make demo`"
        f" ({result['steps']} steps, one seed).",
        f"{result['persons']} test persons at {result['size']}; EPE in pixels, lower is better,"
        " ± the standard error over persons.",
        "It says nothing about other seeds of the training. Flows that need no network:"
        f" identity {base['identity']:.1f},",
        f"best constant {base['constant']:.1f} px; the ground-truth flow's spread is "
        f"{base['spread']:.3f}."
        f" `{MEAN}`: the flows of all layers averaged",
        "to one; `mean over layers`: their errors averaged, as `inspect_layers=all` reports it.",
        "",
        f"## By layer, at t = {TIMESTEP}, tau = {TEMPERATURE:g}",
        "",
        "| layer | tokens | EPE without the loss | EPE with it | PCK 3 % without | with "
        "| spread without | with |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    fixed = {"timestep": TIMESTEP, "temperature": TEMPERATURE}
    short = short_names(layers)
    for layer, tokens in [*layers.items(), (MEAN, "")]:
        cells = [
            f"{pick(rows, 'epe_px', layer=layer, **fixed):.1f} ± "
            f"{pick(rows, 'epe_px_error', layer=layer, **fixed):.1f}"
            for rows in models.values()
        ]
        for metric in ("pck_3", "spread"):
            cells += [f"{pick(rows, metric, layer=layer, **fixed):.3f}" for rows in models.values()]
        text.append(f"| {short.get(layer, layer)} | {tokens} | " + " | ".join(cells) + " |")
    cells = [
        f"{pick(rows, metric, **fixed):.{digits}f}"
        for metric, digits in (("epe_px", 1), ("pck_3", 3), ("spread", 3))
        for rows in models.values()
    ]
    text.append("| mean over layers | | " + " | ".join(cells) + " |")
    for axis, values, others in (
        ("timestep", TIMESTEPS, {"temperature": TEMPERATURE}),
        ("temperature", TEMPERATURES, {"timestep": TIMESTEP}),
    ):
        at = ", ".join(f"{'tau' if k == 'temperature' else 't'} = {v:g}" for k, v in others.items())
        text += ["", f"## By {axis}, at {at}", ""]
        text += [
            f"| {axis} | mean over layers, without | with | best layer, with | {MEAN}, without "
            "| with | spread, without | with |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for value in values:
            here = {axis: value, **others}
            with_loss = models["leffa"]
            errors = {name: pick(with_loss, "epe_px", layer=name, **here) for name in layers}
            best = min(errors, key=lambda name: errors[name])
            line = [f"{value:g}"]
            line += [f"{pick(rows, 'epe_px', **here):.1f}" for rows in models.values()]
            line.append(f"{errors[best]:.1f} ({short[best]})")
            for metric, digits in (("epe_px", 1), ("spread", 3)):
                line += [
                    f"{pick(rows, metric, layer=MEAN, **here):.{digits}f}"
                    for rows in models.values()
                ]
            text.append("| " + " | ".join(line) + " |")
    return "\n".join(text) + "\n"


def plot(result: dict[str, Any], path: Path) -> None:
    """EPE by layer, by timestep, by temperature, and the baselines."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), sharey=True)
    layers, base = result["layers"], result["baselines"]
    short = short_names(layers)
    titles = {"control": "without the Leffa loss", "leffa": "with the Leffa loss"}
    for index, (name, rows) in enumerate(result["models"].items()):
        fixed = {"timestep": TIMESTEP, "temperature": TEMPERATURE}
        heights = [pick(rows, "epe_px", layer=layer, **fixed) for layer in layers]
        errors = [pick(rows, "epe_px_error", layer=layer, **fixed) for layer in layers]
        places = [place + (index - 0.5) * 0.4 for place in range(len(layers))]
        axes[0].bar(
            places, heights, 0.4, yerr=errors, color=COLOURS[name], label=titles[name], capsize=1.5
        )
        for axis, key, values, others in (
            (axes[1], "timestep", TIMESTEPS, {"temperature": TEMPERATURE}),
            (axes[2], "temperature", TEMPERATURES, {"timestep": TIMESTEP}),
        ):
            mean = [pick(rows, "epe_px", **{key: value, **others}) for value in values]
            one = [pick(rows, "epe_px", layer=MEAN, **{key: value, **others}) for value in values]
            axis.plot(values, mean, "o-", color=COLOURS[name], label="mean over layers")
            axis.plot(values, one, "o--", color=COLOURS[name], alpha=0.6, label=MEAN)
            axis.set_xlabel(key)
    for axis in axes:
        axis.axhline(base["identity"], color="#8b929c", lw=1, ls=":", label="identity flow")
        axis.axhline(base["constant"], color="#8b929c", lw=1, ls="--", label="best constant flow")
        axis.set_ylim(0, None)
    axes[0].set_xticks(range(len(layers)), list(short.values()), rotation=40, ha="right")
    axes[0].set_ylabel("EPE (px)")
    axes[0].set_title(f"by layer (t = {TIMESTEP}, tau = {TEMPERATURE:g})", fontsize=10)
    axes[1].set_title(f"by timestep (tau = {TEMPERATURE:g})", fontsize=10)
    axes[2].set_title(f"by temperature (t = {TIMESTEP})", fontsize=10)
    axes[2].set_xscale("log", base=2)
    axes[2].set_xticks(TEMPERATURES, [f"{value:g}" for value in TEMPERATURES])
    handles, labels = axes[0].get_legend_handles_labels()
    more = dict(zip(*reversed(axes[1].get_legend_handles_labels()), strict=True))
    for label in ("mean over layers", MEAN):
        line = more[label]
        handles.append(
            plt.Line2D([], [], color="#444444", marker="o", ls=line.get_linestyle(), alpha=0.8)
        )
        labels.append(label)
    figure.legend(handles, labels, ncol=3, loc="lower center", fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    runs = ROOT / "outputs" / "demo" / "runs"
    parser.add_argument("--control", type=Path, default=runs / "control", help="without the loss")
    parser.add_argument("--leffa", type=Path, default=runs / "leffa", help="with it")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="holds the data set")
    parser.add_argument("--dataset", default="synthetic_tryon", help="a file of conf/dataset")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    records, transform, _ = test_set(
        [f"dataset={options.dataset}", f"paths.data_dir={options.data}"]
    )
    data = PersonDataset(records[: options.samples], transform)
    batches: DataLoader[Any] = DataLoader(data, options.batch_size, collate_fn=collate)
    (device,) = choose_devices(options.device, 1)
    weights = {"control": options.control, "leffa": options.leffa}
    values: dict[str, Values] = {}
    with progress_bar("batches", 2 * len(batches), show=True) as bar:
        done = 0

        def more() -> None:
            nonlocal done
            done += 1
            bar(done)

        for name, path in weights.items():
            values[name] = measure(path, batches, torch.device(device), more)
    flows = flow_baselines(lambda: iter(batches))
    names = [name for name, t, tau in values["leffa"] if (t, tau) == (TIMESTEP, TEMPERATURE)]
    tokens = token_grids(load_model(options.leffa).model, next(iter(batches)))
    result = {
        "command": "python benchmarks/attention_by_layer.py",
        "machine": f"{platform.processor() or platform.machine()}, torch {torch.__version__}",
        "weights": {name: str(path) for name, path in weights.items()},
        "steps": load_model(options.leffa).settings.step,
        "persons": len(values["leffa"][MEAN, TIMESTEP, TEMPERATURE]["epe_px"]),
        "size": f"{transform.height}x{transform.width}",
        "layers": {name: tokens[name] for name in names if name != MEAN},
        "baselines": {
            "identity": flows["flow_identity/epe_px"],
            "constant": flows["flow_constant/epe_px"],
            "spread": flows["flow_true/spread"],
        },
        "models": {name: summary(each) for name, each in values.items()},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / "attention_by_layer"
    write_json(stem.with_suffix(".json"), result, indent=1)
    write_text(stem.with_suffix(".md"), to_markdown(result))
    plot(result, stem.with_suffix(".svg"))
    print(to_markdown(result))


def token_grids(model: PersonGenerator, batch: Batch) -> dict[str, str]:
    """The token grid of each layer, as "24x18"."""
    grids: dict[str, str] = {}

    def tap(name: str, query: Any, key: Any, grid: tuple[int, int], key_grid: Any) -> None:
        grids[name] = f"{grid[0]}x{grid[1]}"

    request = FlowRequest(min_resolution=0.0, tap=tap)
    noised_forward(model, encode_batch(model, batch), TIMESTEP, request)
    return grids


if __name__ == "__main__":
    main()
