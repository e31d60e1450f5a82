"""The published numbers, read from published.yaml and checked: a wrong line is an error with its
place."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

Evidence = Literal["read", "secondary", "memory"]

# Column -> (title, digits, whether higher is better; None where neither is).
COLUMNS: dict[str, tuple[str, int, bool | None]] = {
    "fid_paired": ("FID paired", 2, False),
    "kid_paired": ("KID paired", 2, False),
    "fid": ("FID", 2, False),
    "kid": ("KID", 2, False),
    "ssim": ("SSIM", 3, True),
    "ssim_256": ("SSIM 256", 3, True),
    "psnr": ("PSNR", 2, True),
    "masked_psnr": ("masked PSNR", 2, True),
    "lpips": ("LPIPS", 3, False),
    "fid_unpaired": ("FID unpaired", 2, False),
    "kid_unpaired": ("KID unpaired", 2, False),
    "preferred_vitonhd": ("VITON-HD %", 0, True),
    "preferred_dresscode": ("DressCode %", 0, True),
    "preferred_deepfashion": ("DeepFashion %", 0, True),
    "parameters_m": ("parameters (M)", 0, False),
    "seconds": ("s per image", 2, False),
    "memory_mb": ("memory (MB)", 0, False),
    "judged": ("score", 3, True),
    "face_similarity": ("face similarity", 3, True),
}


@dataclass(frozen=True)
class Row:
    """One method's numbers.

    Attributes:
        values: column -> value; what the source does not give is absent. KID is times 1000.
        size: (height, width) of the scored pictures, None where not stated.
        evidence: "read" in the source, "secondary" where another one quotes it, "memory" unchecked.
        protocols: those of ours that compute the numbers as the source did; empty: unknown or none.
    """

    method: str
    values: dict[str, float]
    source: str
    where: str
    size: tuple[int, int] | None
    evidence: Evidence
    protocols: tuple[str, ...]
    remark: str = ""


@dataclass(frozen=True)
class Table:
    """A published table. `benchmark` says beside which results of ours it may stand, if any."""

    id: str
    title: str
    place: str
    benchmark: str | None
    columns: tuple[str, ...]
    remarks: tuple[str, ...]
    rows: tuple[Row, ...]


def read_published(path: Path | None = None) -> list[Table]:
    """Every table of the file; by default of the package's own.

    Raises:
        ValueError: the file does not keep to the form that its head describes; names the place.
    """
    name = str(path or "published.yaml")
    place = path or files("leffa.metrics").joinpath("published.yaml")
    try:
        content = yaml.safe_load(place.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: is not YAML ({' '.join(str(error).split())})") from error
    _keys(content, {"sources", "tables"}, name)
    sources = content["sources"]
    for key, source in sources.items():
        _keys(source, {"title", "where"}, f"{name}: sources.{key}")
    tables = [_table(each, sources, name) for each in content["tables"]]
    ids = [table.id for table in tables]
    if repeated := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"{name}: two tables have the id {min(repeated)}")
    return tables


TABLE_KEYS = frozenset(Table.__dataclass_fields__) | {"source", "size", "evidence", "protocols"}
ROW_KEYS = frozenset({"source", "size", "evidence", "protocols", "remark"})


def _table(table: Any, sources: dict[str, Any], name: str) -> Table:
    place = f"{name}: table {table.get('id', '?') if isinstance(table, dict) else table}"
    _keys(table, TABLE_KEYS, place)
    columns = tuple(table["columns"])
    if unknown := [column for column in columns if column not in COLUMNS]:
        raise ValueError(f"{place}: no column {unknown[0]}; choose from {', '.join(COLUMNS)}")
    usual = {key: table[key] for key in ROW_KEYS if key in table}
    rows = tuple(
        _row(row, columns, usual, sources, f"{place}, row {number}")
        for number, row in enumerate(table["rows"], start=1)
    )
    return Table(
        id=table["id"],
        title=table["title"],
        place=table["place"],
        benchmark=table["benchmark"],
        columns=columns,
        remarks=tuple(table["remarks"]),
        rows=rows,
    )


def _row(
    row: Any, columns: tuple[str, ...], usual: dict[str, Any], sources: dict[str, Any], place: str
) -> Row:
    if not isinstance(row, list) or not row or not isinstance(row[0], str):
        raise ValueError(f"{place}: expected [method, value, ...], found {row!r}")
    own = row[-1] if isinstance(row[-1], dict) else {}
    values = row[1 : len(row) - bool(own)]
    if len(values) != len(columns):
        raise ValueError(f"{place}: {len(values)} values for {len(columns)} columns")
    for column, value in zip(columns, values, strict=True):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{place}: {column} is {value!r}, not a number or null")
    if unknown := own.keys() - ROW_KEYS:
        raise ValueError(f"{place}: unknown key {min(unknown)}")
    facts = {"remark": ""} | usual | own
    if facts["source"] not in sources:
        raise ValueError(f"{place}: no source {facts['source']}")
    if facts["evidence"] not in get_args(Evidence):
        raise ValueError(f"{place}: evidence is one of {', '.join(get_args(Evidence))}")
    size = facts["size"]
    if size is not None and not (len(size) == 2 and all(isinstance(n, int) for n in size)):
        raise ValueError(f"{place}: size is [height, width] or null, not {size!r}")
    source = sources[facts["source"]]
    return Row(
        method=row[0],
        values={c: float(v) for c, v in zip(columns, values, strict=True) if v is not None},
        source=source["title"],
        where=source["where"],
        size=None if size is None else (size[0], size[1]),
        evidence=facts["evidence"],
        protocols=tuple(facts["protocols"]),
        remark=facts["remark"],
    )


def _keys(part: Any, wanted: Iterable[str], place: str) -> None:
    """Exactly these keys."""
    if not isinstance(part, dict):
        raise ValueError(f"{place}: expected keys {', '.join(sorted(wanted))}, found {part!r}")
    for key in sorted(set(wanted) - part.keys()):
        raise ValueError(f"{place}: {key} is missing")
    for key in sorted(part.keys() - set(wanted)):
        raise ValueError(f"{place}: unknown key {key}")
