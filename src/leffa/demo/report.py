"""The demo's report: a figure of samples, the numbers, and one page that holds both.

The page is self-contained: images are data URIs, charts are inline SVG, and there is no
script.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from leffa.demo.results import Results
from leffa.demo.settings import REPORT
from leffa.evaluation import sample_folder
from leffa.io.atomic import write_json, write_text
from leffa.io.charts import COLOURS, INK, Line, line_chart
from leffa.io.outputs import marked
from leffa.io.pages import data_address, render
from leffa.io.png import encode_png, read_png, save_png
from leffa.metrics.flow import identity_flow
from leffa.pictures import contact_sheet, flow_picture
from leffa.training.curves import running_mean

# Columns of samples.png: (heading, column of an evaluation, model whose evaluation has it).
COLUMNS = (
    ("reference", "reference", "leffa"),
    ("source", "source", "leffa"),
    ("agnostic", "agnostic", "leffa"),
    ("generated\ncontrol", "generated", "control"),
    ("generated\nLeffa", "generated", "leffa"),
    ("warped reference\ncontrol", "warped reference", "control"),
    ("warped reference\nLeffa", "warped reference", "leffa"),
    ("ground-truth flow", "ground-truth flow", "leffa"),
    ("predicted flow\ncontrol", "predicted flow", "control"),
    ("predicted flow\nLeffa", "predicted flow", "leffa"),
)
ROWS = {
    "baseline": "the shipped baseline",
    "control": "trained on without the Leffa loss",
    "leffa": "trained on with the Leffa loss",
    "identity": "no network: look straight ahead",
    "constant": "no network: look at the best single point",
    "true": "the ground-truth flow",
}
MODELS = ("baseline", "control", "leffa")
# metric -> (title, digits, which of the values is the best; None where none is).
METRICS: dict[str, tuple[str, int, Any]] = {
    "flow/epe_px": ("EPE (px)", 2, min),
    "flow/pck_3": ("PCK 3 %", 3, max),
    "flow/spread": ("spread", 3, None),
    "flow/peak_mass": ("peak mass", 3, None),
    "paired/ssim": ("SSIM", 3, max),
    "paired/psnr": ("PSNR (dB)", 2, max),
    "paired/lpips": ("LPIPS", 3, min),
}
ARROWS = {max: "↑", min: "↓", None: ""}
SMOOTHED = 8  # logged values in the running mean of a loss curve


def write_report(results: Results, out: Path) -> list[Path]:
    """Write report.html, samples.png and metrics.json below `out`; returns their paths."""
    report, samples, metrics = (out / name for name in REPORT)
    _write_samples(results.evaluations, samples)
    facts = {key: getattr(results, key) for key in ("samples", "settings", "versions")}
    write_json(metrics, marked({**results.rows, **facts}))
    flow = identity_flow(96, 72)[None]  # the colour of each place of the reference
    legend = encode_png(flow_picture(flow, torch.ones(1, 1, 96, 72))[0])
    settings = results.settings
    page = render(
        "demo/report.html",
        epe={name: row["flow/epe_px"] for name, row in results.rows.items() if name != "true"},
        steps=f"{settings['steps']:,}",
        trained=f"{settings['train_samples']:,}",
        scored=f"{results.samples:,}",
        out=settings["out"],
        samples=data_address(samples.read_bytes()),
        legend=data_address(legend),
        table=metrics_table(results.rows),
        charts=_charts(results),
        settings=settings,
        versions=results.versions,
    )
    write_text(report, page)
    return [report, samples, metrics]


def _write_samples(evaluations: Mapping[str, Path], path: Path) -> None:
    """The first samples of the evaluations, both models side by side."""
    sources = sample_folder(evaluations["leffa"], "source").glob("*.png")
    folders = [sample_folder(evaluations[model], column) for _, column, model in COLUMNS]
    rows = [
        [read_png(folder / name) for folder in folders] for name in sorted(f.name for f in sources)
    ]
    save_png(contact_sheet(rows, [heading for heading, _, _ in COLUMNS]), path)


def metrics_table(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the page's table shows: `head` with (title, arrow that says which way is better), and
    `rows` with (name, title, cells); a cell is (text, whether it is the best of the models)."""
    shown = {key: METRICS[key] for key in METRICS if any(key in row for row in rows.values())}
    table: list[tuple[str, str, list[tuple[str, bool]]]] = [
        (name, title, []) for name, title in ROWS.items()
    ]
    for key, (_, digits, choose) in shown.items():
        values = [rows[name][key] for name in MODELS if key in rows[name]]
        best = choose(values) if choose and values else None
        for name, _, cells in table:
            value = rows[name].get(key)
            text = "-" if value is None else f"{value:.{digits}f}"
            cells.append((text, name in MODELS and value is not None and value == best))
    return {"head": [(title, ARROWS[choose]) for title, _, choose in shown.values()], "rows": table}


def _charts(results: Results) -> list[str]:
    end = max((step for step, _ in results.curves["leffa"].get("train/diffusion", [])), default=0.0)
    baselines = [
        Line(title, [(0.0, value), (end, value)], INK, style)
        for name, title, style in (
            ("constant", "one point", "--"),
            ("identity", "straight ahead", ":"),
        )
        for value in (results.rows[name]["flow/epe_px"],)
    ]

    def both(column: str, window: int) -> list[Line]:
        return [
            Line(title, running_mean(results.curves[name].get(column, []), window), colour)
            for name, title, colour in (
                ("control", "without the loss", COLOURS[1]),
                ("leffa", "with the loss", COLOURS[0]),
            )
        ]

    return [
        line_chart("Flow error (EPE, px)", [*both("val/flow/epe_px", 1), *baselines]),
        line_chart("Diffusion loss, running mean", both("train/diffusion", SMOOTHED)),
        line_chart("Leffa loss (unweighted), running mean", both("train/leffa", SMOOTHED)),
    ]
