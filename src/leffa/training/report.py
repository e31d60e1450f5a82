"""One page that tells how a run goes, from nothing but the files in its folder.

The page needs nothing but itself: pictures are data URIs, charts are inline SVG; no script.
"""

import base64
import csv
import math
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from leffa.chart import Line, line_chart
from leffa.training.record import CHANGES, CONFIG, ENVIRONMENT
from leffa.training.saving import write_whole

Points = list[tuple[float, float]]  # (step, value)

REPORT = "report.html"
GRIDS = 3  # the first, one from the middle, the last
SMOOTHED = 10  # logged values in the running mean of a training curve
DRAWN = 400  # points of a curve; more than a screen shows only makes the page heavy

# Charts in this order: heading -> beginnings of the columns that it shows.
CHARTS = {
    "Loss": ("train/",),
    "Diffusion loss by timestep": ("health/diffusion_",),
    "Diffusion loss of the validation by timestep": ("val/diffusion_",),
    "Flow error (EPE, px)": ("val/flow/epe_px",),
    "Flow: spread, peak mass, PCK": ("val/flow/spread", "val/flow/peak_mass", "val/flow/pck"),
    "SSIM": ("val/ssim",),
    "PSNR inside the mask (dB)": ("val/masked_psnr",),
    "Gradient norm": ("grad/",),
    "Images per second": ("speed/images_per_s",),
    "Share of the time spent waiting for data": ("speed/data_wait",),
    "Memory (GB)": ("speed/memory_gb",),
}


def write_report(folder: Path, state: str) -> Path:
    """Write `<folder>/report.html`.

    Args:
        folder: of a run; what is not there yet is left out.
        state: one line on how far it is.
    """
    config = _read(folder / CONFIG) or {}
    starts = _read(folder / ENVIRONMENT) or []
    template = Template(files("leffa.training").joinpath("report.html").read_text(encoding="utf-8"))
    page = template.substitute(
        name=escape(str(config.get("name", folder.name))),
        state=escape(state),
        charts="".join(_charts(read_curves(folder / "logs" / "metrics.csv"))),
        grids="".join(_grids(folder / "images")),
        changes=_changes(_read(folder / CHANGES) or {}),
        starts="".join(_list(start) for start in starts),
        config=escape(yaml.safe_dump(config, sort_keys=False)),
    )
    path = folder / REPORT
    write_whole(path, lambda file: file.write(page.encode()))
    return path


def read_curves(log: Path) -> dict[str, Points]:
    """Every column of a CSV log -> its points; values that are no numbers are left out."""
    curves: dict[str, Points] = {}
    if log.is_file():
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                step = float(row.pop("step"))
                for name, value in row.items():
                    if value and math.isfinite(float(value)):
                        curves.setdefault(name, []).append((step, float(value)))
    return curves


def _charts(curves: Mapping[str, Points]) -> Iterable[str]:
    for title, beginnings in CHARTS.items():
        names = [name for name in sorted(curves) if name.startswith(beginnings)]
        lines = [
            Line(name.partition("/")[2], f"c{index % 6}", _drawn(name, curves[name]))
            for index, name in enumerate(names)
        ]
        yield line_chart(title, lines)


def _drawn(name: str, points: Points) -> Points:
    """A noisy curve as its running mean, a long one thinned out."""
    if not name.startswith("val/"):
        points = [
            (step, math.fsum(value for _, value in recent) / len(recent))
            for index, (step, _) in enumerate(points)
            if (recent := points[max(0, index + 1 - SMOOTHED) : index + 1])
        ]
    return points[:: -(-len(points) // DRAWN)]


def _grids(folder: Path) -> Iterable[str]:
    pictures = sorted(folder.glob("step_*.png"))
    if len(pictures) > GRIDS:
        pictures = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    for path in pictures:
        picture = base64.b64encode(path.read_bytes()).decode()
        step = int(path.stem.removeprefix("step_"))
        yield (
            f"<figure><figcaption>after {step:,} steps</figcaption>"
            f'<img alt="samples after {step} steps" src="data:image/png;base64,{picture}"></figure>'
        )


def _changes(changes: Mapping[str, Mapping[str, Any]]) -> str:
    if not changes:
        return "<p>None: the experiment as it stands.</p>"
    rows = "".join(
        f"<tr><th>{escape(key)}</th><td>{escape(str(both['experiment']))}</td>"
        f"<td>{escape(str(both['run']))}</td></tr>"
        for key, both in changes.items()
    )
    head = "<tr><td></td><th>experiment</th><th>this run</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _list(facts: Mapping[str, Any]) -> str:
    rows = (f"<dt>{escape(key)}</dt><dd>{escape(str(fact))}</dd>" for key, fact in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else None
