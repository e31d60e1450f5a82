"""What healthy looks like: the diffusion loss of a recorded run, by timestep bucket and step.

A single micro-batch says little, so a run is compared in windows of steps: its mean in a window
lies far below the mean plus two standard deviations of the recorded run's single values, unless
something is wrong.

    python -m leffa.training.reference RUN FILE.json     record a run's log
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import yaml

from leffa.training.curves import CSV_LOG, Points, read_curves
from leffa.training.record import CONFIG, ENVIRONMENT, environment
from leffa.training.saving import write_whole

BUCKET = "health/diffusion_"  # the columns that are compared
WINDOW = 100  # steps
DEVIATIONS = 2.0


@dataclass(frozen=True)
class Window:
    """Some steps of one bucket in the recorded run."""

    step: int  # the first one behind it
    low: float
    high: float


@dataclass(frozen=True)
class Reference:
    """The bands of a recorded run, by column of its log."""

    window: int  # steps
    bands: Mapping[str, tuple[Window, ...]]

    def at(self, column: str, step: int) -> Window | None:
        """The band of the window that ends at a step; None where there is none."""
        return next((w for w in self.bands.get(column, ()) if w.step == step), None)


def load_reference(source: str) -> Reference:
    """A recorded run: a JSON file, or the name of one that is shipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not one of ours.
    """
    folder = files("leffa.assets").joinpath("reference_curves")
    shipped = folder.joinpath(f"{source}.json")
    path = Path(source)
    if not path.is_file() and not shipped.is_file():
        known = sorted(item.name.removesuffix(".json") for item in folder.iterdir())
        raise FileNotFoundError(
            f"callbacks.health.reference={source}: no such file; shipped are {', '.join(known)}"
        )
    try:
        content = json.loads((path if path.is_file() else shipped).read_text())
        bands = {
            column: tuple(Window(int(step), float(low), float(high)) for step, low, high in rows)
            for column, rows in content["bands"].items()
        }
        return Reference(int(content["window"]), bands)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"callbacks.health.reference={source}: is not a recorded run; record one with "
            "python -m leffa.training.reference RUN FILE.json"
        ) from error


def make_bands(curves: Mapping[str, Points], window: int = WINDOW) -> dict[str, tuple[Window, ...]]:
    """Mean and standard deviation of each window, as a band of two deviations to both sides.

    Windows with fewer than three values are left out.
    """
    bands = {}
    for column in sorted(name for name in curves if name.startswith(BUCKET)):
        found: dict[int, list[float]] = {}
        for step, value in curves[column]:
            found.setdefault((int(step) // window + 1) * window, []).append(value)
        bands[column] = tuple(
            _band(step, values) for step, values in sorted(found.items()) if len(values) > 2
        )
    return bands


def _band(step: int, values: list[float]) -> Window:
    mean, width = statistics.fmean(values), DEVIATIONS * statistics.stdev(values)
    return Window(step, round(max(0.0, mean - width), 5), round(mean + width, 5))


def record(run: Path, out: Path, window: int = WINDOW) -> None:
    """Write the bands of a run's log.

    Raises:
        ValueError: the run has logged no diffusion loss by timestep.
    """
    bands = make_bands(read_curves(run / CSV_LOG), window)
    if not any(bands.values()):
        raise ValueError(f"{run}: has logged no {BUCKET}* over {window} steps")
    facts = {}
    for name in (CONFIG, ENVIRONMENT):
        if (path := run / name).is_file():
            facts[name] = yaml.safe_load(path.read_text())
    content = {
        "experiment": facts.get(CONFIG, {}).get("name", out.stem),
        "versions": {
            key: value
            for key, value in (facts.get(ENVIRONMENT) or [environment()])[-1].items()
            if key in ("leffa", "torch", "commit")
        },
        "window": window,
        "bands": {
            column: [[each.step, each.low, each.high] for each in windows]
            for column, windows in bands.items()
        },
    }
    text = json.dumps(content, indent=1).encode()
    write_whole(out, lambda file: file.write(text))


def main() -> None:
    """Record a run."""
    parser = argparse.ArgumentParser(description="Record what a healthy run's losses look like.")
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--window", type=int, default=WINDOW, help="steps")
    arguments = parser.parse_args()
    record(arguments.run, arguments.out, arguments.window)


if __name__ == "__main__":
    main()
