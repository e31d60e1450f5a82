"""The published numbers, read from published.yaml; the head of that file describes its form."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, StrictFloat
from pydantic.dataclasses import dataclass

from leffa.metrics.report import column
from leffa.metrics.views import CLOSED, Size, as_text

# Why a cell is not comparable with the others.
MARKS = {
    "†": "published under another protocol than ours, or an unknown one",
    "‡": "images of another size, or a size that is not stated",
    "§": "not over the official test set: FID and KID depend on the number of images",
}
EVIDENCE = {"read": "", "secondary": "quoted elsewhere", "memory": "unchecked"}


@dataclass(frozen=True, config=CLOSED)
class Line:
    """A method's numbers, published or ours; pydantic refuses a wrong one."""

    method: str
    values: dict[str, StrictFloat]  # by column, those that the source gives; KID times 1000
    source: str  # and after a comma where it is found; of ours the folder
    size: Size | None  # of the scored images, None where not stated
    protocols: tuple[str, ...]  # that compute the numbers as the source did; of ours its own
    remark: str = ""
    ours: bool = False
    marks: dict[str, str] = Field(default_factory=dict)  # column -> keys of `MARKS`

    def rounded(self, name: str) -> str:
        """The value of a column as tables print it, without its marks."""
        return f"{self.values[name]:.{column(name).digits}f}"

    def cell(self, name: str) -> str:
        """The same with its marks; a dash where there is no value."""
        return self.rounded(name) + self.marks.get(name, "") if name in self.values else "-"

    def why(self, name: str) -> str:
        """The meaning of a column's marks."""
        return "; ".join(MARKS[each] for each in self.marks.get(name, ""))

    @property
    def size_text(self) -> str:
        """Height x width; a question mark where a source does not state it."""
        return "?" if self.size is None else as_text(self.size)

    @property
    def protocol(self) -> str:
        return ", ".join(self.protocols) or "unknown"

    @property
    def source_text(self) -> str:
        """The source without its address; ours is the folder's name."""
        return Path(self.source).name if self.ours else self.source.partition(",")[0]


@dataclass(frozen=True, config=CLOSED)
class Table:
    """A published table. `benchmark` says beside which results of ours it may stand, if any."""

    id: str
    title: str
    place: str
    benchmark: str | None
    columns: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: tuple[Line, ...]


def read_published() -> list[Table]:
    """Every table of the file."""
    text = files("leffa.metrics").joinpath("published.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return [_table(table, content["sources"]) for table in content["tables"]]


def _table(table: dict[str, Any], sources: Mapping[str, Any]) -> Table:
    # What holds for each row that does not say otherwise.
    usual = {key: table.pop(key) for key in ("source", "size", "evidence", "protocols")}
    rows = []
    for method, *cells in table.pop("rows"):
        facts = usual | (cells.pop() if isinstance(cells[-1], dict) else {})
        facts["source"] = "{title}, {where}".format(**sources[facts["source"]])
        quality = (EVIDENCE[facts.pop("evidence")], facts.pop("remark", ""))
        facts["remark"] = "; ".join(filter(None, quality))
        found = zip(table["columns"], cells, strict=True)
        values = {name: value for name, value in found if value is not None}
        rows.append(Line(method=method, values=values, **facts))
    return Table(rows=tuple(rows), **table)
