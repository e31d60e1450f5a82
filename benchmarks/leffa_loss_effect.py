"""What the Leffa loss does, measured: equal steps with and without it, on the synthetic data set.

    python benchmarks/leffa_loss_effect.py              both tasks, three seeds, then tau
    python benchmarks/leffa_loss_effect.py --table      only the table and the plot, of finished
    runs

The synthetic data set has the ground-truth flow, so attention can be scored: end-point error (EPE),
PCK, and the spread of the flow. Beside the trained models stand the flows that need no network:
identity, and the best constant. Finished runs are kept under outputs/leffa_loss_effect and are not
repeated.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from model_agnostic import FROM_BASE
from rich.progress import Progress

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from leffa.io.atomic import write_json, write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TASKS = ("tryon", "pose")
TEMPERATURE = 0.5  # of the runs with several seeds
TEMPERATURES = (1.0, 2.0, 5.0)  # then with one: 2.0 came out best, as in tryon_from_base
COLUMNS = {
    "flow/epe_px": "EPE (px) ↓",
    "flow/best_layer_epe_px": "best layer ↓",
    "flow/pck_3": "PCK 3 % ↑",
    "flow/spread": "spread",
    "flow/peak_mass": "peak mass",
    "paired/ssim": "SSIM ↑",
    "paired/psnr": "PSNR (dB) ↑",
    "set/fid": "FID ↓",
}


@dataclass(frozen=True)
class Job:
    """One training run and its evaluation."""

    task: str
    seed: int
    leffa_loss: bool = True
    temperature: float = TEMPERATURE

    @property
    def row(self) -> str:
        """The name of its row in the table; seeds share a row."""
        if not self.leffa_loss:
            return "control"
        return f"Leffa loss, tau {self.temperature:g}"

    @property
    def folder(self) -> str:
        return (
            f"{self.task}_{self.row.replace(', ', '_').replace(' ', '_')}_seed{self.seed}".lower()
        )

    def train_overrides(self, steps: int) -> list[str]:
        return [
            f"experiment={self.task}_synthetic",
            *FROM_BASE,
            f"seed={self.seed}",
            f"trainer.max_steps={steps}",
            "data.val_samples=0",
            f"leffa_loss={'on' if self.leffa_loss else 'off'}",
            f"leffa_loss.temperature={self.temperature}",
        ]


def jobs(seeds: int) -> Iterator[Job]:
    for seed in range(seeds):
        for task in TASKS:
            yield Job(task, seed)
            yield Job(task, seed, leffa_loss=False)
        if seed == 0:
            for temperature in TEMPERATURES:
                yield Job("tryon", seed, temperature=temperature)


def run(job: Job, options: argparse.Namespace) -> None:
    """Train and evaluate in processes of their own, one thread each; skip what is finished."""
    folder = options.out / job.folder
    if (folder / "evaluation" / "metrics.json").is_file():
        return
    shared = [f"hardware={options.hardware}"]
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if not checkpoint.is_file():
        _python(
            "train.py",
            [*job.train_overrides(options.steps), f"paths.output_dir={folder}", *shared],
            folder,
        )
    evaluation = [
        f"dataset=synthetic_{job.task}",
        f"ckpt={checkpoint}",
        f"paths.output_dir={folder}/evaluation",
        "sampler.steps=10",
    ]
    _python("evaluate.py", [*evaluation, *shared], folder)


def _python(program: str, arguments: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / f"{program}.log").open("w") as log:
        command = [sys.executable, str(ROOT / program), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False
        )
    if done.returncode:
        raise RuntimeError(f"{program} failed: see {folder / program}.log")


def collect(options: argparse.Namespace) -> dict[str, dict[str, dict[str, list[float]]]]:
    """task -> row -> metric -> one value per seed; the rows without a network come first."""
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    for job in jobs(options.seeds):
        path = options.out / job.folder / "evaluation" / "metrics.json"
        if not path.is_file():
            continue
        metrics = json.loads(path.read_text())["metrics"]
        rows = table.setdefault(job.task, {})
        for baseline in ("identity", "constant"):
            prefix = f"flow_{baseline}/"
            rows[f"{baseline} flow"] = {
                key.replace(prefix, "flow/"): [value]
                for key, value in metrics.items()
                if key.startswith(prefix)
            }
        layers = [
            value
            for key, value in metrics.items()
            if key.startswith("flow_layers/") and key.endswith("/epe_px")
        ]
        metrics["flow/best_layer_epe_px"] = min(layers)
        row = rows.setdefault(job.row, {})
        for key in COLUMNS:
            if key in metrics:
                row.setdefault(key, []).append(float(metrics[key]))
    return table


def to_markdown(
    table: dict[str, dict[str, dict[str, list[float]]]], options: argparse.Namespace
) -> str:
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}"
    command = f"python benchmarks/leffa_loss_effect.py --steps {options.steps}"
    text = [
        "# What the Leffa loss does on the synthetic data set",
        "",
        f"`{command} --seeds {options.seeds}` on {machine}.",
        "Mean ± standard deviation over seeds; a single run has no ±. Flows are read at t = 200,",
        "averaged over all ten layers, and of the layer where they are best; pixels are those of",
        "96x72 images. FID over 64 images is biased: compare rows only.",
    ]
    for task, rows in table.items():
        text += ["", f"## {task}", "", "| | " + " | ".join(COLUMNS.values()) + " |"]
        text += ["|---|" + "---:|" * len(COLUMNS)]
        for name, row in rows.items():
            text.append(f"| {name} | " + " | ".join(_cell(row.get(key)) for key in COLUMNS) + " |")
    return "\n".join(text) + "\n"


def _cell(values: list[float] | None) -> str:
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def plot(table: dict[str, dict[str, dict[str, list[float]]]], path: Path) -> None:
    """EPE and SSIM per row, a dot per seed."""
    figure, axes = plt.subplots(len(table), 2, figsize=(9, 3.2 * len(table)), squeeze=False)
    for line, (task, rows) in zip(axes, table.items(), strict=True):
        for axis, key in zip(line, ("flow/epe_px", "paired/ssim"), strict=True):
            shown = {name: row[key] for name, row in rows.items() if key in row}
            for place, values in enumerate(shown.values()):
                axis.bar(place, statistics.mean(values), color="#8fb3d9")
                axis.plot([place] * len(values), values, "o", color="#1f3b5c", markersize=4)
            axis.set_xticks(range(len(shown)), list(shown), rotation=30, ha="right", fontsize=8)
            axis.set_title(f"{task}: {COLUMNS[key]}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--hardware", default="cpu", help="a name of conf/hardware")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "leffa_loss_effect")
    parser.add_argument("--table", action="store_true", help="only collect finished runs")
    options = parser.parse_args()
    if not options.table:
        waiting = list(jobs(options.seeds))
        with Progress() as progress, ThreadPoolExecutor(options.jobs) as pool:
            task = progress.add_task("runs", total=len(waiting))
            for _ in pool.map(lambda job: run(job, options), waiting):
                progress.advance(task)
    table = collect(options)
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / "leffa_loss_effect.md", to_markdown(table, options))
    write_json(RESULTS / "leffa_loss_effect.json", table)
    plot(table, RESULTS / "leffa_loss_effect.svg")
    print((RESULTS / "leffa_loss_effect.md").read_text())


if __name__ == "__main__":
    main()
