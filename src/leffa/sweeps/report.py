"""A sweep's runs as a ranking, curves and heat maps.

What was varied is read from the runs' configurations, so runs of several sweeps can lie in one
folder. Runs that differ in nothing but the seed are averaged. A curve or a heat map shows one or
two keys; every other key has its usual value there, the one that most runs have.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from leffa.cli_errors import dotted
from leffa.io.atomic import replacing, write_text
from leffa.io.outputs import PNG_TEXT, check_writable, marked_text
from leffa.io.pages import data_address, render
from leffa.sweeps.jobs import MEANS, Result, job_folders, read_result
from leffa.training.curves import CSV_LOG, read_curves
from leffa.training.run_metadata import CONFIG

SEED = "seed"
Value = Any  # of a key: a number, a text, None


@dataclass(frozen=True)
class Cell:
    """The runs that differ in nothing but the seed."""

    values: tuple[Value, ...]  # of the varied keys, in their order
    scores: tuple[float, ...]  # one for each seed

    @property
    def mean(self) -> float:
        return math.fsum(self.scores) / len(self.scores)

    @property
    def spread(self) -> float:
        """Sample standard deviation over seeds; 0 for one seed."""
        if len(self.scores) < 2:
            return 0.0
        squares = math.fsum((score - self.mean) ** 2 for score in self.scores)
        return math.sqrt(squares / (len(self.scores) - 1))


@dataclass(frozen=True)
class Sweep:
    """What a folder of runs says."""

    metric: str
    keys: tuple[str, ...]
    cells: tuple[Cell, ...]  # best first
    others: tuple[str, ...]  # a line for each run without the metric

    def usual(self) -> tuple[Value, ...]:
        """The most frequent value of each key."""
        columns = zip(*(cell.values for cell in self.cells), strict=True)
        return tuple(Counter(column).most_common(1)[0][0] for column in columns)

    def slice(self, *free: int) -> dict[tuple[Value, ...], Cell]:
        """The cells that have the usual value of every key but the free ones, by those."""
        usual = self.usual()
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
    configs = {job: _leaves(job) for job in scores}
    keys = _varied(list(configs.values()))
    # By seed, since sweeps in one folder may share a run.
    groups: dict[tuple[Value, ...], dict[Value, float]] = {}
    for job, config in configs.items():
        values = tuple(config.get(key) for key in keys)
        groups.setdefault(values, {})[config.get(SEED)] = scores[job]
    cells = [Cell(values, tuple(seeds.values())) for values, seeds in groups.items()]
    cells.sort(key=lambda cell: cell.mean, reverse=largest)
    return Sweep(metric, keys, tuple(cells), tuple(others))


def write_report(
    folder: Path, out: Path, metric: str | None = None, largest: bool = False
) -> list[Path]:
    """Write `report.md`, `report.html` and a PNG for each curve and heat map; gives their paths."""
    sweep = read_sweep(folder, metric, largest)
    figures = {out / f"{name}.png": figure for name, figure in draw(sweep, largest).items()}
    pictures = list(figures)
    check_writable([out / "report.md", out / "report.html", *pictures])
    for path, figure in figures.items():
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata=PNG_TEXT)
    markdown = to_markdown(sweep)
    links = "\n\n".join(f"![{path.stem}]({path.name})" for path in pictures)
    text = marked_text(f"{markdown}\n\n{links}\n", ".md")
    pages = {"report.md": text, "report.html": _page(sweep, pictures)}
    for name, text in pages.items():
        write_text(out / name, text)
    return [*(out / name for name in pages), *pictures]


def to_markdown(sweep: Sweep) -> str:
    """The ranking, best first, and what is not in it."""
    head, rows = _table(sweep)
    lines = ["| " + " | ".join(head) + " |", "|---:" * len(head) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    if sweep.others:
        lines += ["", "Not in the ranking:", "", *(f"- {line}" for line in sweep.others)]
    return "\n".join(lines)


def draw(sweep: Sweep, largest: bool = False) -> dict[str, Figure]:
    """Figures by file name: a curve for each key, a heat map for each pair that has a grid."""
    figures = {}
    for index, key in enumerate(sweep.keys):
        points = sweep.slice(index)
        if len(points) > 1:
            figures[f"curve_{_short(key)}"] = _curve(sweep.metric, key, points)
    for pair in combinations(range(len(sweep.keys)), 2):
        cells = sweep.slice(*pair)
        sides = [len({values[side] for values in cells}) for side in (0, 1)]
        if min(sides) > 1 and len(cells) > sum(sides) - 1:  # more than a cross
            keys = [sweep.keys[index] for index in pair]
            name = "heatmap_" + "_".join(_short(key) for key in keys)
            figures[name] = _heat_map(sweep.metric, keys, cells, largest)
    return figures


def _curve(metric: str, key: str, points: dict[tuple[Value, ...], Cell]) -> Figure:
    values = _ordered({value for (value,) in points})
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    cells = [points[value,] for value in values]
    axes.errorbar(
        range(len(values)),
        [cell.mean for cell in cells],
        yerr=[cell.spread for cell in cells],
        marker="o",
        capsize=3,
    )
    axes.set_xticks(range(len(values)), [_text(value) for value in values])
    axes.set(xlabel=key, ylabel=metric)
    axes.grid(alpha=0.3)
    return figure


def _heat_map(
    metric: str, keys: Sequence[str], cells: dict[tuple[Value, ...], Cell], largest: bool
) -> Figure:
    rows, columns = (_ordered({values[side] for values in cells}) for side in (0, 1))
    means = [
        [cells[row, column].mean if (row, column) in cells else math.nan for column in columns]
        for row in rows
    ]
    figure = Figure(figsize=(1.6 + 0.8 * len(columns), 1.4 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(means, cmap="viridis" if largest else "viridis_r", aspect="auto")
    axes.set_xticks(range(len(columns)), [_text(value) for value in columns])
    axes.set_yticks(range(len(rows)), [_text(value) for value in rows])
    axes.set(xlabel=keys[1], ylabel=keys[0])
    for y, line in enumerate(means):
        for x, mean in enumerate(line):
            if not math.isnan(mean):
                box = {"facecolor": "white", "alpha": 0.7, "pad": 1.5, "edgecolor": "none"}
                axes.text(x, y, f"{mean:.3g}", ha="center", va="center", fontsize=8, bbox=box)
    figure.colorbar(image, label=metric)
    return figure


def _table(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    head = ["rank", *sweep.keys, sweep.metric, "std", "runs"]
    rows = []
    for rank, cell in enumerate(sweep.cells, 1):
        spread = f"{cell.spread:.4g}" if len(cell.scores) > 1 else "-"
        values = [_text(value) for value in cell.values]
        rows.append([str(rank), *values, f"{cell.mean:.5g}", spread, str(len(cell.scores))])
    return head, rows


def _page(sweep: Sweep, pictures: Sequence[Path]) -> str:
    head, rows = _table(sweep)
    return render(
        "sweeps/report.html",
        metric=sweep.metric,
        head=head,
        rows=rows,
        pictures=[(path.stem, data_address(path.read_bytes())) for path in pictures],
        others=sweep.others,
    )


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


def _leaves(job: Path) -> dict[str, Value]:
    config = yaml.safe_load((job / CONFIG).read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in (*MEANS, "name", "run_name")}
    return {
        key: str(value) if isinstance(value, list) else value
        for key, value in dotted(kept).items()
        if not isinstance(value, dict)
    }


def _varied(configs: Sequence[dict[str, Value]]) -> tuple[str, ...]:
    keys = sorted({key for config in configs for key in config} - {SEED})
    return tuple(key for key in keys if len({config.get(key) for config in configs}) > 1)


def _ordered(values: set[Value]) -> list[Value]:
    """Numbers by size, then the rest by name."""
    number = (int, float)
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, number) else (1, 0.0, str(v)))


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1]
