"""The published numbers, read from published.yaml and checked: a wrong line is an error with its
place."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import StrictFloat
from pydantic.dataclasses import dataclass

from leffa.metrics.report import COLUMNS
from leffa.metrics.views import CLOSED, Size

Evidence = Literal["read", "secondary", "memory"]


@dataclass(frozen=True, config=CLOSED)
class Source:
    """A paper, a repository or a page, and where it is found."""

    title: str
    where: str


@dataclass(frozen=True, config=CLOSED)
class Row:
    """One method's numbers.

    Attributes:
        values: column -> value; what the source does not give is absent. KID is times 1000.
        size: (height, width) of the scored pictures, None where not stated.
        evidence: "read" in the source, "secondary" where another one quotes it, "memory" unchecked.
        protocols: those of ours that compute the numbers as the source did; empty: unknown or none.
    """

    method: str
    values: dict[str, StrictFloat]
    source: Source
    size: Size | None
    evidence: Evidence
    protocols: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True, config=CLOSED)
class Table:
    """A published table. `benchmark` says beside which results of ours it may stand, if any."""

    id: str
    title: str
    place: str
    benchmark: str | None
    columns: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: tuple[Row, ...]


USUAL = ("source", "size", "evidence", "protocols")  # a table's, where a row has no other


def read_published(path: Path | None = None) -> list[Table]:
    """Every table of the file; by default of the package's own.

    Raises:
        ValueError: the file does not keep to the form that its head describes; names the place.
    """
    place = path or files("leffa.metrics").joinpath("published.yaml")
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
        sources = {key: Source(**each) for key, each in content["sources"].items()}
        tables = [_table(dict(each), sources) for each in content["tables"]]
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
    ids = [table.id for table in tables]
    if repeated := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"{place}: two tables have the id {min(repeated)}")
    return tables


def _table(table: dict[str, Any], sources: Mapping[str, Source]) -> Table:
    """A row of the file is [method, value, ..., {what differs from its table}]."""
    usual = {key: table.pop(key) for key in USUAL}
    if unknown := set(table["columns"]) - COLUMNS.keys():
        raise ValueError(f"table {table['id']}: no column {min(unknown)}; see columns.yaml")
    rows = []
    for number, (method, *values) in enumerate(table.pop("rows"), start=1):
        facts = usual | (values.pop() if isinstance(values[-1], dict) else {})
        try:
            facts["source"] = sources[facts["source"]]
            found = dict(zip(table["columns"], values, strict=True))
            present = {column: value for column, value in found.items() if value is not None}
            rows.append(Row(method=method, values=present, **facts))
        except (KeyError, ValueError) as error:
            raise ValueError(f"table {table['id']}, row {number}: {error}") from error
    return Table(rows=tuple(rows), **table)
