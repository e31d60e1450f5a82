"""Our results beside the published numbers, with what may and may not be compared.

Two numbers of one column compare only if the same code computed them, on pictures of the same size,
over the same images. A cell for which that is not known carries the reason: see `MARKS`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from leffa.metrics.published import COLUMNS, Row, Table

# Why a cell does not compare with the others.
MARKS = {
    "†": "published under another protocol than ours, or an unknown one",
    "‡": "pictures of another size, or a size that is not stated",
    "§": "not over the official test set: FID and KID depend on the number of images",
}

# Benchmark -> (title, images of its official test set).
BENCHMARKS: dict[str, tuple[str, int | None]] = {
    "vitonhd": ("VITON-HD", 2032),
    "viton": ("VITON", None),  # its lists are in several lengths
    "dresscode_all": ("DressCode, all categories", 5400),
    "dresscode_upper": ("DressCode, upper body", 1800),
    "dresscode_lower": ("DressCode, lower body", 1800),
    "dresscode_dresses": ("DressCode, dresses", 1800),
    "deepfashion_256": ("DeepFashion, 256x176", 8570),
    "deepfashion_512": ("DeepFashion, 512x352", 8570),
    "market1501": ("Market-1501", 12000),
    "wpose": ("WPose", 2304),
    "synthetic_tryon": ("The drawn world, try-on", None),
    "synthetic_pose": ("The drawn world, pose transfer", None),
}
CATEGORIES = {
    "upper_body": "dresscode_upper",
    "lower_body": "dresscode_lower",
    "dresses": "dresscode_dresses",
}
SETTINGS = ("paired", "unpaired")  # how the name of a try-on data set ends
FLOW_COLUMNS = {"flow/epe_px": "epe_px", "flow/pck_3": "pck_3"}
TITLES: dict[str, tuple[str, int, bool | None]] = COLUMNS | {
    "epe_px": ("EPE (px)", 2, False),
    "pck_3": ("PCK 3 %", 3, True),
    "ssim_full": ("SSIM (whole map)", 3, True),
    "ssim_cropped": ("SSIM (cropped)", 3, True),
    "mse": ("MSE", 4, False),
    "fid_pytorch": ("FID (pytorch-fid)", 2, False),
    "fid_pytorch_paired": ("FID paired (pytorch-fid)", 2, False),
    "fid_pytorch_unpaired": ("FID unpaired (pytorch-fid)", 2, False),
}


@dataclass(frozen=True)
class Result:
    """A finished evaluation, or one category of it; `content` is its metrics.json."""

    folder: Path
    benchmark: str
    setting: str | None  # "paired", "unpaired", or None where the data set has one setting only
    values: dict[str, float]  # column -> value; KID times 1000
    images: int
    content: dict[str, Any]

    @property
    def protocol(self) -> str:
        """The protocol's name."""
        return str(self.content["scores"]["protocol"]["name"])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the pictures."""
        height, width = self.content["size"]
        return height, width

    @property
    def complete(self) -> bool:
        """Whether the official test set was scored, as far as its length tells."""
        expected = BENCHMARKS.get(self.benchmark, ("", None))[1]
        whole = self.content.get("subset_of") is None
        return whole and (expected is None or expected == self.images)


@dataclass(frozen=True)
class Line:
    """A row of a comparison; `marks` has the keys of `MARKS` for a column that does not compare."""

    method: str
    values: dict[str, float]
    ours: bool
    protocol: str
    size: tuple[int, int] | None
    source: str
    remark: str = ""
    marks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One benchmark: our lines and the published ones.

    Attributes:
        apart: columns in which no published value compares with ours.
        notes: what a reader should know.
    """

    benchmark: str
    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    apart: tuple[str, ...]
    notes: tuple[str, ...]


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


def compare(results: Sequence[Result], published: Sequence[Table]) -> list[Comparison]:
    """One comparison for each benchmark of the results."""
    benchmarks = dict.fromkeys(result.benchmark for result in results)
    return [
        _compare(
            benchmark,
            [result for result in results if result.benchmark == benchmark],
            [table for table in published if table.benchmark == benchmark],
        )
        for benchmark in benchmarks
    ]


