"""Our results beside the published numbers, with marks for what is not comparable.

Two numbers of a column are comparable only if the same code computed them on the same images at the
same size. A cell for which that is not known carries a mark: see `published.MARKS`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from leffa.metrics.finished import Result, benchmark_of
from leffa.metrics.published import MARKS, Line, Table
from leffa.metrics.report import COLUMNS


@dataclass(frozen=True)
class Comparison:
    """One benchmark: our lines and the published ones; `remarks` are those on its tables."""

    benchmark: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        return benchmark_of(self.benchmark).title

    @property
    def marks(self) -> dict[str, str]:
        """The marks in use, and their meaning."""
        used = "".join(mark for line in self.lines for mark in line.marks.values())
        return {mark: why for mark, why in MARKS.items() if mark in used}

    @property
    def notes(self) -> list[str]:
        """The marks in use, then remarks on tables and rows."""
        marks = (f"{mark} {why}" for mark, why in self.marks.items())
        rows = (f"{x.method}: {x.remark} ({x.source})" for x in self.lines if x.remark)
        return [*marks, *self.remarks, *rows]


def compare(results: Sequence[Result], published: Sequence[Table]) -> list[Comparison]:
    """One comparison for each benchmark of the results."""
    comparisons = []
    for benchmark in dict.fromkeys(result.benchmark for result in results):
        tables = [table for table in published if table.benchmark == benchmark]
        rows: list[Line] = []
        for row in (row for table in tables for row in table.rows):
            if all(row.values != earlier.values for earlier in rows):  # papers repeat rows
                rows.append(row)
        ours = _our_lines([result for result in results if result.benchmark == benchmark])
        lines = (*ours, *(_marked(row, ours) for row in rows))
        present = {name for line in lines for name in line.values}
        known = [name for name in COLUMNS if name in present]
        columns = (*known, *sorted(present - set(known)))
        remarks = dict.fromkeys(remark for table in tables for remark in table.remarks)
        comparisons.append(Comparison(benchmark, columns, lines, tuple(remarks)))
    return comparisons


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
            protocols=(f"{protocol['name']} v{protocol['version']}",),
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
        replace(line, method=f"{line.method}, {line.source_text}")
        if names.count(line.method) > 1
        else line
        for line in lines.values()
    ]


def _marked(row: Line, ours: Sequence[Line]) -> Line:
    """A published line, with marks where it is not comparable with ours."""
    sizes = {line.size for line in ours if line.protocol.split()[0] in row.protocols}
    mark = "" if sizes else "†"
    if row.size is None or row.size not in (sizes or {line.size for line in ours}):
        mark += "‡"
    return replace(row, marks=dict.fromkeys(row.values, mark)) if mark else row
