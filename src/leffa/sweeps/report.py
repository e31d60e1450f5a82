"""A sweep's runs as a ranking, and curves and heat maps in one figure.

What was varied is read from the runs' configurations, so runs of several sweeps can lie in one
folder. Runs that differ in nothing but the seed are averaged. A curve or a heat map shows one or
two keys; every other key has its usual value there, the one that most runs have.
"""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leffa.cli_errors import dotted
from leffa.io.atomic import replacing, write_text
from leffa.io.outputs import PNG_TEXT, check_writable, marked_text
from leffa.io.pages import data_address, render
from leffa.sweeps.jobs import IGNORED_KEYS, Result, job_folders, read_result
from leffa.training.curves import CSV_LOG, read_curves
from leffa.training.run_metadata import CONFIG

SEED, LOSS = "seed", "attention_loss.name"
Value = Any  # of a key: a number, a text, None


@dataclass(frozen=True)
class Cell:
    """The runs that differ in nothing but the seed."""

    values: tuple[Value, ...]  # of the varied keys, in their order
    scores: tuple[float, ...]  # one for each seed

    @property
    def mean(self) -> float:
        return fmean(self.scores)

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for one seed."""
        return stdev(self.scores) if len(self.scores) > 1 else 0.0


@dataclass(frozen=True)
class Sweep:
    """What a folder of runs says."""

    metric: str
    keys: tuple[str, ...]
    cells: tuple[Cell, ...]  # best first
    others: tuple[str, ...]  # a line for each run without the metric

    def slice(self, *free: int) -> dict[tuple[Value, ...], Cell]:
        """The cells that have the usual value of every key but the free ones, by those."""
        columns = zip(*(cell.values for cell in self.cells), strict=True)
        usual = [Counter(column).most_common(1)[0][0] for column in columns]
        return {
            tuple(cell.values[index] for index in free): cell
            for cell in self.cells
            if all(cell.values[i] == value for i, value in enumerate(usual) if i not in free)
        }


def read_sweep(folder: Path, metric: str | None = None, largest: bool = False) -> Sweep:
    """Collect the runs below a folder.

    Args:
        metric: such as "val/ssim", as last logged; None for the objective of the runs.
        largest: whether the largest value is best.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: no run has the metric, or the runs have different objectives.
    """
    if not folder.is_dir() or not (jobs := job_folders(folder)):
        raise FileNotFoundError(f"{folder}: holds no run; give the folder of a sweep")
    results = {job: read_result(job) for job in jobs}
    if metric is None:
        metric = _objective(folder, results)
    scores, others = {}, []
    for job, result in results.items():
        score = _score(job, result, metric)
        if score is None or not (job / CONFIG).is_file():
            others.append(f"{job.relative_to(folder)}: {_why(result, metric)}")
        else:
            scores[job] = score
    if not scores:
        raise ValueError(f"{folder}: no finished run has measured {metric}; {others[0]}")
    configs = {job: _settings(job) for job in scores}
    keys = _varied(configs.values())
    # By seed, since sweeps in one folder may share a run.
    groups: dict[tuple[Value, ...], dict[Value, float]] = {}
    for job, config in configs.items():
        values = tuple(config.get(key) for key in keys)
        groups.setdefault(values, {})[config.get(SEED)] = scores[job]
    cells = [Cell(values, tuple(seeds.values())) for values, seeds in groups.items()]
    cells.sort(key=lambda cell: cell.mean, reverse=largest)
    return Sweep(metric, tuple(keys), tuple(cells), tuple(others))


def _varied(configs: Collection[dict[str, Value]]) -> list[str]:
    """The keys that differ between runs, but for the seed.

    Each loss on the attention has settings of its own: they count where runs of one loss differ.
    """

    def differ(key: str, runs: Collection[dict[str, Value]]) -> bool:
        return len({config.get(key) for config in runs}) > 1

    losses: dict[Value, list[dict[str, Value]]] = {}
    for config in configs:
        losses.setdefault(config.get(LOSS), []).append(config)
    names = sorted({key for config in configs for key in config} - {SEED})
    return [
        key
        for key in names
        if differ(key, configs)
        and (
            key == LOSS
            or not key.startswith("attention_loss.")
            or any(differ(key, runs) for runs in losses.values())
        )
    ]


def _objective(folder: Path, results: dict[Path, Result | None]) -> str:
    metrics = {result.metric for result in results.values() if result}
    if len(metrics) != 1:
        found = "no run has ended" if not metrics else f"the runs have {', '.join(sorted(metrics))}"
        raise ValueError(f"{folder}: {found}; give --metric")
    return metrics.pop()


def _score(job: Path, result: Result | None, metric: str) -> float | None:
    if result is None or result.state != "finished":
        return None
    if metric == result.metric:
        return result.value
    points = read_curves(job / CSV_LOG).get(metric)
    return points[-1][1] if points else None


def _why(result: Result | None, metric: str) -> str:
    if result is None:
        return "not finished"
    return f"failed: {result.reason}" if result.state == "failed" else f"has no {metric}"


def _settings(job: Path) -> dict[str, Value]:
    """What may have been varied, by dotted key."""
    config = yaml.safe_load((job / CONFIG).read_text(encoding="utf-8"))
    ignored = (*IGNORED_KEYS, "name", "run_name")
    kept = {key: value for key, value in config.items() if key not in ignored}
    return {
        key: str(value) if isinstance(value, list) else value
        for key, value in dotted(kept).items()
        if not isinstance(value, dict)
    }


def write_report(
    folder: Path, out: Path, metric: str | None = None, largest: bool = False
) -> list[Path]:
    """Write `report.html`, `report.md` and, where something was varied, `report.png`.

    Returns:
        The paths of what was written.
    """
    sweep = read_sweep(folder, metric, largest)
    page, text, picture = (out / f"report.{suffix}" for suffix in ("html", "md", "png"))
    check_writable([page, text, picture])
    markdown, figure, address = to_markdown(sweep), draw(sweep, largest), ""
    if figure is not None:
        markdown += f"\n\n![curves and heat maps]({picture.name})"
        with replacing(picture) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata=PNG_TEXT)
        address = data_address(picture.read_bytes())
    head, *rows = _table(sweep)
    shown = {"metric": sweep.metric, "largest": largest, "others": sweep.others}
    name = folder.resolve().name
    write_text(
        page,
        render("sweeps/report.html", name=name, head=head, rows=rows, picture=address, **shown),
    )
    write_text(text, marked_text(f"{markdown}\n", ".md"))
    return [page, text] if figure is None else [page, text, picture]


def to_markdown(sweep: Sweep) -> str:
    """The ranking, best first, and what is not in it."""
    head, *rows = _table(sweep)
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---:"] * len(head), *rows]]
    if sweep.others:
        lines += ["", "Not in the ranking:", "", *(f"- {line}" for line in sweep.others)]
    return "\n".join(lines)


def _table(sweep: Sweep) -> list[list[str]]:
    """The ranking as text, its head first."""
    rows = [["rank", *sweep.keys, sweep.metric, "std", "runs"]]
    for rank, cell in enumerate(sweep.cells, 1):
        spread = f"{cell.spread:.4g}" if len(cell.scores) > 1 else "-"
        values = [_text(value) for value in cell.values]
        rows.append([str(rank), *values, f"{cell.mean:.5g}", spread, str(len(cell.scores))])
    return rows


def draw(sweep: Sweep, largest: bool = False) -> Figure | None:
    """A curve for each key, and a heat map for each pair of keys that has a grid."""
    panels: list[tuple[int, ...]] = [
        (key,) for key in range(len(sweep.keys)) if len(sweep.slice(key)) > 1
    ]
    for pair in combinations(range(len(sweep.keys)), 2):
        cells = sweep.slice(*pair)
        sides = [len({values[side] for values in cells}) for side in (0, 1)]
        if min(sides) > 1 and len(cells) > sum(sides) - 1:  # more than a cross
            panels.append(pair)
    if not panels:
        return None
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5 * columns, 3.6 * rows), layout="constrained")
    for number, panel in enumerate(panels, 1):
        axes = figure.add_subplot(rows, columns, number)
        if len(panel) == 1:
            _curve(axes, sweep, *panel)
        else:
            _heat_map(axes, sweep, panel, "viridis" if largest else "viridis_r")
    return figure


def _curve(axes: Axes, sweep: Sweep, key: int) -> None:
    cells = sweep.slice(key)
    values = _ordered({value for (value,) in cells})
    means, spreads = zip(*((cells[v,].mean, cells[v,].spread) for v in values), strict=True)
    axes.errorbar(range(len(values)), means, yerr=spreads, marker="o", capsize=3)
    axes.set_xticks(range(len(values)), [_text(value) for value in values])
    axes.set(xlabel=sweep.keys[key], ylabel=sweep.metric)
    axes.grid(alpha=0.3)


def _heat_map(axes: Axes, sweep: Sweep, keys: tuple[int, ...], colours: str) -> None:
    cells = sweep.slice(*keys)
    rows, columns = (_ordered({values[side] for values in cells}) for side in (0, 1))
    means = [
        [cells[row, column].mean if (row, column) in cells else math.nan for column in columns]
        for row in rows
    ]
    image = axes.imshow(means, cmap=colours, aspect="auto")
    axes.set_xticks(range(len(columns)), [_text(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_text(value) for value in rows])
    axes.set(xlabel=sweep.keys[keys[1]], ylabel=sweep.keys[keys[0]])
    box = {"facecolor": "white", "alpha": 0.7, "pad": 1.5, "edgecolor": "none"}
    for y, line in enumerate(means):
        for x, mean in enumerate(line):
            if not math.isnan(mean):
                axes.text(x, y, f"{mean:.3g}", ha="center", va="center", fontsize=8, bbox=box)
    axes.figure.colorbar(image, ax=axes, label=sweep.metric)


def _ordered(values: set[Value]) -> list[Value]:
    """Numbers by size, then the rest by name."""
    number = (int, float)
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, number) else (1, 0.0, str(v)))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