def _compare(benchmark: str, results: Sequence[Result], tables: Sequence[Table]) -> Comparison:
    ours = _our_lines(results)
    theirs = [_mark(row, ours) for row in _distinct(tables)]
    present = {column for line in (*ours, *theirs) for column in line.values}
    known = [column for column in TITLES if column in present]
    columns = (*known, *sorted(present - set(known)))
    apart = tuple(
        column
        for column in columns
        if any(column in line.values for line in ours)
        and (cells := [line for line in theirs if column in line.values])
        and all(column in line.marks for line in cells)
    )
    notes = dict.fromkeys(remark for table in tables for remark in table.remarks)
    title = BENCHMARKS.get(benchmark, (benchmark, None))[0]
    return Comparison(benchmark, title, columns, (*ours, *theirs), apart, tuple(notes))


def _our_lines(results: Sequence[Result]) -> list[Line]:
    """Paired and unpaired results of one checkpoint, protocol and sampler share a line."""
    lines: dict[str, Line] = {}
    for result in results:
        content = result.content
        protocol = content["scores"]["protocol"]
        alike = [content.get(key) for key in ("trained_as", "ckpt", "sampler", "precision", "size")]
        key = json.dumps([*alike, protocol["name"], protocol["version"]])
        while key in lines and lines[key].values.keys() & result.values.keys():
            key += "+"  # the same once more: a line of its own
        line = lines.get(key) or Line(
            method=f"{content.get('trained_as', content['dataset'])} (ours)",
            values={},
            ours=True,
            protocol=f"{protocol['name']} v{protocol['version']}",
            size=result.size,
            source=str(result.folder),
        )
        remark, marks = line.remark, line.marks
        if not result.complete:
            total = BENCHMARKS.get(result.benchmark, ("", None))[1] or content.get("subset_of")
            remark = f"{result.images:,} of {total:,} images"
            marks = marks | {c: "§" for c in result.values if c.startswith(("fid", "kid"))}
        lines[key] = replace(line, values=line.values | result.values, remark=remark, marks=marks)
    return _told_apart(list(lines.values()))


def _told_apart(lines: list[Line]) -> list[Line]:
    """Lines of one name get their folder's name as well."""
    names = [line.method for line in lines]
    return [
        replace(line, method=f"{line.method}, {Path(line.source).name}")
        if names.count(line.method) > 1
        else line
        for line in lines
    ]


def _distinct(tables: Iterable[Table]) -> list[Row]:
    """The rows of all tables; one that repeats the numbers of an earlier row is left out."""
    rows: list[Row] = []
    for table in tables:
        for row in table.rows:
            if not any(row.values == earlier.values for earlier in rows):
                rows.append(row)
    return rows


def _mark(row: Row, ours: Sequence[Line]) -> Line:
    sizes = {line.size for line in ours if line.protocol.split()[0] in row.protocols}
    mark = "" if sizes else "†"
    if row.size is None or row.size not in (sizes or {line.size for line in ours}):
        mark += "‡"
    evidence = {"read": "", "secondary": "quoted elsewhere", "memory": "unchecked"}[row.evidence]
    return Line(
        method=row.method,
        values=row.values,
        ours=False,
        protocol=", ".join(row.protocols) or "unknown",
        size=row.size,
        source=f"{row.source}, {row.where}",
        remark="; ".join(filter(None, (evidence, row.remark))),
        marks=dict.fromkeys(row.values, mark) if mark else {},
    )


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
    whole = Result(folder, benchmark, setting, values, content["samples"], content)
    parts = [
        Result(
            folder,
            CATEGORIES[category],
            setting,
            _columns(part["values"], setting, content),
            part["images"],
            content,
        )
        for category, part in content.get("categories", {}).items()
    ]
    return [whole, *parts]


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
