"""Finished evaluations, read from their folders: numbers under the names of published columns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from leffa.metrics.report import TITLES

CATEGORIES = {
    "upper_body": "dresscode_upper",
    "lower_body": "dresscode_lower",
    "dresses": "dresscode_dresses",
}
SETTINGS = ("paired", "unpaired")  # how the name of a try-on data set ends
FLOW_COLUMNS = {"flow/epe_px": "epe_px", "flow/pck_3": "pck_3"}


class Benchmark(NamedTuple):
    """A test set that papers report; `images` is its official length, None where it has several."""

    title: str
    images: int | None = None


def benchmark_of(name: str) -> Benchmark:
    """The benchmark of that name; one that is not known has its name as the title."""
    return Benchmark(*TITLES["benchmarks"].get(name, (name,)))


@dataclass(frozen=True)
class Result:
    """A finished evaluation, or one category of it; `content` is its metrics.json."""

    folder: Path
    benchmark: str
    values: dict[str, float]  # column -> value; KID times 1000
    images: int
    content: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        height, width = self.content["size"]
        return height, width

    @property
    def complete(self) -> bool:
        """Whether the official test set was scored, as far as its length tells."""
        expected = benchmark_of(self.benchmark).images
        whole = self.content.get("subset_of") is None
        return whole and (expected is None or expected == self.images)


def read_results(run: Path) -> list[Result]:
    """The evaluation in a folder, or all of them below it, with DressCode's categories apart.

    Raises:
        FileNotFoundError: there is no finished evaluation.
        ValueError: a result file is not JSON.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such folder; give the folder of an evaluation")
    own = _evaluation(run / "metrics.json")
    found = [run / "metrics.json"] if own else sorted(run.rglob("metrics.json"))
    contents = [(path.parent, content) for path in found if (content := _evaluation(path))]
    if not contents:
        raise FileNotFoundError(
            f"{run}: no finished evaluation (metrics.json); run evaluate.py with "
            f"paths.output_dir={run} first, or again if it was interrupted"
        )
    return [result for folder, content in contents for result in _results(folder, content)]


def finished_runs(runs: Sequence[Path]) -> tuple[list[Result], list[Path]]:
    """The results of several folders, and the folders among them without a finished evaluation:
    `outputs/evaluate_*` names those as well that were interrupted.

    Raises:
        FileNotFoundError: no evaluation is finished, or there is no such folder.
        ValueError: a result file is not JSON.
    """
    results, unfinished = [], []
    for run in runs:
        try:
            results += read_results(run)
        except FileNotFoundError:
            if not run.is_dir() or len(runs) == 1:
                raise
            unfinished.append(run)
    if not results:
        raise FileNotFoundError(f"no finished evaluation in {', '.join(map(str, runs))}")
    return results, unfinished


def _evaluation(path: Path) -> dict[str, Any] | None:
    """The content of an evaluation's result file; None for what is none."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); run the evaluation again") from error
    is_ours = isinstance(content, dict) and {"dataset", "scores", "size"} <= content.keys()
    return content if is_ours else None


def _results(folder: Path, content: dict[str, Any]) -> list[Result]:
    benchmark, _, setting = content["dataset"].rpartition("_")
    if setting not in SETTINGS:
        benchmark, setting = content["dataset"], None
    values = _columns(content["scores"]["values"], setting, content)
    values |= {
        column: float(content["metrics"][key])
        for key, column in FLOW_COLUMNS.items()
        if key in content["metrics"]
    }
    results = [Result(folder, benchmark, values, content["samples"], content)]
    for category, part in content.get("categories", {}).items():
        values = _columns(part["values"], setting, content)
        results.append(Result(folder, CATEGORIES[category], values, part["images"], content))
    return results


def _columns(
    values: dict[str, Any], setting: str | None, content: dict[str, Any]
) -> dict[str, float]:
    """Metrics under the names of published columns; KID in thousandths, as papers print it."""
    sets = content["scores"]["protocol"].get("sets", {})
    columns = {}
    for key, value in values.items():
        if key.endswith("_std"):
            continue
        number = float(value)
        if key.startswith("kid"):
            settings = sets.get(key, {}) if isinstance(sets, dict) else {}
            number *= 1000 / settings.get("factor", 1.0)
        is_set = key.startswith(("fid", "kid"))
        columns[f"{key}_{setting}" if is_set and setting else key] = number
    return columns
