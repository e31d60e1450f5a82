"""The curves in a run's log."""

import csv
import math
from pathlib import Path

Points = list[tuple[float, float]]  # (step, value)
CSV_LOG = Path("logs/metrics.csv")  # below the folder of a run


def read_curves(log: Path) -> dict[str, Points]:
    """Every column of a CSV log -> its points; values that are no numbers are left out."""
    curves: dict[str, Points] = {}
    if log.is_file():
        with log.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                step = float(row.pop("step"))
                for name, value in row.items():
                    if value and math.isfinite(float(value)):
                        curves.setdefault(name, []).append((step, float(value)))
    return curves


def running_mean(points: Points, window: int) -> Points:
    """Each value replaced by the mean of itself and up to `window - 1` before it."""
    recent = [points[max(0, end - window) : end] for end in range(1, len(points) + 1)]
    return [(part[-1][0], math.fsum(value for _, value in part) / len(part)) for part in recent]
