"""The report of a training run: one page without scripts, made from the files in its folder."""

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from leffa.io.atomic import write_text
from leffa.io.charts import COLOURS, Line, line_chart
from leffa.io.pages import data_address, render
from leffa.training.curves import CSV_LOG, Points, read_curves, running_mean
from leffa.training.run_metadata import CHANGES, CONFIG, ENVIRONMENT

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
    """Write `<folder>/report.html` of a run; `state` is a line on how far it is."""
    config = _read(folder / CONFIG) or {}
    curves = read_curves(folder / CSV_LOG)
    changes = _read(folder / CHANGES) or {}
    page = render(
        "training/report.html",
        name=config.get("name", folder.name),
        state=state,
        charts=list(_charts(curves)),
        curves=list(curves),
        smoothed=SMOOTHED,
        grids=list(_grids(folder / "images")),
        changes={
            key: {side: _value_text(value) for side, value in both.items()}
            for key, both in changes.items()
        },
        starts=_read(folder / ENVIRONMENT) or [],
        config=yaml.safe_dump(config, sort_keys=False),
    )
    write_text(folder / REPORT, page)
    return folder / REPORT


def _charts(curves: Mapping[str, Points]) -> Iterator[str]:
    for title, beginnings in CHARTS.items():
        names = [
            name
            for name in sorted(curves)
            if name.startswith(beginnings) and not name.endswith("_excluded")
        ]
        lines = [
            Line(name.partition("/")[2], _thinned(name, curves[name]), colour)
            for name, colour in zip(names, cycle(COLOURS), strict=False)
        ]
        if chart := line_chart(title, lines):
            yield chart


def _thinned(name: str, points: Points) -> Points:
    """A noisy curve as its running mean, a long one thinned out."""
    if not name.startswith("val/"):
        points = running_mean(points, SMOOTHED)
    return points[:: -(-len(points) // DRAWN)]


def _grids(folder: Path) -> Iterator[tuple[int, str]]:
    """Step and address of the first sheet of samples, one from the middle, and the last."""
    pictures = sorted(folder.glob("step_*.png"))
    if len(pictures) > GRIDS:
        pictures = [pictures[0], pictures[len(pictures) // 2], pictures[-1]]
    for path in pictures:
        yield int(path.stem.removeprefix("step_")), data_address(path.read_bytes())


def _value_text(value: Any) -> str:
    """A configuration value: lists and tables as YAML, "-" where there is none."""
    if value is None:
        return "-"
    return yaml.safe_dump(value, sort_keys=False).strip() if isinstance(value, list) else str(value)


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
