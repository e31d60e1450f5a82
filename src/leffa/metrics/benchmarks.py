"""Our results beside the published numbers, with what may and may not be compared.

Two numbers of one column compare only if the same code computed them, on pictures of the same size,
over the same images. A cell for which that is not known carries the reason: see `MARKS`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from leffa.metrics.finished import Result, benchmark_of
from leffa.metrics.published import Row, Table
from leffa.metrics.report import COLUMNS, column
from leffa.metrics.views import as_text

# Why a cell does not compare with the others.
MARKS = {
    "†": "published under another protocol than ours, or an unknown one",
    "‡": "pictures of another size, or a size that is not stated",
    "§": "not over the official test set: FID and KID depend on the number of images",
}


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

    def rounded(self, name: str) -> str:
        """The value of a column as tables print it, without its marks."""
        return f"{self.values[name]:.{column(name).digits}f}"

    def cell(self, name: str) -> str:
        """The same with its marks; a dash where there is no value."""
        return self.rounded(name) + self.marks.get(name, "") if name in self.values else "-"

    def why(self, name: str) -> str:
        """What the marks of a column say."""
        return "; ".join(MARKS[each] for each in self.marks.get(name, ""))

    @property
    def size_text(self) -> str:
        """Height x width; a question mark where a source does not state it."""
        return "?" if self.size is None else as_text(self.size)

    @property
    def source_text(self) -> str:
        """The source without its address; ours is the folder's name."""
        return Path(self.source).name if self.ours else self.source.partition(",")[0]


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

    def heading(self, name: str) -> str:
        """A column's heading: which way is better, and whether no published number compares."""
        return column(name).heading + (" ≠" if name in self.apart else "")

    @property
    def marks(self) -> dict[str, str]:
        """The marks that are in use, and what they say."""
        used = "".join(mark for line in self.lines for mark in line.marks.values())
        return {mark: why for mark, why in MARKS.items() if mark in used}

    @property
    def all_notes(self) -> list[str]:
        """The marks in use, then remarks on tables and rows."""
        notes = [f"{mark} {why}" for mark, why in self.marks.items()]
        if self.apart:
            titles = ", ".join(column(name).title for name in self.apart)
            notes.append(f"≠ no published value of this column compares with ours: {titles}")
        rows = (
            f"{each.method}: {each.remark} ({each.source})" for each in self.lines if each.remark
        )
        return [*notes, *self.notes, *rows]


def compare(results: Sequence[Result], published: Sequence[Table]) -> list[Comparison]:
    """One comparison for each benchmark of the results."""
    return [
        _compare(name, results, [table for table in published if table.benchmark == name])
        for name in dict.fromkeys(result.benchmark for result in results)
    ]


def _compare(benchmark: str, results: Sequence[Result], tables: Sequence[Table]) -> Comparison:
    ours = _our_lines([result for result in results if result.benchmark == benchmark])
    theirs = [_mark(row, ours) for row in _distinct(tables)]
    present = {column for line in (*ours, *theirs) for column in line.values}
    known = [column for column in COLUMNS if column in present]
    columns = (*known, *sorted(present - set(known)))
    apart = tuple(
        column
        for column in columns
        if any(column in line.values for line in ours)
        and (cells := [line for line in theirs if column in line.values])
        and all(column in line.marks for line in cells)
    )
    notes = dict.fromkeys(remark for table in tables for remark in table.remarks)
    title = benchmark_of(benchmark).title
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
            total = benchmark_of(result.benchmark).images or content.get("subset_of")
            remark = f"{result.images:,} of {total:,} images"
            marks = marks | {c: "§" for c in result.values if c.startswith(("fid", "kid"))}
        lines[key] = replace(line, values=line.values | result.values, remark=remark, marks=marks)
    names = [line.method for line in lines.values()]
    return [  # lines of one name get their folder's name as well
        replace(line, method=f"{line.method}, {Path(line.source).name}")
        if names.count(line.method) > 1
        else line
        for line in lines.values()
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
        source=f"{row.source.title}, {row.source.where}",
        remark="; ".join(filter(None, (evidence, row.remark))),
        marks=dict.fromkeys(row.values, mark) if mark else {},
    )
