"""Train, evaluate, keep the numbers: what the studies do for each setting that they compare.

A trial whose numbers stand in the study's JSON file is finished; the file may come from another
machine. A killed training or evaluation goes on where it was.
"""

import argparse
import json
import logging
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from leffa.demo.jobs import Job, run_jobs, steps_done
from leffa.io.atomic import write_json

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Numbers = dict[str, float]
Column = tuple[str, int]  # its title, and the digits of its numbers


@dataclass(frozen=True)
class Trial:
    """One training run and its evaluations.

    Args:
        name: of its folder, and of its row in the study's JSON file.
        steps: how many optimizer steps the training has, for the progress bar.
        training: what `train.py` is told; nothing: no training, and `evaluations` name their ckpt.
        evaluations: what `evaluate.py` is told, by a word that its numbers begin with; a word that
            ends in "@500" has the checkpoint of 500 steps, others the last.
        begins_as: a trial whose training is the same, to the last bit, up to `begins_at` steps. Its
            checkpoint of that step, where there is one, saves these steps.
    """

    name: str
    steps: int
    training: Sequence[str]
    evaluations: dict[str, Sequence[str]]
    begins_as: str = ""
    begins_at: int = 0


def run_trials(trials: Iterable[Trial], store: Path, out: Path, at_a_time: int) -> None:
    """Run, in processes of one thread each, what has no numbers in `store`, and add them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    known = collect(store, out)
    jobs = []
    for trial in trials:
        if trial.name in known:
            continue
        folder = out / trial.name
        write_json(folder / "trial.json", asdict(trial))
        arguments = [str(Path(__file__)), str(folder)]
        log = folder / "log.txt"
        jobs.append(Job(trial.name, trial.steps, arguments, log, partial(steps_done, folder)))
    try:
        run_jobs(jobs, at_a_time)
    finally:
        collect(store, out)


def collect(store: Path, out: Path) -> dict[str, Numbers]:
    """The numbers of all finished trials by name, those below `out` added to `store`."""
    known = json.loads(store.read_text("utf-8")) if store.is_file() else {}
    found = {path.parent.name: path for path in sorted(out.glob("*/result.json"))}
    known |= {name: json.loads(path.read_text("utf-8")) for name, path in found.items()}
    if known:
        write_json(store, dict(sorted(known.items())))
    return known


def run_trial(folder: Path) -> None:
    """Train and evaluate as `trial.json` in this folder says."""
    trial = Trial(**json.loads((folder / "trial.json").read_text("utf-8")))
    if steps_done(folder) < trial.steps:
        told = [*trial.training, f"resume={resumes(folder, trial)}"]
        _python("train.py", [*told, f"paths.output_dir={folder}"])
    numbers: Numbers = {}
    for word, overrides in trial.evaluations.items():
        place = folder / word
        ckpt = [f"ckpt={scored(folder, word)}"] if trial.training else []
        _python("evaluate.py", [*overrides, *ckpt, f"paths.output_dir={place}"])
        metrics = json.loads((place / "metrics.json").read_text("utf-8"))["metrics"]
        numbers |= {f"{word}/{key}": value for key, value in metrics.items()}
    write_json(folder / "result.json", numbers)


def scored(folder: Path, word: str) -> Path:
    """What an evaluation of this name generates with: a checkpoint on the way, or the last."""
    _, at, step = word.partition("@")
    return folder / "checkpoints" / f"step_{int(step):06d}.ckpt" if at else folder


def resumes(folder: Path, trial: Trial) -> str:
    """What `resume` is told: the checkpoint of the trial that begins alike until it has its own."""
    path = Path(trial.begins_as, "checkpoints", f"step_{trial.begins_at:06d}.ckpt")
    source = folder.parent / path
    own = any(folder.glob("checkpoints/*.ckpt"))
    return str(source) if trial.begins_as and source.is_file() and not own else "auto"


def _python(program: str, arguments: Sequence[str]) -> None:
    data = f"paths.data_dir={ROOT / 'data'}"
    subprocess.run([sys.executable, str(ROOT / program), *arguments, data], cwd=ROOT, check=True)


def least_error(numbers: Numbers, word: str = "") -> Numbers:
    """The end-point error of the layer nearest to the ground-truth flow, or to stored matches, as
    `best_layer`; nothing without one. `word` is that of the evaluation, with its slash."""
    found = [
        value
        for key, value in numbers.items()
        if key.startswith(f"{word}flow_layers/") and key.endswith(("/epe_px", "/match_epe_px"))
    ]
    return {"best_layer": min(found)} if found else {}


def cell(values: Sequence[float], digits: int) -> str:
    """Over seeds: the value of one, the mean with the least and the greatest of several."""
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(heading: str, columns: Mapping[str, Column], rows: Mapping[str, list[Numbers]]) -> str:
    """A row for each setting with finished runs, and how many there are; what they do not have is a
    dash."""
    heads = " | ".join(title for title, _ in columns.values())
    lines = [f"| {heading} | runs | {heads} |", "|---|" + "---:|" * (len(columns) + 1)]
    for name, runs in rows.items():
        if runs:
            cells = [
                cell([run[key] for run in runs if key in run], digits)
                for key, (_, digits) in columns.items()
            ]
            lines.append(f"| {name.replace('_', ' ')} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def study_options(description: str | None, settings: Iterable[str]) -> argparse.ArgumentParser:
    """The options that all studies have; `names` are some of the settings, all by default."""
    known = list(settings)

    def setting(name: str) -> str:
        if name not in known:
            raise argparse.ArgumentTypeError(f"no such setting: {name}")
        return name

    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about = f"of {', '.join(known)}"
    parser.add_argument("names", nargs="*", type=setting, default=known, metavar="NAME", help=about)
    parser.add_argument("--at-a-time", type=int, default=2, help="trainings side by side")
    parser.add_argument("--out", type=Path, help="folder of the runs; outputs/STUDY")
    parser.add_argument("--table", action="store_true", help="only collect finished runs")
    return parser


if __name__ == "__main__":
    run_trial(Path(sys.argv[1]))
