"""`leffa tryon` and `leffa pose` on a table of pairs, and the settings that they leave."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from leffa.cli import main

SIZE = (240, 300)  # of the photos: no 3:4
LEFFA = "franciszzj/Leffa"


def table(folder: Path, rows: Sequence[dict[str, str]], encoding: str = "colour") -> Path:
    usual = {"person": "anna.png", "garment": "coat.png", "densepose": f"{encoding}.png"}
    lines = [{"name": f"picture{number}", **usual, **row} for number, row in enumerate(rows)]
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return folder / "pairs.csv"


def make(command: str, table: Path, *arguments: str) -> int:
    usual = ["--out", str(table.parent / "out"), "--steps", "2", "--device", "cpu"]
    return main([command, "--table", str(table), *usual, *arguments])


def settings(table: Path, name: str = "picture0") -> dict:
    return json.loads((table.parent / "out" / f"{name}.json").read_text())
