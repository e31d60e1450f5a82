"""Finished evaluations, read from their folders: numbers under the names of published columns."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from leffa.metrics.report import TITLES

log = logging.getLogger(__name__)

CATEGORIES = {
    "upper_body": "dresscode_upper",
    "lower_body": "dresscode_lower",
    "dresses": "dresscode_dresses",
}
SETTINGS = ("paired", "unpaired")  # how the name of a try-on dataset ends
FLOW_COLUMNS = {
    f"flow/{name}": name
    for name in ("epe_px", "pck_3", "match_epe_px", "match_pck_3", "match_pairs")
}


class Benchmark(NamedTuple):
    """A test set of papers, and its official length, None where it has several."""

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
        """(height, width) of the images."""
        height, width = self.content["size"]
        return height, width

    @property
    def complete(self) -> bool:
        """Whether the official test set was scored, as far as its length tells."""
        expected = benchmark_of(self.benchmark).images
        return self.content.get("subset_of") is None and expected in (None, self.images)


def read_results(runs: Sequence[Path]) -> list[Result]:
    """The evaluations in these folders, or below them, with DressCode's categories apart.

    A folder without one is told and skipped: `outputs/evaluate_*` names interrupted ones as well.

    Raises:
        FileNotFoundError: there is no such folder, or none holds a finished evaluation.
        ValueError: a result file is not JSON.
    """
    results: list[Result] = []
    unfinished = []
    for run in runs:
        if not run.is_dir():
            raise FileNotFoundError(f"{run}: no such folder; give the folder of an evaluation")
        own = _evaluation(run / "metrics.json")
        paths = [run / "metrics.json"] if own else sorted(run.rglob("metrics.json"))
        found = [(path.parent, content) for path in paths if (content := _evaluation(path))]
        results += [result for folder, content in found for result in _results(folder, content)]
        if not found:
            unfinished.append(run)
    if not results:
        raise FileNotFoundError(
            f"no finished evaluation in {', '.join(map(str, runs))}; run "
            f"evaluate.py with paths.output_dir={runs[0]} first, or again if it was interrupted"
        )
    for run in unfinished:
        log.warning("%s: left out, since its evaluation is not finished", run)
    return results


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


def _results(folder: Path, content: dict[str, Any]) -> Iterator[Result]:
    benchmark, _, setting = content["dataset"].rpartition("_")
    if setting not in SETTINGS:
        benchmark, setting = content["dataset"], ""
    values = _columns(content["scores"]["values"], setting, content)
    found = content["metrics"]
    values |= {name: float(found[key]) for key, name in FLOW_COLUMNS.items() if key in found}
    yield Result(folder, benchmark, values, content["samples"], content)
    for category, part in content.get("categories", {}).items():
        values = _columns(part["values"], setting, content)
        yield Result(folder, CATEGORIES[category], values, part["images"], content)


def _columns(values: dict[str, Any], setting: str, content: dict[str, Any]) -> dict[str, float]:
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
