"""One page that tells how a run goes, from nothing but the files in its folder.

The page needs nothing but itself: pictures are data URIs, charts are inline SVG; no script.
"""

import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

from leffa.chart import Band, Line, line_chart
from leffa.page import data_address, description_list, fill
from leffa.training.curves import CSV_LOG, Points, read_curves
from leffa.training.record import CHANGES, CONFIG, ENVIRONMENT
from leffa.training.reference import BUCKET, Reference, load_reference
from leffa.training.saving import write_whole

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
    "Model FLOPs utilisation": ("speed/utilisation",),
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
    page = fill(
        "leffa.training",
        name=escape(str(config.get("name", folder.name))),
        state=escape(state),
        charts="".join(_charts(read_curves(folder / CSV_LOG), _reference(config))),
        grids="".join(_grids(folder / "images")),
        changes=_changes(_read(folder / CHANGES) or {}),
        starts="".join(description_list(start) for start in starts),
        config=escape(yaml.safe_dump(config, sort_keys=False)),
    )
    path = folder / REPORT
    write_whole(path, lambda file: file.write(page.encode()))
    return path


def _reference(config: Mapping[str, Any]) -> Reference | None:
    source = config.get("callbacks", {}).get("health", {}).get("reference")
    return load_reference(source) if source else None


def _charts(curves: Mapping[str, Points], reference: Reference | None) -> Iterable[str]:
    for title, beginnings in CHARTS.items():
        names = [name for name in sorted(curves) if name.startswith(beginnings)]
        lines = [
            Line(name.partition("/")[2], f"c{index % 6}", _drawn(name, curves[name]))
            for index, name in enumerate(names)
        ]
        bands = [
            Band(
                f"c{index % 6}",
                [(w.step - reference.window / 2, w.low, w.high) for w in reference.bands[name]],
            )
            for index, name in enumerate(names)
            if reference and name.startswith(BUCKET) and name in reference.bands
        ]
        yield line_chart(f"{title}; shaded: a healthy run" if bands else title, lines, bands)


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
        step, address = int(path.stem.removeprefix("step_")), data_address(path.read_bytes())
        yield (
            f"<figure><figcaption>after {step:,} steps</figcaption>"
            f'<img alt="samples after {step} steps" src="{address}"></figure>'
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


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else None
