"""Tables of results, and how each column is printed; the titles are in columns.yaml."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

TITLES: dict[str, Any] = yaml.safe_load(
    files("leffa.metrics").joinpath("columns.yaml").read_text(encoding="utf-8")
)


class Column(NamedTuple):
    """How a metric is printed; `higher` is whether higher is better, None where neither is."""

    title: str
    digits: int = 4
    higher: bool | None = None

    @property
    def heading(self) -> str:
        """The title, and which way is better."""
        return self.title + {None: "", True: " ↑", False: " ↓"}[self.higher]


COLUMNS = {name: Column(*settings) for name, settings in TITLES["columns"].items()}


def column(name: str) -> Column:
    """The column of a metric; one that is not known has its name as the title."""
    return COLUMNS.get(name, Column(name))


def results_table(
    rows: Mapping[str, Mapping[str, float]], columns: Sequence[str], decimals: int = 4
) -> str:
    """Markdown: a row per result (name -> metric -> value), a column per metric."""
    heads = (column(name).heading for name in columns)
    lines = [["", *heads], ["---", *("---:" for _ in columns)]]
    for name, row in rows.items():
        lines.append([name, *(_text(row[c], decimals) if c in row else "-" for c in columns)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _text(value: float, decimals: int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.{decimals}f}"
