"""What the demo's trainings and evaluations left behind, as numbers."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leffa.demo.settings import DemoSettings
from leffa.training.curves import CSV_LOG, Points, read_curves

# Flows that need no network, by the name that an evaluation gives them.
NO_NETWORK = {"identity": "flow_identity/", "constant": "flow_constant/", "true": "flow_true/"}


@dataclass(frozen=True)
class Results:
    """All that the report tells."""

    # "baseline", "control", "leffa": every metric of the evaluation; "identity" and "constant":
    # `flow/...` of these flows; "true": `flow/spread` of the ground-truth flow.
    rows: dict[str, dict[str, float]]
    curves: dict[str, dict[str, Points]]  # "control", "leffa" -> column of the training's log
    evaluations: dict[str, Path]  # "baseline", "control", "leffa" -> folder of the evaluation
    samples: int  # how many test samples were scored
    settings: dict[str, Any]  # of the demo
    versions: dict[str, str]  # by library


def collect(
    settings: DemoSettings, runs: Mapping[str, Path], evaluations: Mapping[str, Path]
) -> Results:
    """Read the files of finished trainings (log) and evaluations (metrics.json)."""
    found = {
        name: json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        for name, folder in evaluations.items()
    }
    prefixes = tuple(NO_NETWORK.values())
    rows = {
        name: {k: value for k, value in each["metrics"].items() if not k.startswith(prefixes)}
        for name, each in found.items()
    }
    last = found["leffa"]
    for name, prefix in NO_NETWORK.items():
        rows[name] = {
            f"flow/{key.removeprefix(prefix)}": value
            for key, value in last["metrics"].items()
            if key.startswith(prefix)
        }
    return Results(
        rows=rows,
        curves={name: read_curves(folder / CSV_LOG) for name, folder in runs.items()},
        evaluations=dict(evaluations),
        samples=last["samples"],
        settings={
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(settings).items()
        },
        versions=last["scores"]["versions"],
    )
